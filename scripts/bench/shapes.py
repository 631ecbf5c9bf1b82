#!/usr/bin/env python3
"""What SENG takes on networks of real size: the cost table of their shapes, and steps that are run.

    scripts/bench.sh shapes [--samples N] [--run NETWORK ...]

For resnet18 on 32x32 and resnet50 and vgg16_bn on 224x224 pictures: floating-point operations and bytes of an ordinary step's
preconditioning, operations of a refresh, memory of the curvature, for full rank, rank 16 and rank 16 in bf16, at 256 samples. Beside it
the same of what keeps every sample's gradient of layers up to 700,000 weights and rank-16 factors of the others, as the method's authors
do. Then, of each network named by --run, one refresh, one ordinary step and SGD's step are trained at a small batch.
"""

import argparse
import json
import subprocess

from cluster import BIN, Cluster, write_json

NETWORKS = {
    "resnet18": dict(model="{name: resnet18}", side=32, classes=10, batch=32, micro=16),
    "resnet50": dict(model="{name: resnet50}", side=224, classes=100, batch=16, micro=8),
    "vgg16_bn": dict(model="{name: vgg16_bn}", side=224, classes=100, batch=8, micro=4),
}
FORMS = {
    "full rank": "",
    "rank 16": ", representation: implicit, rank: 16",
    "rank 16, bf16": ", representation: implicit, rank: 16, dtype: bf16, fragment_dtype: bf16",
}
EXPLICIT_LIMIT = 700_000  # the authors' code


def job(network, optimizer, batch, micro, steps):
    case = NETWORKS[network]
    return f"""name: shapes
model: {case['model']}
data: {{name: synthetic, train: {4 * batch}, test: {batch}, height: {case['side']}, width: {case['side']}, classes: {case['classes']}}}
batch: {{global: {batch}, micro: {micro}}}
steps: {steps}
optimizer: {optimizer}
actors: {{min: 1, max: 1}}
evaluate: {{every_epochs: 0}}
"""


def seng(samples, form, every):
    return (f"{{name: seng, lr: 0.01, damping: 1.0, trust_region: 0.001, "
            f"curvature: {{every: {every}, samples: {samples}, memory_mib: unlimited{form}}}}}")


def blocks_of(network, samples, form):
    text = job(network, seng(samples, form, 1000), 256, 32, 1)
    plan = json.loads(subprocess.run([BIN / "seng-actor", "plan"], input=text, capture_output=True, text=True).stdout)
    if not plan["ok"]:
        raise SystemExit(f"{network}: {plan['errors']}")
    return plan["blocks"]


def authors(block, samples, rank=16):
    """(operations, bytes, curvature bytes) of an ordinary step their way."""
    m, n = block["m"], block["n"]
    if block["kind"] == "batch_norm" or m * n <= EXPLICIT_LIMIT:
        values = samples * block["parameters"]
        return 4 * values, 8 * values, 4 * values
    values = samples * (m + n) * min(rank, block["positions"])
    return 4 * samples * m * n * min(rank, block["positions"]), 4 * values, 4 * values


def table(samples):
    rows = []
    print(f"Preconditioning with {samples} samples, all blocks on one actor:\n")
    print("| network | form | GFLOP a step | MB read a step | GFLOP a refresh | curvature, MiB |\n| --- | --- | --- | --- | --- | --- |")
    for network in NETWORKS:
        for name, form in FORMS.items():
            blocks = blocks_of(network, samples, form)
            row = dict(network=network, form=name, step_gflop=sum(b["step_operations"] for b in blocks) / 1e9,
                       step_mb=sum(b["step_bytes"] for b in blocks) / 1e6,
                       refresh_gflop=sum(b["refresh_operations"] for b in blocks) / 1e9,
                       curvature_mib=sum(b["curvature_bytes"] for b in blocks) / 2**20)
            rows.append(row)
            print(f"| {network} | {name} | {row['step_gflop']:.1f} | {row['step_mb']:.0f} | {row['refresh_gflop']:.0f} | "
                  f"{row['curvature_mib']:.0f} |", flush=True)
        theirs = [authors(block, samples) for block in blocks]
        print(f"| {network} | theirs, {EXPLICIT_LIMIT:,} | {sum(t[0] for t in theirs) / 1e9:.1f} | {sum(t[1] for t in theirs) / 1e6:.0f} "
              f"| | {sum(t[2] for t in theirs) / 2**20:.0f} |", flush=True)
    return rows


def run(network):
    case, rows = NETWORKS[network], []
    with Cluster(slots=1) as cluster:
        for name, optimizer in (("sgd", "{name: sgd, lr: 0.01}"), ("seng, rank 16", seng(case["batch"], ", representation: implicit, rank: 16", 2))):
            _, metrics = cluster.train("-", text=job(network, optimizer, case["batch"], case["micro"], 4))
            for kind, wanted in (("ordinary", False), ("refresh", True)):
                seconds = [step["seconds"] for step in metrics["steps"][1:] if step["refreshed"] == wanted]
                if seconds:
                    rows.append(dict(network=network, batch=case["batch"], optimizer=name, step=kind, seconds=min(seconds)))
                    print(f"{network}, batch {case['batch']}: {name}, {kind} step {min(seconds):.2f} s", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--run", nargs="*", choices=sorted(NETWORKS), default=["resnet50", "vgg16_bn"])
    arguments = parser.parse_args()
    rows = table(arguments.samples)
    print()
    steps = [row for network in arguments.run for row in run(network)]
    write_json("shapes", {"table": rows, "steps": steps})


if __name__ == "__main__":
    main()
