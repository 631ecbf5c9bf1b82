#!/usr/bin/env python3
"""Training while actors come and go, and how far more actors help (LeNet, Fashion-MNIST, one lane each, pinned to a core).

    scripts/experiments/elastic_scaling.py [--epochs 5] [--steps 200] [--actors 2]

Three runs of the same job: one actor, the most, and the schedule 1-2-1-2, a quarter of the steps each. Their state must be the
same, bit by bit; what differs is the time. Then SGD and SENG with 1 to N actors: seconds per ordinary and refresh step,
efficiency T(1)/(M T(M)), bytes sent per actor and ordinary step beside the model 2(M-1)/M P 4.

Writes into build/experiments: elastic_scaling_timeline.csv (images/s, second by second), elastic_scaling_accuracy.csv,
elastic_scaling_efficiency.csv, elastic_scaling.json (what scaling_model.py reads) and elastic_scaling.png. Installs
python3-matplotlib if it is missing.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/bench")
from cluster import ROOT, Cluster, median  # noqa: E402
from commits import Commits  # noqa: E402

SENG = ("{name: seng, lr: {schedule: poly, initial: 0.05, exponent: 1}, momentum: 0.9, weight_decay: 0.0005, "
        "damping: {initial: 0.3}, curvature: {every: %d, samples: 256}, trust_region: 0.002}")
SGD = "{name: sgd, lr: 0.02, momentum: 0.9, weight_decay: 0.0005}"
BATCH = 256
OUT = ROOT / "build" / "experiments"


def job(optimizer, actors, length, evaluate):
    return f"""name: elastic
model: {{name: lenet}}
data: {{name: fashion-mnist}}
batch: {{global: {BATCH}, micro: 32}}
{length}
optimizer: {optimizer}
actors: {{min: 1, max: {actors}, lanes: 1}}
evaluate: {{every_epochs: {evaluate}}}
ledger: true
"""


def pin(pid, core):
    """All threads; those that are started later are started by one of these."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
    except (FileNotFoundError, ProcessLookupError):
        pass


class Run:
    """A job that is watched from its submission to its end."""

    def __init__(self, cluster, text):
        self.cluster = cluster
        self.id = str(json.loads(cluster.ctl("submit", "-", "-o", "json", text=text))["id"])
        self.begun = time.monotonic()
        while not os.path.isdir(f"{cluster.dir}/jobs/{self.id}"):
            time.sleep(0.01)
        self.commits = Commits(f"{cluster.dir}/jobs/{self.id}")
        self.ends = False
        self.pinner = threading.Thread(target=self.keep_pinned, daemon=True)
        self.pinner.start()

    def describe(self):
        return json.loads(self.cluster.ctl("describe", self.id, "-o", "json"))

    def keep_pinned(self):
        cores, pinned = sorted(os.sched_getaffinity(0)), set()
        while not self.ends:
            for actor in self.describe()["actors"]:
                if actor["state"] != "exited" and (actor["pid"], actor["state"]) not in pinned:
                    pin(actor["pid"], cores[actor["slot"] % len(cores)])
                    pinned.add((actor["pid"], actor["state"]))
            time.sleep(0.5)

    def wait(self):
        self.cluster.ctl("wait", self.id, "--timeout", "3000", check=False)
        self.ends = True
        self.pinner.join()
        record = json.loads(self.cluster.ctl("status", self.id, "-o", "json"))
        if record["state"] != "succeeded":
            raise SystemExit(f"job {self.id} is {record['state']}: {record['reason']}")
        self.metrics = json.loads(self.cluster.ctl("metrics", self.id, "-o", "json"))
        self.actors = self.describe()["actors"]
        self.commits.close()
        return record

    def timeline(self):
        """(second, images/s, members) for every second."""
        seconds, members = {}, {}
        for commit in self.commits.seen:
            members.setdefault(int(commit.at - self.begun), set()).add(commit.actor)
        for commit in self.commits.first.values():
            second = int(commit.at - self.begun)
            seconds[second] = seconds.get(second, 0) + 1
        return [(s, BATCH * seconds.get(s, 0), len(members.get(s, ()))) for s in range(max(seconds, default=0) + 1)]

    def accuracy(self):
        """(seconds since the submission, epoch, test accuracy)."""
        return [(self.commits.first[e["step"]].at - self.begun, e["epoch"], e["test_accuracy"])
                for e in self.metrics["epochs"] if e["test_accuracy"] is not None and e["step"] in self.commits.first]


