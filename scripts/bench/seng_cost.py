#!/usr/bin/env python3
"""What SENG costs over SGD in the same engine: an ordinary step, a refresh step, bytes sent. SGD and SENG jobs
alternate over several rounds; medians within a round are compared."""

import argparse
import sys

from cluster import Cluster, median, write_json

CASES = {
    "lenet": dict(model="{name: lenet}", data="{name: fashion-mnist}", batch=256, micro=32, steps=60, every=10, samples=256),
    "resnet18": dict(model="{name: resnet18}",
                     data="{name: synthetic, train: 1024, test: 32, channels: 3, height: 32, width: 32, classes: 10}",
                     batch=64, micro=32, steps=8, every=4, samples=64),
}


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
    arguments = parser.parse_args()
    rows = []
    with Cluster(slots=2) as cluster:
        for network in arguments.network or ["lenet"]:
            case = CASES[network]
            seng = (f"{{name: seng, lr: 0.01, damping: 1.0, weight_decay: 0.0005, trust_region: 0.002, "
                    f"curvature: {{every: {case['every']}, samples: {case['samples']}}}}}")
            sgd = "{name: sgd, lr: 0.01, weight_decay: 0.0005}"
            for actors, lanes in ((1, 2), (2, 1)):
                for round_number in range(arguments.rounds):
                    _, first = cluster.train("-", text=job(case, sgd, actors, lanes))
                    _, second = cluster.train("-", text=job(case, seng, actors, lanes))
                    base = median([s["seconds"] for s in first["steps"]][2:])
                    ordinary = median([s["seconds"] for s in second["steps"][2:] if not s["refreshed"]])
                    refresh = median([s["seconds"] for s in second["steps"][1:] if s["refreshed"]])
                    rows.append(dict(network=network, actors=actors, lanes=lanes, round=round_number, sgd=base,
                                     ordinary=ordinary, refresh=refresh, extra_ordinary=ordinary / base - 1,
                                     extra_refresh=refresh / base - 1))
                    print(f"{network} {actors}x{lanes} round {round_number}: SGD step {base * 1e3:.1f} ms, SENG ordinary "
                          f"{ordinary * 1e3:.1f} ms (+{100 * (ordinary / base - 1):.1f} %), refresh {refresh * 1e3:.1f} ms "
                          f"(+{refresh / base - 1:.2f} steps)", flush=True)
    write_json("seng_cost", rows)


if __name__ == "__main__":
    sys.exit(main())
