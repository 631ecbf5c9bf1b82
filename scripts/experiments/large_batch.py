#!/usr/bin/env python3
"""Epochs and seconds to an accuracy at growing batches: SENG (global, local, the authors' product), K-FAC, LARS, SGD.

    scripts/experiments/large_batch.py [--network lenet|resnet8|resnet18] [--batches 256 1024 4096] [--methods ...] [--trials 6]
                                       [--seeds 1 2 3] [--epochs 4] [--limit 20000] [--target 0.85] [--data-root DIR]
                                       [--sengd-option=--device=cuda] [--set engine.precision=bf16]

--epochs and --target take one value for all batches, or one for each. resnet18 is the whole network, with the curvature of
the shipped job: for a GPU, with --limit 50000.

Every method gets the same budget for each batch: `--trials` settings, drawn without replacement from its own grid (below,
`grid`), each trained with seed 0; the one with the best final test accuracy is then trained with the other seeds, which alone
are reported. All methods share model, data, momentum 0.9, weight decay, a cosine to zero and no warm-up beyond it.

Runs that are there already (runs.jsonl) are not run again, so the program can be stopped and started, and widened. Writes into
build/experiments/large_batch: runs.jsonl (every run, trials too), curves.csv (seed, epoch, loss, accuracy of the reported
runs), table.md and large_batch_NETWORK.png. Seconds per epoch are
measured at the end, one epoch of each method after the other; seconds to the accuracy are epochs times these.
"""

import argparse
import csv
import hashlib
import itertools
import json
import random
import subprocess
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/bench")
from cluster import BIN, ROOT, Cluster  # noqa: E402

OUT = ROOT / "build" / "experiments" / "large_batch"
METHODS = ("seng", "seng_local8", "seng_authors", "kfac", "lars", "sgd")
WEIGHT_DECAY = 0.0005
REFRESHES_PER_EPOCH = 4  # of every method that keeps curvature


def residual_layers(width=16):
    """ResNet-8: a stem and three stages of one residual unit."""
    layers = [{"name": "conv1", "type": "conv2d", "channels": width, "padding": 1, "bias": "false"},
              {"name": "bn1", "type": "batch_norm"}, {"name": "relu1", "type": "relu"}]
    last, channels = "relu1", width
    for stage in (1, 2, 3):
        out, stride, name = width << (stage - 1), 1 if stage == 1 else 2, f"layer{stage}"
        layers += [{"name": f"{name}.conv1", "type": "conv2d", "channels": out, "stride": stride, "padding": 1,
                    "bias": "false", "inputs": [last]},
                   {"name": f"{name}.bn1", "type": "batch_norm"}, {"name": f"{name}.relu1", "type": "relu"},
                   {"name": f"{name}.conv2", "type": "conv2d", "channels": out, "padding": 1, "bias": "false"},
                   {"name": f"{name}.bn2", "type": "batch_norm"}]
        shortcut = last
        if out != channels:
            layers += [{"name": f"{name}.down", "type": "conv2d", "channels": out, "kernel": 1, "stride": stride,
                        "bias": "false", "inputs": [last]}, {"name": f"{name}.down_bn", "type": "batch_norm"}]
            shortcut = f"{name}.down_bn"
        layers += [{"name": f"{name}.add", "type": "add", "inputs": [f"{name}.bn2", shortcut]},
                   {"name": f"{name}.relu2", "type": "relu"}]
        last, channels = f"{name}.relu2", out
    return layers + [{"name": "pool", "type": "global_average_pool"}, {"name": "flat", "type": "flatten"},
                     {"name": "fc", "type": "linear", "features": 10}]


