#!/usr/bin/env python3
"""How fast folders of pictures are read: ours beside torchvision's loader, one thread each, in turn, and beside what lenet takes.

    scripts/bench.sh data [--rounds N] [--seconds S] [--cifar DIR]

500x375 JPEGs, made here with detail of every size and quality 90, are cut and scaled to 224x224 (RandomResizedCrop 0.08 and flip,
as ImageNet's training; or scaled to 256 and the middle 224). --cifar DIR is a folder of 32x32 JPEGs (DIR/train/CLASS/*.jpg, DIR/test):
those are read with pad-crop and flip, without and with the cache of unpacked images, beside the images that `lenet` trains on per
second. Installs python3-torchvision if it is missing.
"""

import argparse
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from cluster import BIN, Cluster, median, write_json

MAKE = """
import sys, pathlib
import numpy
from PIL import Image
random = numpy.random.default_rng(1)
for split, count in (("train", 200), ("val", 2)):
    for label in ("a", "b"):
        folder = pathlib.Path(sys.argv[1], split, label)
        folder.mkdir(parents=True)
        for i in range(count // 2):
            # Noise of every wavelength from the whole picture down to two pixels, as photographs have it.
            picture = numpy.zeros((375, 500, 3))
            for octave in range(1, 9):
                cells = random.normal(size=(2 ** octave, 2 ** octave, 3))
                layers = [Image.fromarray(cells[:, :, c].astype("float32")).resize((500, 375), Image.BILINEAR) for c in range(3)]
                picture += numpy.stack([numpy.asarray(l) for l in layers], -1) * 60 / octave
            values = numpy.clip(128 + picture, 0, 255).astype("uint8")
            Image.fromarray(values).save(folder / f"{i:04}.jpg", quality=90)
"""

TORCH = """
import sys, time
import torch, torchvision
from torchvision import transforms as t
torch.set_num_threads(1)
root, kind, size, resize, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
parts = {"resized_crop": [t.RandomResizedCrop(size), t.RandomHorizontalFlip()],
         "centre": [t.Resize(resize), t.CenterCrop(size)],
         "pad_crop": [t.RandomCrop(size, padding=4), t.RandomHorizontalFlip()]}[kind]
normalise = t.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
data = torchvision.datasets.ImageFolder(root + "/train", t.Compose([*parts, t.ToTensor(), normalise]))
loader = torch.utils.data.DataLoader(data, batch_size=32, num_workers=0)
read, begun = 0, None
while begun is None or time.monotonic() < begun + seconds:
    for images, labels in loader:
        if begun is None:
            begun = time.monotonic()
            continue
        read += len(labels)
        if time.monotonic() >= begun + seconds:
            break
print(read / (time.monotonic() - begun))
"""

LENET = """name: consume
model: lenet
data: fashion-mnist
batch: {global: 256, micro: 32}
steps: 120
optimizer: {name: sgd, lr: 0.02}
actors: {min: 1, max: 1, lanes: 1}
"""


def ours(folder, kind, size, resize, cache, seconds):
    return float(subprocess.run([BIN / "data_bench", folder, str(size), str(resize), kind, cache, str(seconds)], check=True,
                                capture_output=True, text=True).stdout)


def theirs(folder, kind, size, resize, seconds):
    return float(subprocess.run(["/usr/bin/python3", "-c", TORCH, folder, kind, str(size), str(resize), str(seconds)],
                                check=True, capture_output=True, text=True).stdout)


def compare(name, folder, kind, size, resize, cache, arguments):
    rounds = []
    for _ in range(arguments.rounds):
        mine = ours(folder, kind, size, resize, cache, arguments.seconds)
        torch = theirs(folder, kind, size, resize, arguments.seconds)
        rounds.append((mine, torch, mine / torch))
    mine, torch, ratio = (statistics.median(column) for column in zip(*rounds))
    print(f"| {name} | {mine:.0f} | {torch:.0f} | {ratio:.1f} |", flush=True)
    return dict(what=name, ours=mine, torchvision=torch, ratio=ratio)


def lenet_images_per_second():
    with Cluster(slots=1) as cluster:
        _, metrics = cluster.train("-", text=LENET)
    return 256 / median([step["seconds"] for step in metrics["steps"]][5:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--cifar", type=pathlib.Path)
    arguments = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="seng-data-")
    try:
        folder = f"{scratch}/pictures"
        subprocess.run(["/usr/bin/python3", "-c", MAKE, folder], check=True)
        files = list(pathlib.Path(folder).rglob("*.jpg"))
        print(f"{len(files)} JPEGs of 500x375, {sum(f.stat().st_size for f in files) / len(files) / 1024:.0f} KB each\n")
        print("| read | ours, images/s | torchvision | ratio |\n| --- | --- | --- | --- |")
        rows = [compare("500x375, random crop to 224, flip", folder, "resized_crop", 224, 224, "off", arguments),
                compare("500x375, scaled to 256, middle 224", folder, "centre", 224, 256, "off", arguments)]
        if arguments.cifar:
            cifar = str(arguments.cifar.resolve())
            rows += [compare("CIFAR-10 JPEG, pad-crop, flip", cifar, "pad_crop", 32, 32, "off", arguments),
                     compare("CIFAR-10 from the cache, pad-crop, flip", cifar, "pad_crop", 32, 32, f"{scratch}/cache",
                             arguments)]
        lenet = lenet_images_per_second()
        print(f"\nlenet trains on {lenet:.0f} images/s with one lane.")
        write_json("data", {"rows": rows, "lenet_images_per_second": lenet})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
