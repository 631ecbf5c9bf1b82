#!/usr/bin/env python3
"""Reads a checkpoint's safetensors file with nothing but the standard library.

    from load_checkpoint import load
    tensors, metadata = load("model.safetensors")
    model.load_state_dict(tensors)          # with PyTorch installed they are torch.Tensor

load() gives torch.Tensor where PyTorch is installed, else numpy.ndarray where NumPy is, else (shape, array.array).
As a program it lists the file: `load_checkpoint.py FILE`, or prints it whole as JSON with --json. FILE may be a
checkpoint's directory. The format is described in actors/checkpoint/README.md.
"""

import argparse
import array
import json
import math
import os
import sys

ARRAY_TYPES = {"F32": "f", "I64": "q", "BF16": "H"}  # BF16 is widened to float


def read(path):
    """The file's tensors as {name: (dtype, shape, array.array)}, and its metadata. ValueError: the file is damaged."""
    with open(path, "rb") as file:
        header = read_header(path, file)
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {name: read_tensor(path, name, entry, data) for name, entry in header.items()}
    return tensors, metadata


def read_tensor(path, name, entry, data):
    """(dtype, shape, array.array) of a tensor that the header describes. ValueError: the file is damaged."""
    if not isinstance(entry, dict) or entry.get("dtype") not in ARRAY_TYPES:
        raise ValueError(f"{path}: {name}: not a tensor of the types {', '.join(ARRAY_TYPES)}")
    numbers = [entry.get("data_offsets"), entry.get("shape")]
    if not all(isinstance(list_, list) and all(type(n) is int and n >= 0 for n in list_) for list_ in numbers) \
            or len(numbers[0]) != 2:
        raise ValueError(f"{path}: {name}: damaged: its data_offsets and shape are no lists of sizes")
    (begin, end), shape = numbers
    if end > len(data):
        raise ValueError(f"{path}: {name}: cut off: the tensor ends at byte {end} of the data, the file has {len(data)}")
    values = array.array(ARRAY_TYPES[entry["dtype"]])
    if end - begin != math.prod(shape) * {"F32": 4, "I64": 8, "BF16": 2}[entry["dtype"]]:
        raise ValueError(f"{path}: {name}: damaged: {end - begin} bytes do not fill the shape {shape}")
    values.frombytes(data[begin:end])
    if sys.byteorder == "big":
        values.byteswap()
    if entry["dtype"] == "BF16":
        wide = array.array("I", (value << 16 for value in values))
        values = array.array("f", wide.tobytes())
    return entry["dtype"], shape, values


def read_header(path, file):
    """The JSON object that the file begins with. ValueError: it is not safetensors."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > os.fstat(file.fileno()).st_size - 8:
        raise ValueError(f"{path}: not a safetensors file, or cut off: it does not hold the header that its first bytes announce")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):  # or a UnicodeDecodeError, which is a ValueError
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: not a safetensors file: its header is no JSON object")
    return header


def load(path):
    """The file's tensors by name, as the best kind of array that is installed, and its metadata."""
    tensors, metadata = read(path)
    return {name: convert(*tensor) for name, tensor in tensors.items()}, metadata


def convert(dtype, shape, values):
    try:
        import torch

        kind = {"F32": torch.float32, "I64": torch.int64, "BF16": torch.float32}[dtype]
        return (torch.frombuffer(values, dtype=kind) if len(values) else torch.empty(0, dtype=kind)).reshape(shape)
    except ImportError:
        pass
    try:
        import numpy

        return numpy.frombuffer(values, dtype={"F32": numpy.float32, "I64": numpy.int64, "BF16": numpy.float32}[dtype]).reshape(shape)
    except ImportError:
        return shape, values


def main():
    parser = argparse.ArgumentParser(description="Lists a safetensors file of a checkpoint.")
    parser.add_argument("file", help="a .safetensors file, or a checkpoint's directory (its model)")
    parser.add_argument("--json", action="store_true", help="print everything, values included, as one JSON object")
    arguments = parser.parse_args()
    path = arguments.file
    if os.path.isdir(path):
        path = os.path.join(path, "model.safetensors")
    try:
        tensors, metadata = read(path)
    except OSError as error:
        print(f"load_checkpoint.py: {path}: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"load_checkpoint.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        whole = {name: {"dtype": d, "shape": s, "values": list(v)} for name, (d, s, v) in tensors.items()}
        json.dump({"metadata": metadata, "tensors": whole}, sys.stdout)
        return 0
    for name, (dtype, shape, values) in tensors.items():
        first = ", ".join(f"{value:.6g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
        print(f"{name:40} {dtype} {str(shape):20} {first}")
    return 0


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
