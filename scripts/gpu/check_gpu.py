#!/usr/bin/env python3
"""Does SENG work on this machine's GPUs, and how fast? Stages, each with a verdict and figures, the ones that matter most first:

    machine     what is found: GPUs, driver, versions
    operations  every operation and whole networks, CPU against CUDA (parity_tests): worst errors, times
    bits        a job comes to the same bits with 1, 2 and 3 actors on one GPU, in each precision
    nccl        the same over NCCL between two actors
    kill        an actor is killed in a step: the job goes on, to the same bits
    cost        what SENG's ordinary and refresh steps cost over SGD's
    tune        what measured algorithms of convolutions gain, and that they give the same bits with 2 actors
    speed       images/s of resnet18 and resnet50 beside PyTorch's, where python3 has it with CUDA
    sanitizers  compute-sanitizer over the operations, where it is found

    scripts/gpu/check_gpu.py [--stages A,B] [--seconds N] [--out FILE.json]

Of a build (build/release) or of a bundle (scripts/bundle.sh). The results are written to FILE after each stage, so that a run that is
cut off leaves what it has. Exit code 0: no stage failed; skipped ones are named with the reason. 1 also where no GPU can be used."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from cluster import BIN, Cluster, median  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = ("f32", "tf32", "bf16", "f16")


class Skipped(Exception):
    pass


class Failed(Exception):
    def __init__(self, message, figures=None):
        super().__init__(message)
        self.figures = figures


class Run:
    """What all stages share: options of the daemon, and until when they may go on."""

    def __init__(self, arguments):
        self.quick = arguments.quick
        self.deadline = time.monotonic() + arguments.seconds
        self.parity = arguments.parity or BIN / "parity_tests"
        self.options = ["--device", "cuda", *arguments.sengd_option]

    def left(self):
        seconds = self.deadline - time.monotonic()
        if seconds < 1:
            raise Skipped("no time is left")
        return seconds

    def cluster(self, actors):
        return Cluster(slots=actors, options=("--actors-per-gpu", str(actors), *self.options))

    def bits_job(self, exchange="zmq", precision="f32", actors=1, steps=None):
        """Convolutions, batch norm, dropout, a rank-cut curvature: what could differ between numbers of actors does."""
        width, side, samples, micro = (4, 8, 12, 2) if self.quick else (64, 32, 96, 16)
        return f"""name: bits
model: {{layers: [{{name: conv1, type: conv2d, channels: {width}, kernel: 3, padding: 1}}, {{name: bn1, type: batch_norm}},
  {{name: relu1, type: relu}}, {{name: conv2, type: conv2d, channels: {width}, kernel: 3, padding: 1}}, {{name: bn2, type: batch_norm}},
  {{name: add, type: add, inputs: [relu1, bn2]}}, {{name: relu2, type: relu}}, {{name: pool, type: max_pool, kernel: 2, stride: 2}},
  {{name: flat, type: flatten}}, {{name: drop, type: dropout, probability: 0.3}}, {{name: fc, type: linear, features: 10}}]}}