def plain(value):
    """YAML's flow form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(plain(v) for v in value) + "]"
    return str(value)


def grid(method):
    """The settings that a method may try; each a dict of optimizer keys."""
    if method == "sgd":
        return [{"name": "sgd", "lr": lr, "nesterov": nesterov}
                for lr, nesterov in itertools.product((0.01, 0.025, 0.05, 0.1, 0.2, 0.4), ("true", "false"))]
    if method == "lars":
        return [{"name": "lars", "lr": lr, "trust_coefficient": eta}
                for lr, eta in itertools.product((0.5, 1, 2, 4), (0.002, 0.005, 0.01, 0.02))]
    if method == "kfac":
        return [{"name": "kfac", "lr": lr, "damping": damping, "trust_region": kappa}
                for lr, damping, kappa in itertools.product((0.025, 0.05, 0.1, 0.2), (0.03, 0.1, 0.3), (0.001, 0.003))]
    # Their biased product needs, and their published settings have, more damping.
    dampings = (0.5, 2.0, 8.0) if method == "seng_authors" else (0.1, 0.3, 1.0)
    return [{"name": "seng", "lr": lr, "damping": damping, "trust_region": kappa}
            for lr, damping, kappa in itertools.product((0.05, 0.1, 0.2), dampings, (0.001, 0.003))]


def curvature(network, method, batch, steps_per_epoch):
    options = {"every": max(1, round(steps_per_epoch / REFRESHES_PER_EPOCH)), "samples": 256 if batch <= 256 else 512}
    if method == "seng_local8":
        options.update(mode="local", workers=8)
    if method == "seng_authors":
        # Their product wherever factors are kept. Their own code keeps factors of layers above 700,000 weights only, of
        # which these networks have none: there it is seng_local8. On fc1 of lenet it diverges within three steps.
        options.update(product="authors", mode="local", workers=8)
    if network == "resnet18" and method in ("seng", "seng_local8"):
        options.update(representation="implicit", rank=4, sketch="rows", sketch_rows=16384, dtype="bf16", fragment_dtype="bf16")
    return options


def of_batch(arguments, values, batch):
    """The value that holds for a batch, where one was given for all or one for each."""
    return values[0] if len(values) == 1 else values[arguments.batches.index(batch)]


def job_text(arguments, method, batch, setting, seed):
    micro = min(128, max(32, batch // 32))
    optimizer = {**setting, "lr": {"schedule": "cosine", "initial": setting["lr"]}, "momentum": 0.9,
                 "weight_decay": WEIGHT_DECAY}
    if setting["name"] in ("seng", "kfac"):
        optimizer["curvature"] = curvature(arguments.network, method, batch, arguments.limit / batch)
    if arguments.network == "lenet":
        model, data = {"name": "lenet"}, {"name": "fashion-mnist", "root": arguments.data_root}
    else:
        model = {"layers": residual_layers()} if arguments.network == "resnet8" else {"name": arguments.network}
        data = {"name": "cifar10", "root": arguments.data_root, "augment": {"pad_crop": 4, "flip": "true"}}
    data["train_limit"] = arguments.limit
    return (f"name: large-batch\nseed: {seed}\nmodel: {plain(model)}\ndata: {plain(data)}\n"
            f"batch: {{global: {batch}, micro: {micro}}}\nepochs: {of_batch(arguments, arguments.epochs, batch)}\noptimizer: {plain(optimizer)}\n"
            f"actors: {{min: 1, max: {arguments.actors}}}\nevaluate: {{every_epochs: 1}}\n")


class Runs:
    """All runs so far, by the text of their job."""

    def __init__(self):
        OUT.mkdir(parents=True, exist_ok=True)
        self.file = OUT / "runs.jsonl"
        self.known = {}
        if self.file.exists():
            for line in self.file.read_text().splitlines():
                run = json.loads(line)
                self.known[run["key"]] = run

    def get(self, cluster, arguments, method, batch, setting, seed):
        text = job_text(arguments, method, batch, setting, seed)
        # How many actors there were changes no bit, so it does not make another run.
        told = [text.replace(f"max: {arguments.actors}", ""), *arguments.sets, *arguments.sengd_option]
        key = hashlib.sha256("".join(told).encode()).hexdigest()[:16]
        if key not in self.known:
            self.known[key] = {"key": key, "network": arguments.network, "method": method, "batch": batch,
                               "setting": setting, "seed": seed, "limit": arguments.limit, **self.train(cluster, text, arguments.sets)}
            with open(self.file, "a") as file:
                file.write(json.dumps(self.known[key]) + "\n")
        return self.known[key]

    @staticmethod
    def train(cluster, text, sets):
        settings = [word for setting in sets for word in ("--set", setting)]
        result = subprocess.run([BIN / "sengctl", "submit", "-", "--wait", "-o", "json", "--state-dir", cluster.dir, *settings],
                                input=text, capture_output=True, text=True)
        if result.returncode not in (0, 1):
            raise SystemExit(f"the job was refused:\n{text}\n{result.stderr}")
        job = json.loads(result.stdout)
        metrics = json.loads(cluster.ctl("metrics", str(job["id"]), "-o", "json"))
        seconds = sum(e["seconds"] for e in metrics["epochs"])
        epochs = [[e["epoch"], e["train_loss"], e["test_accuracy"]] for e in metrics["epochs"]
                  if e["test_accuracy"] is not None]
        # A run that diverges fails.
        return {"state": job["state"], "epochs": epochs, "seconds": seconds,
                "final": epochs[-1][2] if job["state"] == "succeeded" else 0.0}


def reached(run, target):
    """The epoch at whose end the accuracy was first there, or None."""
    return next((epoch for epoch, _, accuracy in run["epochs"] if accuracy >= target), None)


def listed(values):
    return ", ".join(f"{value:g}" for value in values)


def mean(values):
    return sum(values) / len(values)


def search(cluster, arguments, runs, method, batch):
    settings = grid(method)
    random.Random(f"{method} {batch}").shuffle(settings)
    trials = []
    for setting in settings[:arguments.trials]:
        trials.append(runs.get(cluster, arguments, method, batch, setting, 0))
        print(f"  {method} {batch} {plain(setting)}: {100 * trials[-1]['final']:.2f} %", flush=True)
    best = max(trials, key=lambda run: run["final"])["setting"]
    return best, [runs.get(cluster, arguments, method, batch, best, seed) for seed in arguments.seeds]


def pace(cluster, arguments, method, batch, setting):
    """Seconds per epoch, of one epoch that is trained for this alone, after the searches and close to the other methods'."""
    shorter = argparse.Namespace(**{**vars(arguments), "epochs": [1.0]})
    return Runs.train(cluster, job_text(shorter, method, batch, setting, 0), arguments.sets)["seconds"]


