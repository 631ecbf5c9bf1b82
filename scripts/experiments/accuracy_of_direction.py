#!/usr/bin/env python3
"""How far each approximation's direction is from the exact one, on a ResNet-18 of width 16 that has been trained a little on
CIFAR-10, with a gradient of a fresh batch: rank p, sketch of q rows, count sketch of r buckets for U b, the mean of M workers'
directions, the authors' shortcut, K-FAC, and no curvature at all.

    scripts/experiments/accuracy_of_direction.py --data DIR [--steps 150] [--width 16] [--damping 0.2] [--samples 128]

DIR holds train/CLASS/*.jpg and test/CLASS/*.jpg. The network is trained with the job in this file, its weights are exported, and
tests/bench/direction_accuracy_bench does the rest (its head says what the columns are). Writes
build/experiments/accuracy_of_direction.csv (a line per variant, seed and block) and .png, and prints the whole steps' errors, means
over the sketches' seeds. Installs python3-matplotlib if it is missing.
"""

import argparse
import collections
import csv
import subprocess
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/bench")
from cluster import BIN, ROOT, Cluster  # noqa: E402

OUT = ROOT / "build" / "experiments"
TABLE = OUT / "accuracy_of_direction.csv"
JOB = """name: accuracy
model: {{name: resnet18, width: {width}}}
data: {{name: imagefolder, root: {data}, size: 32, cache: {cache}, mean: "0.4914, 0.4822, 0.4465",
  deviation: "0.2470, 0.2435, 0.2616", augment: {{pad_crop: 4, flip: true}}}}
batch: {{global: 256, micro: 32}}
steps: {steps}
optimizer: {{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: {damping},
  curvature: {{every: 25, samples: {samples}}}, trust_region: 0.003}}
evaluate: {{every_epochs: 0}}
"""


def trained_weights(text):
    """The directory is the experiment's own; the network is small."""
    with Cluster(slots=1) as cluster:
        result, metrics = cluster.train("-", text=text)
        if result["state"] != "succeeded":
            raise SystemExit(result["reason"])
        print(f"trained: loss {metrics['steps'][0]['loss']:.3f} -> {metrics['steps'][-1]['loss']:.3f}, "
              f"test accuracy {100 * result['test_accuracy']:.1f} %")
        weights = OUT / "accuracy_of_direction.safetensors"
        weights.unlink(missing_ok=True)
        cluster.ctl("export", str(result["id"]), "--output", str(weights))
        return weights


def means(rows):
    """(variant, parameter) -> mean of each column over the seeds, for the whole step."""
    found = collections.defaultdict(list)
    for row in rows:
        if row["block"] == "all":
            found[row["variant"], float(row["parameter"])].append(row)
    return {key: {column: sum(float(row[column]) for row in of) / len(of)
                  for column in ("error", "sine", "seconds", "bytes")} for key, of in found.items()}


def plot(table, file):
    """With the system's Python, which is the one that has matplotlib."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 4, figsize=(18, 4.5), sharey=True)
    none = table["no curvature", 0]["error"]
    shown = [("rank p of the factors", ("rank svd", "rank subspace")), ("rows q of the sketch", ("sketch rows", "sketch countsketch")),
             ("buckets r of U b", ("product countsketch",)), ("workers M", ("local",))]
    for axis, (label, names) in zip(axes, shown):
        for name in names:
            points = sorted((p, value["error"]) for (variant, p), value in table.items() if variant == name)
            axis.plot(*zip(*points), marker="o", label=name)
        axis.axhline(none, color="black", linestyle="--", label="no curvature")
        for (variant, p), value in table.items():
            if variant.startswith("authors' product, rank") and p == 16:
                axis.axhline(value["error"], color="red", linestyle=":", label="authors' product")
        axis.axhline(table["kfac", 0]["error"], color="gray", linestyle="-.", label="K-FAC")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel(label)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("|d - d*| / |d*|, the whole step")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data")
    parser.add_argument("--plot", action="store_true", help="only draw the CSV that is there")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--damping", type=float, default=0.2)
    parser.add_argument("--samples", type=int, default=128)
    arguments = parser.parse_args()
    if arguments.plot:
        plot(means(csv.DictReader(TABLE.open())), TABLE.with_suffix(".png"))
        return
    if not arguments.data:
        parser.error("--data is missing")
    OUT.mkdir(parents=True, exist_ok=True)
    text = JOB.format(cache=OUT / "accuracy_cache", **vars(arguments))
    job = OUT / "accuracy_of_direction.yaml"
    job.write_text(text)
    weights = trained_weights(text)
    result = subprocess.run([BIN / "direction_accuracy_bench", job, weights], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(result.stderr or f"direction_accuracy_bench ended with code {result.returncode} and said nothing")
    TABLE.write_text(result.stdout)
    table = means(csv.DictReader(result.stdout.splitlines()))
    print(f"{'variant':40} {'parameter':>9} {'error':>8} {'sine':>8} {'ms a step':>10} {'MiB':>8}")
    for (variant, parameter), value in table.items():
        print(f"{variant:40} {parameter:9g} {value['error']:8.3f} {value['sine']:8.3f} {1e3 * value['seconds']:10.2f} "
              f"{value['bytes'] / 2**20:8.1f}")
    subprocess.run([ROOT / "scripts" / "packages.sh", "plot"], check=True)
    subprocess.run(["/usr/bin/python3", __file__, "--plot"], check=True)


if __name__ == "__main__":
    main()
