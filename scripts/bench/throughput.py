#!/usr/bin/env python3
"""Training throughput beside PyTorch's, interleaved over several rounds: every figure of a round is measured within
minutes of the others, and what counts is the ratio within the round."""

import argparse
import json
import os
import subprocess
import sys

from cluster import ROOT, Cluster, median, write_json

TUNED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
    "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu/openblas-openmp",
    "OMP_NUM_THREADS": "2",
}
JOBS = {
    "lenet": ("{name: lenet}", "{name: fashion-mnist}"),
    "resnet18": ("{name: resnet18}",
                 "{name: synthetic, train: 2048, test: 32, channels: 3, height: 32, width: 32, classes: 10}"),
}


def pytorch(network, batch, steps, mode):
    environment = dict(os.environ, **(TUNED if mode == "tuned" else {}))
    # Debian's own interpreter: python3-torch is built for it.
    out = subprocess.run(["/usr/bin/python3", ROOT / "scripts/bench/pytorch_baseline.py", network, str(batch),
                          str(steps), mode], check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(out)["images_per_second"]


def ours(cluster, network, batch, micro, steps, actors, lanes):
    model, data = JOBS[network]
    text = f"""
name: bench
model: {model}
data: {data}
batch: {{global: {batch}, micro: {micro}}}
steps: {steps}
optimizer: {{name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 0.0005}}
actors: {{min: {actors}, max: {actors}, lanes: {lanes}}}
"""
    _, metrics = cluster.train("-", text=text)
    return batch / median([s["seconds"] for s in metrics["steps"]][2:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer steps and only lenet")
    arguments = parser.parse_args()
    # Name, batch, micro-batch, steps. The micro-batch is the largest that both lanes get an equal share of, up to 64:
    # Winograd's weights are transformed once a micro-batch.
    cases = [("lenet", 256, 32, 40)]
    if not arguments.quick:
        cases += [("resnet18", 64, 32, 8), ("resnet18", 256, 64, 4)]
    rows = []
    with Cluster(slots=2) as cluster:
        for network, batch, micro, steps in cases:
            for round_number in range(arguments.rounds):
                row = {"network": network, "batch": batch, "round": round_number,
                       "pytorch_default": pytorch(network, batch, steps, "default"),
                       "seng_1x2": ours(cluster, network, batch, micro, steps + 2, 1, 2),
                       "pytorch_tuned": pytorch(network, batch, steps, "tuned"),
                       "seng_2x1": ours(cluster, network, batch, micro, steps + 2, 2, 1)}
                best = max(row["pytorch_default"], row["pytorch_tuned"])
                row["ratio_1x2"], row["ratio_2x1"] = row["seng_1x2"] / best, row["seng_2x1"] / best
                rows.append(row)
                print(f"{network:9} batch {batch:4} round {round_number}: PyTorch {row['pytorch_default']:7.1f} default "
                      f"{row['pytorch_tuned']:7.1f} tuned | ours {row['seng_1x2']:7.1f} (1 actor x 2 lanes) "
                      f"{row['seng_2x1']:7.1f} (2 x 1) img/s | {row['ratio_1x2']:.2f}x {row['ratio_2x1']:.2f}x", flush=True)
    print("\nnetwork    batch   ours/PyTorch's best: 1x2 (min-max)      2x1 (min-max)")
    for network, batch, _, _ in cases:
        for_case = [r for r in rows if r["network"] == network and r["batch"] == batch]
        a, b = [r["ratio_1x2"] for r in for_case], [r["ratio_2x1"] for r in for_case]
        print(f"{network:9} {batch:6}   {median(a):20.2f} ({min(a):.2f}-{max(a):.2f}) {median(b):12.2f} ({min(b):.2f}-{max(b):.2f})")
    write_json("throughput", rows)


if __name__ == "__main__":
    sys.exit(main())
