#!/usr/bin/env python3
"""Faults on a training job, by a seeded schedule: actors killed, stopped, slowed down, drained, all killed at once, the
group resized, sengd killed and started again, what one actor says to another held back, no room for files. At the end:

  bits      the state's SHA-256 is that of the same job, undisturbed, in one actor
  ledger    every sample was used exactly once per epoch
  metrics   every step has its row, whoever was to tell it
  leaks     no process, socket, file that does not belong there, lock or file descriptor is left

    scripts/chaos.sh [--seed S] [--minutes M]         exit code 0: all of that holds

The job is submitted again until the time is over; every one must end so. The schedule is a function of the seed; what it
meets is not, since processes and the machine have their own timing.
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "bench"))
from cluster import ROOT, Cluster, median, write_json  # noqa: E402
from relay import RelayProcess  # noqa: E402

OPTIMIZERS = {
    "seng": "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
            "curvature: {every: 7, samples: 32}}",
    "sgd": "{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005}",
}
# Fault -> weight. `slow` stays below the lease; `stop` may pass it. A `cut` goes on while other faults come.
FAULTS = {"kill": 8, "stop": 4, "slow": 2, "scale": 5, "drain": 2, "head": 2, "all": 1, "cut": 5, "disk": 2}


# What stays in a state directory when sengd has stopped. All else was to go: sockets, staging, whatever was written aside.
KNOWN_FILES = re.compile(r"seng\.db(-wal|-shm)?|sengd\.lock|logs/sengd\.log|jobs/\d+/(ledger-\d+\.csv|logs/actor-\d+\.log|"
                         r"checkpoints/step-\d+/(manifest\.json|(model|optimizer|curvature-\d+)\.safetensors))")
KNOWN_DIRECTORIES = re.compile(r"logs|run|jobs(/\d+(/logs|/checkpoints(/step-\d+)?)?)?")


def job_text(arguments, steps):
    return f"""name: chaos