data: {{name: synthetic, train: {4 * samples}, test: {samples}, channels: 3, height: {side}, width: {side}, classes: 10}}
batch: {{global: {samples}, micro: {micro}}}
steps: {steps or (6 if self.quick else 12)}
optimizer: {{name: seng, lr: 0.05, momentum: 0.9, damping: 0.5, curvature: {{every: 4, samples: {samples}}}, trust_region: 0.003}}
engine: {{precision: {precision}}}
exchange: {exchange}
actors: {{min: 1, max: {actors}}}
evaluate: {{every_epochs: 0}}
"""

    def train(self, cluster, text):
        result, metrics = cluster.train("-", text=text)
        if result["state"] != "succeeded":
            raise Failed(f"the job {result['state']}: {result.get('reason', '')}")
        return result, metrics


def command(arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, **options)


def machine(run):
    with run.cluster(1) as cluster:
        nodes = json.loads(cluster.ctl("nodes", "-o", "json"))["nodes"]
        version = json.loads(cluster.ctl("version", "-o", "json"))
    gpus = [gpu for node in nodes for gpu in node.get("gpus", [])]
    if not gpus:
        raise Failed("sengd finds no GPU")
    driver = ""
    if shutil.which("nvidia-smi"):
        driver = command(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]).stdout.strip()
    return {"gpus": gpus, "driver": driver, "version": version.get("client", version)}


def operations(run):
    """The table that parity_tests print, and what failed."""
    if not pathlib.Path(run.parity).exists():
        raise Failed(f"{run.parity} is not there: scripts/build.sh release builds it")
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        ran = command([str(run.parity), f"--gtest_output=json:{report.name}", "--gtest_filter=" + ("*3x3*" if run.quick else "*")],
                      timeout=run.left())
        try:
            tests = json.load(open(report.name, encoding="utf-8"))
        except json.JSONDecodeError:
            raise Failed(f"{run.parity} ended with {ran.returncode}: {ran.stderr[-500:] or ran.stdout[-500:]}") from None
    failed, skipped, passed = [], [], 0
    for suite in tests["testsuites"]:
        for test in suite["testsuite"]:
            name = f"{suite['name']}.{test['name']}"
            if test.get("failures"):
                failed.append({"test": name, "failure": test["failures"][0]["failure"][:600]})
            elif test["result"] == "SKIPPED":
                skipped.append(name)
            else:
                passed += 1
    figures = {"passed": passed, "skipped": skipped, "failed": failed,
               "table": [line for line in ran.stdout.splitlines() if not re.match(r"\[|Running|Note|$", line)]}
    if failed:
        raise Failed(f"{len(failed)} of {passed + len(failed)} differ, the first: {failed[0]['test']}", figures)
    if ran.returncode != 0:
        raise Failed(f"{run.parity} ended with {ran.returncode}: {ran.stderr[-500:]}", figures)
    if passed == 0:
        raise Failed("all were skipped: is there a usable GPU?", figures)
    return figures


def states(run, jobs):
    """{label: state_sha256} of the jobs; they are to be one."""
    found, most = {}, max(actors for _, actors, _ in jobs)
    with run.cluster(most) as cluster:
        for label, actors, text in jobs:
            run.left()
            result, _ = run.train(cluster, text)
            found[label] = result["state_sha256"]
            if actors > 1 and result["actors"] < actors:
                raise Failed(f"{label} had {result['actors']} actors", found)
    if len(set(found.values())) != 1:
        raise Failed("the bits differ", found)
    return found


def bits(run):
    return {precision: states(run, [(f"{n} actors", n, run.bits_job(precision=precision, actors=n)) for n in (1, 2, 3)])
            for precision in (PRECISIONS[:1] if run.quick else PRECISIONS)}


def nccl(run):
    return states(run, [("1 actor", 1, run.bits_job()), ("2 over ZeroMQ", 2, run.bits_job(actors=2)),
                        ("2 over NCCL", 2, run.bits_job("nccl", actors=2)),
                        # Of two numbers there is one sum, whoever adds: equal bits for two members only.
                        ("2 added by NCCL", 2, run.bits_job("{path: nccl, reduce: fast}", actors=2))])


def kill(run):
    steps = 10 if run.quick else 400
    text = run.bits_job(actors=2, steps=steps)
    with run.cluster(2) as cluster:
        quiet, _ = run.train(cluster, text)
        job = json.loads(cluster.ctl("submit", "-", "-o", "json", text=text))["id"]
        cluster.ctl("wait", str(job), "--step", str(steps // 10))
        actors = json.loads(cluster.ctl("describe", str(job), "-o", "json"))["actors"]
        os.kill(actors[-1]["pid"], signal.SIGKILL)
        cluster.ctl("wait", str(job), "--timeout", str(int(run.left()) + 1), check=False)
        after = json.loads(cluster.ctl("status", str(job), "-o", "json"))
        events = json.loads(cluster.ctl("events", str(job), "-o", "json"))["events"]
    found = {"state": after["state"], "restarts": after["restarts"],
             "equal": after.get("state_sha256") == quiet["state_sha256"], "events": [e["text"] for e in events][-20:]}
    if after["state"] != "succeeded" or not found["equal"] or after["restarts"] == 0:
        raise Failed("the job did not come to the same end", found)
    return found


def throughput_job(network, side, classes, batch, precision, optimizer, steps):
    return f"""name: speed
