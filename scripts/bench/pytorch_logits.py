"""Loads what logits_bench wrote into PyTorch (strictly: every name and shape must fit) and compares the logits.
Usage: pytorch_logits.py DIRECTORY lenet|resnet18. Exit code 1 if they differ by more than 1e-4 of their norm."""

import json
import pathlib
import struct
import sys

import torch

from pytorch_baseline import build

TYPES = {"F32": torch.float32, "I64": torch.int64}


def load(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = torch.frombuffer(bytearray(data[8 + size + begin:8 + size + end]), dtype=TYPES[entry["dtype"]])
        tensors[name] = raw.reshape(entry["shape"])
    return tensors


def floats(path):
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32)


def main():
    directory, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    model = build(name)
    model.load_state_dict(load(directory / "model.safetensors"), strict=True)
    model.eval()
    shape = (-1, 1, 28, 28) if name == "lenet" else (-1, 3, 32, 32)
    with torch.no_grad():
        theirs = model(floats(directory / "images.f32").reshape(shape))
    ours = floats(directory / "logits.f32").reshape(theirs.shape)
    error = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"{name}: logits differ from PyTorch's by {error:.2e} of their norm ({len(theirs)} images)")
    sys.exit(0 if error <= 1e-4 else 1)


if __name__ == "__main__":
    main()