model: {{name: lenet}}
data: {{name: synthetic, train: 4000, test: 200, channels: 1, height: 28, width: 28, classes: 10}}
batch: {{global: 64, micro: 8}}
steps: {steps}
optimizer: {OPTIMIZERS[arguments.optimizer]}
actors: {{min: 1, max: {arguments.actors}, lanes: 1}}
checkpoint: {{every_steps: 40, keep: 2}}
restart: {{max: 100000, window: 60}}
ledger: true
"""


def limit_files(pids, most):
    """How long a file may become that these processes write."""
    for pid in pids:
        try:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        except (ProcessLookupError, PermissionError):
            pass


class Chaos:
    def __init__(self, cluster, text, arguments):
        self.cluster = cluster
        self.text = text
        self.job = None
        self.arguments = arguments
        self.relay = RelayProcess(cluster.dir) if arguments.cuts else None
        self.faults = {name: weight for name, weight in FAULTS.items() if name in arguments.faults}
        self.random = random.Random(arguments.seed)
        self.counts = collections.Counter()
        self.head_recovery = []
        self.untold = 0  # steps without metrics
        self.start = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.start:7.2f}  {text}", flush=True)

    def record(self):
        return json.loads(self.cluster.ctl("status", self.job, "-o", "json"))

    def living(self):
        actors = json.loads(self.cluster.ctl("describe", self.job, "-o", "json"))["actors"]
        return [a for a in actors if a["state"] not in ("exited", "stopping") and a["pid"] > 0]

    def signal(self, pid, number):
        try:
            os.kill(pid, number)
            return True
        except ProcessLookupError:
            return False

    def kill(self):
        actors = self.living()
        if not actors:
            return None
        actor = self.random.choice(actors)
        return f"kill actor {actor['actor']}" if self.signal(actor["pid"], signal.SIGKILL) else None

    def all(self):
        killed = sum(self.signal(actor["pid"], signal.SIGKILL) for actor in self.living())
        return f"kill all {killed} actors" if killed else None

    def stop(self):
        actors = self.living()
        if not actors:
            return None
        actor = self.random.choice(actors)
        seconds = self.random.choice([0.3, 0.8, 1.5, 3.0])
        if not self.signal(actor["pid"], signal.SIGSTOP):
            return None
        self.say(f"stop actor {actor['actor']} for {seconds} s")
        time.sleep(seconds)
        self.signal(actor["pid"], signal.SIGCONT)
        return f"actor {actor['actor']} goes on"

    def slow(self):
        actors = self.living()
        if not actors:
            return None
        actor = self.random.choice(actors)
        for _ in range(10):
            if not self.signal(actor["pid"], signal.SIGSTOP):
                break
            time.sleep(0.15)
            self.signal(actor["pid"], signal.SIGCONT)
            time.sleep(0.05)
        return f"slowed actor {actor['actor']} down for 2 s"

    def scale(self):
        actors = self.random.randint(1, self.arguments.slots)
        self.cluster.ctl("scale", self.job, str(actors), check=False)
        return f"scale to {actors}"

    def drain(self):
        actors = self.living()
        if not actors:
            return None
        actor = self.random.choice(actors)["actor"]
        self.cluster.ctl("drain", self.job, "--actor", str(actor), check=False)
        return f"drain actor {actor}"

    def head(self):
        before = self.record()
        self.cluster.kill_daemon()
        away = self.random.choice([0.0, 0.5, 2.0])
        time.sleep(away)
        begun = time.monotonic()
        self.cluster.start_daemon()
        while True:
            now = self.record()
            if now["state"] in ("succeeded", "failed", "stopped") or now["steps"] > before["steps"]:
                break
            if time.monotonic() - begun > 60:
                raise SystemExit(f"sengd is back, but the job stands at step {now['steps']}: {now['reason']}")
            time.sleep(0.05)
        self.head_recovery.append(time.monotonic() - begun)
        return f"killed sengd, away {away} s, right again {self.head_recovery[-1]:.2f} s after its start"

    def cut(self):
        seed, seconds = self.random.getrandbits(32), self.random.choice([0.5, 1.0, 2.0, 4.0, 8.0])
        done = self.relay.ask(f"cut {seed} {seconds}")
        return None if done == "none" else done

    def disk(self):
        """No file of the actors, or of sengd, can grow for a while. Nobody is killed meanwhile: what an actor would still have
        written to its ledger would be lost with it."""
        daemon = self.random.random() < 0.3
        seconds = self.random.choice([0.5, 1.5, 3.0])
        pids = [self.cluster.pid] if daemon else [a["pid"] for a in self.living()]
        if not pids:
            return None
        limit_files(pids, 0)
        time.sleep(seconds)
        # Whom the daemon has started since has its limit too.
        limit_files({*pids, *(a["pid"] for a in self.living())}, resource.RLIM_INFINITY)
        time.sleep(0.5)
        return f"no room for files of {'sengd' if daemon else f'{len(pids)} actors'} for {seconds} s"

    def inject(self):
        name = self.random.choices(list(self.faults), weights=self.faults.values())[0]
        done = getattr(self, name)()
        if done:
            self.counts[name] += 1
            self.say(done)

    def over(self):
        return time.monotonic() - self.start > 60 * self.arguments.minutes

    def run(self):
        """One job from its submission to its end; its record."""
        self.job = str(json.loads(self.cluster.ctl("submit", "-", "-o", "json", text=self.text))["id"])
        self.say(f"job {self.job}")
        while not self.over() and self.record()["state"] in ("queued", "starting", "running"):
            self.inject()
            time.sleep(self.random.expovariate(1 / self.arguments.pause))
        self.cluster.ctl("scale", self.job, str(self.arguments.actors), check=False)
        self.cluster.ctl("wait", self.job, "--timeout", str(self.arguments.patience), check=False)
        record = self.record()
        self.say(f"job {self.job} {record['state']} at step {record['steps']}")
        return record

    def check(self, record, expected):
        """What is wrong with a job that has ended, in words."""
        problems = []
        if record["state"] != "succeeded":
            problems.append(f"job {self.job} is {record['state']} at step {record['steps']}: {record['reason']}")
            problems.append(self.cluster.ctl("events", self.job, check=False)[-4000:])
        elif record["state_sha256"] != expected["state_sha256"]:
            problems.append(f"job {self.job} has other bits: {record['state_sha256']}, not {expected['state_sha256']}")
        ledger = subprocess.run([sys.executable, ROOT / "scripts" / "check_ledger.py",
                                 f"{self.cluster.dir}/jobs/{self.job}"], capture_output=True, text=True)
        if ledger.returncode != 0:
            problems.append(f"ledger of job {self.job}: {ledger.stdout}{ledger.stderr}")
        told = {step["step"] for step in json.loads(self.cluster.ctl("metrics", self.job, "-o", "json"))["steps"]}
        untold = sorted(set(range(1, record["steps"] + 1)) - told)
        self.untold += len(untold)
        if untold:
            problems.append(f"job {self.job} has no metrics of steps {', '.join(map(str, untold))}")
        return problems


def leaks(cluster, descriptors_before):
    """What is left behind, in words. Stops the daemon in between."""
    found = []
    now = cluster.descriptors()
    if now > descriptors_before + 2:
        found.append(f"sengd has {now} open files, {descriptors_before} before the job")
    cluster.stop()
    for line in subprocess.run(["pgrep", "-af", cluster.dir], capture_output=True, text=True).stdout.splitlines():
        if str(os.getpid()) != line.split()[0]:
            found.append(f"process {line}")
    for path in pathlib.Path(cluster.dir).rglob("*"):
        known = KNOWN_DIRECTORIES if path.is_dir() else KNOWN_FILES
        if not known.fullmatch(str(path.relative_to(cluster.dir))):
            found.append(str(path))
    with open(f"{cluster.dir}/sengd.lock", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append(f"somebody holds {lock.name}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=2, help="how long faults are injected")
    parser.add_argument("--steps", type=int, default=1500, help="of each job")
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="seng")
    parser.add_argument("--actors", type=int, default=3)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between faults")
    parser.add_argument("--patience", type=float, default=600, help="seconds for the job to end afterwards")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="only these")
    parser.add_argument("--cuts", action=argparse.BooleanOptionalAction, default=True,
                        help="a relay between the actors, which holds back what one says to another")
    parser.add_argument("--keep", action="store_true", help="keep the state directory")
    arguments = parser.parse_args()
    if not arguments.cuts:
        arguments.faults = [name for name in arguments.faults if name != "cut"]
    text = job_text(arguments, arguments.steps)
    problems = []

    with Cluster(slots=1) as quiet:
        expected, _ = quiet.train("-", "actors.max=1", text=text)
    print(f"undisturbed: {arguments.steps} steps, state {expected['state_sha256'][:16]}")

    cluster = Cluster(slots=arguments.slots, keep=arguments.keep)
    with cluster:
        descriptors = cluster.descriptors()
        chaos = Chaos(cluster, text, arguments)
        jobs = restarts = 0
        while not chaos.over() and not problems:
            record = chaos.run()
            problems += chaos.check(record, expected)
            jobs += 1
            restarts += record["restarts"]
        if chaos.relay:
            chaos.relay.end()
        problems += leaks(cluster, descriptors)

    recovery = chaos.head_recovery
    summary = {"seed": arguments.seed, "jobs": jobs, "steps": arguments.steps, "faults": dict(chaos.counts),
               "restarts": restarts, "steps_without_metrics": chaos.untold,
               "head_recovery_s": {"median": median(recovery), "max": max(recovery, default=None)},
               "state_sha256": expected["state_sha256"], "problems": problems}
    print(f"{jobs} jobs, {restarts} restarts, {chaos.untold} steps without metrics, {json.dumps(summary['faults'])}, head right again after s:",
          summary["head_recovery_s"])
    write_json(f"chaos-{arguments.optimizer}-{arguments.seed}", summary)
    for problem in problems:
        print("PROBLEM:", problem, file=sys.stderr)
    print("failed" if problems else f"{sum(chaos.counts.values())} faults: the same bits, every sample once, every step told, nothing left")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
