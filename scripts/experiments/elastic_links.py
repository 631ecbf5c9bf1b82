#!/usr/bin/env python3
"""What if the actors were connected by slower links: seconds per step at 100 Mbit/s to 10 Gbit/s (LeNet, Fashion-MNIST, two actors,
one lane each, pinned to a core).

    scripts/experiments/elastic_links.py [--steps 60] [--rates 1e8 3e8 1e9 3e9 1e10]

Actors on one machine meet at local sockets, which no kernel shapes. So a relay stands between them (scripts/bench/relay.py) that
lets every actor send and receive no more than the rate, all its connections together. It needs no privilege, adds no
latency but its own, and takes part of the same cores: rows "relay" (no limit) and "direct" (no relay) show what that is.

Beside the measured step stand two models, both on top of the step through the relay without a limit:

    mean     2(M-1)/M P 4 bytes per actor and step over the link's rate: what a plain reduce-scatter and all-gather needs
    largest  the owner of the largest block takes in M-1 sums of it, and then sends M-1 directions: 2(M-1) P_largest 4
             bytes that nothing can overlap, as long as blocks are not cut over owners

Writes build/experiments/elastic_links.csv and elastic_links.png. Installs python3-matplotlib if it is missing.
"""

import argparse
import os
import subprocess
import sys

from elastic_scaling import BATCH, OUT, SENG, SGD, Run, job, write_csv
from cluster import ROOT, Cluster, median
from relay import RelayProcess

ACTORS = 2


def measure(name, text, rate, steps):
    """rate: bits a second; 0: no limit; None: no relay."""
    with Cluster(slots=ACTORS) as cluster:
        relay = None
        if rate is not None:
            relay = RelayProcess(cluster.dir)
            relay.ask(f"rate {rate}")
        run = Run(cluster, job(text, ACTORS, f"steps: {steps}", 0).replace("min: 1", f"min: {ACTORS}"))
        run.wait()
        if relay:
            relay.end()
        blocks = [block["parameters"] for block in run.describe()["plan"]["blocks"]]
        taken = run.metrics["steps"][10:]
        sent = sum(actor["bytes_sent"] for actor in run.actors) / ACTORS / steps
        return dict(optimizer=name, link="direct" if rate is None else "relay" if rate == 0 else f"{rate:.0e}",
                    bits_per_s=rate or "", step_s=median([s["seconds"] for s in taken if not s["refreshed"]]),
                    refresh_s=median([s["seconds"] for s in taken if s["refreshed"]]) if name == "seng" else "",
                    bytes_per_actor_step=sent, blocks=blocks)


def with_models(rows):
    base = {row["optimizer"]: row["step_s"] for row in rows if row["link"] == "relay"}
    for row in rows:
        blocks = row.pop("blocks")
        share, largest = 2 * (ACTORS - 1) / ACTORS * sum(blocks) * 4, 2 * (ACTORS - 1) * max(blocks) * 4
        for model, count in (("mean", share), ("largest", largest)):
            row[f"{model}_model_s"] = base[row["optimizer"]] + 8 * count / row["bits_per_s"] if row["bits_per_s"] else ""
        row["images_per_s"] = BATCH / row["step_s"]
    return rows


def draw():
    subprocess.run([ROOT / "scripts" / "packages.sh", "plot"], check=True)
    program = """
import csv, sys
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
out = sys.argv[1]
rows = list(csv.DictReader(open(f"{out}/elastic_links.csv")))
figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), sharey=True)
for axis, optimizer in zip(axes, ("sgd", "seng")):
    mine = [r for r in rows if r["optimizer"] == optimizer]
    limited = [r for r in mine if r["bits_per_s"]]
    x = [float(r["bits_per_s"]) for r in limited]
    axis.plot(x, [1e3 * float(r["step_s"]) for r in limited], marker="o", label="measured")
    for model in ("mean", "largest"):
        axis.plot(x, [1e3 * float(r[f"{model}_model_s"]) for r in limited], linestyle="--", label=f"model: {model}")
    for link, style in (("relay", ":"), ("direct", "-.")):
        axis.axhline(1e3 * float(next(r["step_s"] for r in mine if r["link"] == link)), color="grey", linestyle=style,
                     label=f"no limit, {link}")
    axis.set(xscale="log", yscale="log", xlabel="link, bit/s", ylabel="ordinary step, ms", title=f"{optimizer}, 2 actors")
    axis.legend()
figure.tight_layout()
figure.savefig(f"{out}/elastic_links.png", dpi=120)
"""
    subprocess.run(["/usr/bin/python3", "-c", program, str(OUT)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e8, 3e8, 1e9, 3e9, 1e10])
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    print("load of the machine before:", " ".join(f"{load:.2f}" for load in os.getloadavg()), flush=True)
    rows = []
    for name, text in (("sgd", SGD), ("seng", SENG % 10)):
        for rate in (None, 0, *arguments.rates):
            rows.append(measure(name, text, rate, arguments.steps))
            print(f"{name:5} {rows[-1]['link']:>7}: {1e3 * rows[-1]['step_s']:7.1f} ms", flush=True)
    rows = with_models(rows)
    write_csv("elastic_links.csv", rows[0].keys(), [row.values() for row in rows])
    for row in rows:
        if row["bits_per_s"]:
            print(f"{row['optimizer']:5} {row['link']:>7}: measured {1e3 * row['step_s']:.1f} ms, models "
                  f"{1e3 * row['mean_model_s']:.1f} and {1e3 * row['largest_model_s']:.1f} ms")
    draw()
    print(f"written: {(OUT / 'elastic_links').relative_to(ROOT)}*")


if __name__ == "__main__":
    sys.exit(main())
