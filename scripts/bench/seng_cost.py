#!/usr/bin/env python3
"""What SENG costs over SGD in the same engine: an ordinary step, a refresh. SGD and SENG jobs alternate over several
rounds; medians within a round are compared. A refresh's cost is that of its own step and of the one behind it together,
over ordinary ones: where it takes effect a step later, part of its work is there."""

import argparse
import sys

from cluster import Cluster, median, write_json

# As scripts/jobs/cifar10_resnet18_seng.yaml has it.
RESNET18 = ", representation: implicit, rank: 4, sketch: rows, sketch_rows: 16384"

LENET = dict(model="{name: lenet}", data="{name: fashion-mnist}", batch=256, micro=32, steps=200, every=10, warm=5)
CASES = {
    "lenet": dict(LENET, samples=128),  # as scripts/jobs/fashion_lenet_seng.yaml has it
    "lenet-256": dict(LENET, samples=256),  # every image of the batch
    "resnet18": dict(model="{name: resnet18}",
                     data="{name: synthetic, train: 1024, test: 32, channels: 3, height: 32, width: 32, classes: 10}",
                     batch=256, micro=64, steps=13, every=4, samples=256, warm=1, curvature=RESNET18, variant="bf16"),
}

VARIANTS = {
    "f32": "",
    "bf16": ", dtype: bf16, fragment_dtype: bf16",
    "overlap": ", overlap: true",
    "bf16+overlap": ", dtype: bf16, fragment_dtype: bf16, overlap: true",
}


def refresh_steps(steps, warm):
    """Seconds of each refresh step but the first ones, which take fresh memory from the kernel, and of the step behind it."""
    pairs = [(a["seconds"], b["seconds"]) for a, b in zip(steps, steps[1:]) if a["refreshed"]][warm:]
    return median([a for a, _ in pairs]), median([b for _, b in pairs])


def job(case, optimizer, actors, lanes):
    return f"""
name: bench
model: {case['model']}
data: {case['data']}
batch: {{global: {case['batch']}, micro: {case['micro']}}}
steps: {case['steps']}
optimizer: {optimizer}
actors: {{min: {actors}, max: {actors}, lanes: {lanes}}}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=sorted(CASES), action="append")
    parser.add_argument("--variant", choices=sorted(VARIANTS), action="append")
    arguments = parser.parse_args()
    rows = []
    with Cluster(slots=2) as cluster:
        for network in arguments.network or ["lenet"]:
            case = CASES[network]
            sgd = "{name: sgd, lr: 0.01, weight_decay: 0.0005}"
            for actors, lanes in ((1, 2), (2, 1)):
                for round_number in range(arguments.rounds):
                    _, first = cluster.train("-", text=job(case, sgd, actors, lanes))
                    base = median([s["seconds"] for s in first["steps"]][2:])
                    for variant in arguments.variant or [case.get("variant", "f32")]:
                        seng = (f"{{name: seng, lr: 0.01, damping: 1.0, weight_decay: 0.0005, trust_region: 0.002, "
                                f"curvature: {{every: {case['every']}, samples: {case['samples']}{case.get('curvature', '')}{VARIANTS[variant]}}}}}")
                        _, second = cluster.train("-", text=job(case, seng, actors, lanes))
                        steps = second["steps"]
                        behind = {s["step"] + 1 for s in steps if s["refreshed"]}
                        ordinary = median([s["seconds"] for s in steps[2:] if not s["refreshed"] and s["step"] not in behind])
                        refresh, after = refresh_steps(steps, case["warm"])
                        mib = max(s["curvature_bytes"] for s in steps) / 2**20
                        rows.append(dict(network=network, variant=variant, actors=actors, lanes=lanes, round=round_number,
                                         sgd=base, ordinary=ordinary, refresh=refresh, after=after,
                                         extra_ordinary=ordinary / base - 1, curvature_mib=mib,
                                         extra_refresh=(refresh + after - 2 * ordinary) / base))
                        print(f"{network} {actors}x{lanes} round {round_number} {variant}: SGD step {base * 1e3:.1f} ms, SENG "
                              f"ordinary {ordinary * 1e3:.1f} ms ({100 * (ordinary / base - 1):+.1f} %), refresh "
                              f"{refresh * 1e3:.1f} ms and {after * 1e3:.1f} ms behind it ({rows[-1]['extra_refresh']:+.2f} "
                              f"steps), curvature {mib:.0f} MiB an actor", flush=True)
    print("\nmedians             ordinary, over SGD's   refresh, in steps")
    for key in dict.fromkeys((r["network"], r["variant"], r["actors"], r["lanes"]) for r in rows):
        same = [r for r in rows if (r["network"], r["variant"], r["actors"], r["lanes"]) == key]
        print(f"{key[0]:10} {key[1]:12} {key[2]}x{key[3]} {100 * median([r['extra_ordinary'] for r in same]):+10.1f} % "
              f"{median([r['extra_refresh'] for r in same]):+18.2f}")
    write_json("seng_cost", rows)


if __name__ == "__main__":
    sys.exit(main())