def elastic_runs(cluster, arguments):
    runs = {}
    for name, schedule in (("1 actor", [1]), ("2 actors", [2]), ("1-2-1-2", [1, 2, 1, 2])):
        run = Run(cluster, job(SENG % 100, schedule[0], f"epochs: {arguments.epochs}", 1))
        total = json.loads(cluster.ctl("status", run.id, "-o", "json"))["steps_total"]
        for quarter, actors in enumerate(schedule[1:], 1):
            run.commits.wait(lambda c: max(c.first, default=0) >= quarter * total // len(schedule), "its steps", 3000)
            cluster.ctl("scale", run.id, str(actors))
        record = run.wait()
        runs[name] = (run, record)
        seconds = run.commits.first[record["steps"]].at - run.begun
        print(f"{name}: {seconds:.1f} s, test accuracy {100 * record['test_accuracy']:.2f} %, state "
              f"{record['state_sha256'][:16]}", flush=True)
    if len({record["state_sha256"] for _, record in runs.values()}) != 1:
        raise SystemExit("the runs have ended in different bits")
    return {name: run for name, (run, _) in runs.items()}


def efficiency(cluster, arguments):
    rows = []
    for optimizer, text in (("sgd", SGD), ("seng", SENG % 10)):
        base = None
        for actors in range(1, arguments.actors + 1):
            run = Run(cluster, job(text, actors, f"steps: {arguments.steps}", 0))
            run.wait()
            steps = run.metrics["steps"][20:]
            ordinary = median([s["seconds"] for s in steps if not s["refreshed"]])
            refreshes = [s["seconds"] for s in steps if s["refreshed"]]
            base = base or ordinary
            parameters = sum(block["parameters"] for block in run.describe()["plan"]["blocks"])
            sent = sum(actor["bytes_sent"] for actor in run.actors) / actors / arguments.steps
            fragments = sum(actor["fragment_bytes_sent"] for actor in run.actors) / actors
            rows.append(dict(optimizer=optimizer, actors=actors, ordinary_s=ordinary,
                             refresh_s=median(refreshes) if refreshes else None, images_per_s=BATCH / ordinary,
                             efficiency=base / (actors * ordinary), bytes_per_actor_step=sent,
                             model_bytes=2 * (actors - 1) / actors * parameters * 4,
                             fragment_bytes_per_refresh=fragments / max(1, arguments.steps // 10) if refreshes else 0))
            print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    return rows


def write_csv(name, head, rows):
    with open(OUT / name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def draw(runs, rows):
    subprocess.run([ROOT / "scripts" / "packages.sh", "plot"], check=True)
    program = """
import csv, sys, collections
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
out = sys.argv[1]
figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.5))
for axes, name, x, y in ((left, "timeline", "second", "images_per_s"), (middle, "accuracy", "seconds", "test_accuracy")):
    runs = collections.defaultdict(list)
    for row in csv.DictReader(open(f"{out}/elastic_scaling_{name}.csv")):
        runs[row["run"]].append((float(row[x]), float(row[y])))
    for run, points in runs.items():
        axes.plot(*zip(*points), label=run, marker="o" if name == "accuracy" else None)
    axes.set(xlabel="seconds", ylabel=y)
    axes.legend()
for optimizer in ("sgd", "seng"):
    rows = [r for r in csv.DictReader(open(f"{out}/elastic_scaling_efficiency.csv")) if r["optimizer"] == optimizer]
    right.plot([int(r["actors"]) for r in rows], [float(r["efficiency"]) for r in rows], marker="o", label=optimizer)
right.set(xlabel="actors", ylabel="efficiency of an ordinary step", ylim=(0, 1.1))
right.legend()
figure.tight_layout()
figure.savefig(f"{out}/elastic_scaling.png", dpi=120)
"""
    subprocess.run(["/usr/bin/python3", "-c", program, str(OUT)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of the jobs that efficiency is measured with")
    parser.add_argument("--actors", type=int, default=min(2, os.cpu_count()))
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    print("load of the machine before:", " ".join(f"{load:.2f}" for load in os.getloadavg()), flush=True)
    with Cluster(slots=arguments.actors) as cluster:
        rows = efficiency(cluster, arguments)
        runs = elastic_runs(cluster, arguments)
        plan = next(iter(runs.values())).describe()["plan"]
    write_csv("elastic_scaling_timeline.csv", ["run", "second", "images_per_s", "actors"],
              [(name, *row) for name, run in runs.items() for row in run.timeline()])
    write_csv("elastic_scaling_accuracy.csv", ["run", "seconds", "epoch", "test_accuracy"],
              [(name, *row) for name, run in runs.items() for row in run.accuracy()])
    write_csv("elastic_scaling_efficiency.csv", rows[0].keys(), [row.values() for row in rows])
    (OUT / "elastic_scaling.json").write_text(json.dumps({"efficiency": rows, "blocks": plan["blocks"]}, indent=1) + "\n")
    draw(runs, rows)
    print(f"written: {(OUT / 'elastic_scaling').relative_to(ROOT)}*")


if __name__ == "__main__":
    main()