def row_of(arguments, method, batch, setting, reported, seconds_per_epoch):
    times = [reached(run, of_batch(arguments, arguments.target, batch)) for run in reported]
    there = [t for t in times if t]
    finals = [100 * run["final"] for run in reported]
    epochs = f"{mean(there):.1f}" if there else "-"
    seconds = f"{mean(there) * seconds_per_epoch:.1f}" if there else "-"
    chosen = ", ".join(f"{k} {v}" for k, v in setting.items() if k != "name")
    return (f"| {batch} | {method} | {chosen} | {len(there)} of {len(times)} | {epochs} | {seconds} | {seconds_per_epoch:.1f} | "
            f"{mean(finals):.2f} ({min(finals):.2f}-{max(finals):.2f}) |")


def write_curves(results):
    with open(OUT / "curves.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "batch", "method", "seed", "epoch", "train_loss", "test_accuracy"])
        for (method, batch), (_, reported) in results.items():
            for run in reported:
                writer.writerows([run["network"], batch, method, run["seed"], *epoch] for epoch in run["epochs"])


PLOT = """
import collections, csv, sys
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
curves = collections.defaultdict(lambda: collections.defaultdict(list))
for row in csv.DictReader(open(sys.argv[1])):
    curves[int(row["batch"])][row["method"], float(row["epoch"])].append(100 * float(row["test_accuracy"]))
figure, axes = pyplot.subplots(1, len(curves), figsize=(5 * len(curves), 4.5), sharey=True, squeeze=False)
for panel, (batch, points) in zip(axes[0], sorted(curves.items())):
    for method in dict.fromkeys(method for method, _ in points):
        epochs = sorted(epoch for name, epoch in points if name == method)
        values = [points[method, epoch] for epoch in epochs]
        panel.plot(epochs, [sum(v) / len(v) for v in values], marker="o", label=method)
        panel.fill_between(epochs, [min(v) for v in values], [max(v) for v in values], alpha=0.15)
    panel.set(title=f"batch {batch}", xlabel="epoch", ylabel="test accuracy, %")
    panel.legend()
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=120)
"""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("lenet", "resnet8", "resnet18"), default="lenet")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=METHODS)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3], help="none: the search alone")
    parser.add_argument("--epochs", type=float, nargs="+", default=[4.0])
    parser.add_argument("--limit", type=int, default=20000, help="training images that are used")
    parser.add_argument("--target", type=float, nargs="+", default=[0.85],
                        help="the accuracy that epochs and seconds are counted to")
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--data-root", default="auto")
    parser.add_argument("--sengd-option", action="append", default=[], help="for sengd, as --sengd-option=--device=cuda")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="a setting for every job, as engine.precision=bf16")
    arguments = parser.parse_args()
    if 0 in arguments.seeds:
        parser.error("seed 0 is the one that settings are chosen with; report others")
    for name in ("epochs", "target"):
        if len(getattr(arguments, name)) not in (1, len(arguments.batches)):
            parser.error(f"--{name} takes one value, or one for each of the {len(arguments.batches)} batches")
    return arguments


def main():
    arguments = parse()
    runs, results = Runs(), {}
    head = (f"{arguments.network}, {arguments.limit} images, {listed(arguments.epochs)} epochs, best of {arguments.trials} settings "
            f"on seed 0, then seeds {listed(arguments.seeds)}; epochs and seconds to "
            f"{listed(100 * target for target in arguments.target)} % (means over the seeds that came there).")
    table = [head, "", "| batch | method | setting | there | epochs | seconds | seconds per epoch | final accuracy, % |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    with Cluster(slots=arguments.actors, options=arguments.sengd_option) as cluster:
        for batch, method in itertools.product(arguments.batches, arguments.methods):
            setting, reported = search(cluster, arguments, runs, method, batch)
            if reported:
                results[method, batch] = (setting, reported)
        paces = {case: pace(cluster, arguments, *case, setting) for case, (setting, _) in results.items()}
    table += [row_of(arguments, *case, *found, paces[case]) for case, found in results.items()]
    if not results:
        return
    write_curves(results)
    (OUT / f"table_{arguments.network}.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    subprocess.run([ROOT / "scripts" / "packages.sh", "plot"], check=True)
    subprocess.run(["/usr/bin/python3", "-c", PLOT, OUT / "curves.csv", OUT / f"large_batch_{arguments.network}.png"],
                   check=True)
    print(f"written: {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
