#!/usr/bin/env python3
"""What checkpoints cost a training job, as a part of its time. Jobs of two actors, evaluation off, a checkpoint every n steps:

    lenet      Fashion-MNIST, the shipped job (batch 256, a refresh every 100 steps): n = 200 as shipped, and 25
    resnet18   the CIFAR network on synthetic images, batch 128: n = 25

    scripts/bench.sh checkpoint [--only lenet-200,lenet-25,resnet18-25] [--checkpoints N]

Steps are dated by commits.py. `stall`: the step behind a checkpoint against a usual one of its kind (refresh or not). `cost`: the
same over all steps of the first half of the n, so that what is written beside training, on the cores that train, counts too; a
usual step is the median of the second halves, in which nothing is written any more. Both are medians over the checkpoints.
"""

import argparse
import os
import pathlib
import sys

from cluster import Cluster, median, write_json
from commits import Commits

GOAL = 0.02
LENET = """name: checkpoint
model: {{name: lenet}}
data: {{name: fashion-mnist}}
batch: {{global: 256, micro: 32}}
steps: {steps}
optimizer: {{name: seng, lr: 0.01, damping: 0.3, weight_decay: 0.0005, trust_region: 0.002,
            curvature: {{every: 100, samples: 256, batch_norm: explicit}}}}
actors: {{min: 2, max: 2, lanes: 1}}
checkpoint: {{every_steps: {every}, keep: 2}}
evaluate: {{every_epochs: 0}}
ledger: true
"""
RESNET = """name: checkpoint
model: {{name: resnet18}}
data: {{name: synthetic, train: 2048, test: 32, channels: 3, height: 32, width: 32, classes: 10}}
batch: {{global: 128, micro: 32}}
steps: {steps}
optimizer: {{name: seng, lr: 0.01, damping: 0.3, weight_decay: 0.0005, trust_region: 0.002,
            curvature: {{every: 100, samples: 128}}}}
actors: {{min: 2, max: 2, lanes: 1}}
checkpoint: {{every_steps: {every}, keep: 2}}
evaluate: {{every_epochs: 0}}
ledger: true
"""
REFRESH_EVERY = 100
CASES = {"lenet-200": (LENET, 200, 6), "lenet-25": (LENET, 25, 40), "resnet18-25": (RESNET, 25, 2)}


def refreshes(step):
    return (step - 1) % REFRESH_EVERY == 0


def run(text, every, checkpoints):
    steps = every * checkpoints + every // 2 + 1
    with Cluster(slots=2) as cluster:
        cluster.ctl("submit", "-", text=text.format(steps=steps, every=every))
        while not os.path.isdir(f"{cluster.dir}/jobs/1"):
            pass
        commits = Commits(f"{cluster.dir}/jobs/1")
        commits.wait(lambda c: steps in c.first, "the job's last step", 230)
        at = {step: commit.at for step, commit in commits.first.items()}
        commits.close()
        cluster.ctl("wait", "1", check=False)
        newest = max(pathlib.Path(f"{cluster.dir}/jobs/1/checkpoints").glob("step-*"))
        size = sum(file.stat().st_size for file in newest.iterdir())
    return at, size


def evaluate(at, every, size):
    gap = {step: at[step] - at[step - 1] for step in at if step - 1 in at and step > every}
    behind = {step: (step - 1) % every for step in gap}  # 0: the step right behind a checkpoint
    quiet = [step for step in gap if behind[step] >= every // 2]
    usual = {kind: median(gaps) for kind in (False, True) if (gaps := [gap[s] for s in quiet if refreshes(s) == kind])}
    stalls, costs = [], []
    for first in (step for step in gap if behind[step] == 0):
        half = range(first, first + every // 2)
        if not all(s in gap and refreshes(s) in usual for s in half):
            continue  # a refresh, where none of the quiet steps is one
        stalls.append(gap[first] - usual[refreshes(first)])
        costs.append(sum(gap[s] - usual[refreshes(s)] for s in half))
    period = every * usual[False]
    return dict(every=every, bytes=size, checkpoints=len(stalls), usual_ms=1e3 * usual[False],
                stall_ms=1e3 * median(stalls), stall_largest_ms=1e3 * max(stalls), cost_ms=1e3 * median(costs),
                stall_share=median(stalls) / period, cost_share=median(costs) / period)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--checkpoints", type=int, help="how many to measure, in place of the case's own number")
    arguments = parser.parse_args()
    print("load of the machine before:", " ".join(f"{load:.2f}" for load in os.getloadavg()), flush=True)
    print(f"{'':14}{'MB':>7}{'step, ms':>10}{'stall, ms':>11}{'largest':>9}{'of time':>9}{'cost, ms':>10}{'of time':>9}"
          f"  stall <= {GOAL:.0%}")
    data = {}
    for name in arguments.only.split(","):
        text, every, checkpoints = CASES[name]
        row = data[name] = evaluate(*run_case(text, every, arguments.checkpoints or checkpoints))
        print(f"{name:14}{1e-6 * row['bytes']:7.1f}{row['usual_ms']:10.1f}{row['stall_ms']:11.1f}{row['stall_largest_ms']:9.1f}"
              f"{row['stall_share']:9.2%}{row['cost_ms']:10.1f}{row['cost_share']:9.2%}"
              f"  {'yes' if row['stall_share'] <= GOAL else 'NO'}", flush=True)
    data["load"] = os.getloadavg()
    write_json("checkpoint", data)


def run_case(text, every, checkpoints):
    at, size = run(text, every, checkpoints)
    return at, every, size


if __name__ == "__main__":
    sys.exit(main())
