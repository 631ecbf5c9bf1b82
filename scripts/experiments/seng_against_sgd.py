#!/usr/bin/env python3
"""SENG against SGD on Fashion-MNIST: loss and accuracy per epoch of the shipped jobs, over several seeds.

    scripts/experiments/seng_against_sgd.py [--seeds 0 1 2] [--pair small|large] [--actors 2]

Writes seng_against_sgd.csv (one row per job, seed and epoch) and seng_against_sgd.md (the means) into build/experiments.
The settings are those of scripts/jobs/; README.md of this folder says how they were found.
"""

import argparse
import csv
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/bench")
from cluster import ROOT, Cluster  # noqa: E402

PAIRS = {
    "small": ["fashion_lenet_seng", "fashion_lenet_sgd"],
    "large": ["fashion_lenet_large_batch_seng", "fashion_lenet_large_batch_sgd"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pair", choices=sorted(PAIRS), action="append")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--set", dest="sets", action="append", default=[], help="a setting for every job, e.g. "
                        "data.train_limit=20000")
    arguments = parser.parse_args()
    rows = []
    with Cluster(slots=2) as cluster:
        for pair in arguments.pair or ["small", "large"]:
            for job in PAIRS[pair]:
                for seed in arguments.seeds:
                    result, metrics = cluster.train(ROOT / "scripts" / "jobs" / f"{job}.yaml", f"seed={seed}",
                                                    f"actors.max={arguments.actors}", *arguments.sets)
                    for i, epoch in enumerate(e for e in metrics["epochs"] if e["test_accuracy"] is not None):
                        rows.append([job, seed, i + 1, epoch["train_loss"], epoch["train_accuracy"],
                                     epoch["test_accuracy"], epoch["seconds"]])
                    print(job, "seed", seed, f"test accuracy {result['test_accuracy']:.4f}", flush=True)
    out = ROOT / "build" / "experiments"
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "seng_against_sgd.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "seed", "epoch", "train_loss", "train_accuracy", "test_accuracy", "seconds"])
        writer.writerows(rows)
    table = ["| job | epoch | train loss | test accuracy | seeds |", "| --- | --- | --- | --- | --- |"]
    for job in dict.fromkeys(row[0] for row in rows):
        for epoch in sorted({row[2] for row in rows if row[0] == job}):
            chosen = [row for row in rows if row[0] == job and row[2] == epoch]
            mean = [sum(row[k] for row in chosen) / len(chosen) for k in (3, 5)]
            spread = [min(row[5] for row in chosen), max(row[5] for row in chosen)]
            table.append(f"| {job} | {epoch} | {mean[0]:.4f} | {100 * mean[1]:.2f} % "
                         f"({100 * spread[0]:.2f}-{100 * spread[1]:.2f}) | {len(chosen)} |")
    (out / "seng_against_sgd.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