model: {{name: {network}}}
data: {{name: synthetic, train: {2 * batch}, test: 8, channels: 3, height: {side}, width: {side}, classes: {classes}}}
batch: {{global: {batch}, micro: {batch}}}
steps: {steps}
optimizer: {optimizer}
engine: {{precision: {precision}}}
actors: {{min: 1, max: 1}}
evaluate: {{every_epochs: 0}}
"""


SGD = "{name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 0.0005}"
SENG = ("{{name: seng, lr: 0.01, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, curvature: {{every: 10, samples: {samples}, "
        "representation: implicit, rank: 4, sketch: rows, sketch_rows: 16384, dtype: bf16, fragment_dtype: bf16}}}}")


def cost(run):
    rows = []
    network, side, batch, steps = ("mlp", 8, 16, 22) if run.quick else ("resnet18", 32, 512, 52)
    with run.cluster(1) as cluster:
        for precision in ("f32",) if run.quick else ("tf32", "bf16"):
            run.left()
            _, first = run.train(cluster, throughput_job(network, side, 10, batch, precision, SGD, steps))
            samples = min(256, batch)
            _, second = run.train(cluster, throughput_job(network, side, 10, batch, precision, SENG.format(samples=samples), steps))
            base = median([s["seconds"] for s in first["steps"]][2:])
            ordinary = median([s["seconds"] for s in second["steps"] if not s["refreshed"]][2:])
            refresh = median([s["seconds"] for s in second["steps"] if s["refreshed"]][1:])
            rows.append({"network": network, "batch": batch, "precision": precision, "sgd_s": base, "ordinary_s": ordinary,
                         "refresh_s": refresh, "ordinary_extra": ordinary / base - 1, "refresh_extra_steps": (refresh - ordinary) / base})
    return rows


def tuned(text, choices=""):
    return text.replace("engine: {", "engine: {tune: true, " + (f'choices: "{choices}", ' if choices else ""))


def tune(run):
    rows = []
    with run.cluster(2) as cluster:

        def tuning(job):
            return json.loads(cluster.ctl("describe", str(job), "-o", "json"))["tuning"]

        for precision in PRECISIONS[:1] if run.quick else ("tf32", "bf16"):
            run.left()
            text = run.bits_job(steps=6) if run.quick else throughput_job("resnet18", 32, 10, 512, precision, SGD, 32)
            _, plain = run.train(cluster, text)
            result, chosen = run.train(cluster, tuned(text))
            found = tuning(result["id"])
            del found["choices"]
            rows.append({"precision": precision, "tuning": found,
                         "untuned_s": median([s["seconds"] for s in plain["steps"]][4:]),
                         "tuned_s": median([s["seconds"] for s in chosen["steps"]][4:])})
        one, _ = run.train(cluster, tuned(run.bits_job()))
        two, _ = run.train(cluster, tuned(run.bits_job(actors=2), tuning(one["id"])["choices"]))
    if one["state_sha256"] != two["state_sha256"]:
        raise Failed("the bits differ", rows)
    return rows


def pytorch(run, network, side, classes, batch, precision):
    ran = command(["python3", str(HERE / "pytorch_gpu.py"), network, str(side), str(classes), str(batch), precision], timeout=run.left())
    if ran.returncode != 0:
        return {"why": (ran.stderr.strip() or "it failed").splitlines()[-1]}
    return json.loads(ran.stdout.splitlines()[-1])


def speed(run):
    cases = [("resnet18", 32, 10, 512), ("resnet18", 32, 10, 2048), ("resnet50", 224, 1000, 256)]
    if run.quick:
        cases = [("mlp", 8, 10, 32)]
    rows = []
    with run.cluster(1) as cluster:
        for network, side, classes, batch in cases:
            for precision in ("f32",) if run.quick else ("bf16", "tf32"):
                if run.deadline - time.monotonic() < 20:
                    return rows
                _, metrics = run.train(cluster, throughput_job(network, side, classes, batch, precision, SGD, 8 if run.quick else 32))
                row = {"network": network, "batch": batch, "precision": precision,
                       "ours": batch / median([s["seconds"] for s in metrics["steps"]][4:]),
                       "pytorch": pytorch(run, network, side, classes, batch, precision)}
                measured = [value for value in row["pytorch"].values() if isinstance(value, float)]
                row["ratio_to_best"] = row["ours"] / max(measured) if measured else None
                rows.append(row)
    return rows


def sanitizers(run):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.access(tool, os.X_OK):
        raise Skipped("compute-sanitizer is not found")
    found = {}
    for name in ("memcheck", "racecheck", "initcheck"):
        ran = command([tool, "--tool", name, "--error-exitcode", "9", str(run.parity), "--gtest_filter=*AreThoseOfTheCpu*"],
                      timeout=run.left())
        found[name] = {"exit_code": ran.returncode, "last": ran.stdout.splitlines()[-3:]}
    if any(each["exit_code"] != 0 for each in found.values()):
        raise Failed("compute-sanitizer complains", found)
    return found


def what_is_missing(run):
    """Without which no stage says anything; else empty."""
    if not (BIN / "sengd").exists():
        return f"{BIN / 'sengd'} is not there: scripts/build.sh release builds it"
    try:
        with run.cluster(1):
            return ""
    except SystemExit as error:
        return str(error)


STAGES = [machine, operations, bits, nccl, kill, cost, tune, speed, sanitizers]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default=",".join(stage.__name__ for stage in STAGES))
    parser.add_argument("--seconds", type=float, default=3600, help="behind which no stage begins")
    parser.add_argument("--out", default="check_gpu.json")
    parser.add_argument("--quick", action="store_true", help="small networks: whether the stages themselves work")
    parser.add_argument("--parity", help="the program that compares the backends")
    parser.add_argument("--sengd-option", action="append", default=[], help="one more option of sengd's")
    arguments = parser.parse_args()
    asked = arguments.stages.split(",")
    known = {stage.__name__: stage for stage in STAGES}
    for name in asked:
        if name not in known:
            parser.error(f"unknown stage '{name}'; expected {', '.join(known)}")
    try:
        open(arguments.out, "a", encoding="utf-8").close()
    except OSError as error:
        parser.error(f"--out {arguments.out}: {error.strerror}")
    run, results = Run(arguments), {}
    if missing := what_is_missing(run):
        print(f"check_gpu.py: nothing can be checked here: {missing}", file=sys.stderr)
        return 1
    for name in asked:
        start, verdict, figures, why = time.monotonic(), "passed", None, ""
        try:
            run.left()
            figures = known[name](run)
        except Skipped as skipped:
            verdict, why = "skipped", str(skipped)
        except subprocess.TimeoutExpired:
            verdict, why = "skipped", "no time was left for it"
        except Failed as failed:
            verdict, why, figures = "FAILED", str(failed), failed.figures
        except SystemExit as error:
            verdict, why = "FAILED", str(error)
        except (subprocess.CalledProcessError, KeyError) as error:
            verdict, why = "FAILED", f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - start
        results[name] = {"verdict": verdict, "why": why, "seconds": round(seconds, 1), "figures": figures}
        print(f"{name:11} {verdict} in {seconds:.0f} s{': ' + why if why else ''}", flush=True)
        pathlib.Path(arguments.out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"figures: {arguments.out}")
    return 1 if any(each["verdict"] == "FAILED" for each in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
