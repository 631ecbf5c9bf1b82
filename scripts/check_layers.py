#!/usr/bin/env python3
"""Checks who includes whom, where vendor headers stand, and how long files are.

The rules are the tables in this file; a violation is printed as file:line and makes the exit code 1.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> the folders whose headers it may include (besides its own). The longest matching folder counts.
BASE = "protocol/base"
PROTOCOL = ["protocol/base", "protocol/wire", "protocol/messages", "protocol/channel", "protocol/spec"]
MAY_INCLUDE = {
    "protocol/base": [],
    "protocol/wire": [BASE],
    "protocol/messages": [BASE, "protocol/wire"],
    "protocol/channel": [BASE, "protocol/wire", "protocol/messages"],
    "protocol/spec": [BASE],
    "daemon": PROTOCOL,
    "cli": PROTOCOL,
    "actors/engine": [BASE],
    "actors/nn": [BASE, "protocol/spec", "actors/engine"],
    "actors/data": [BASE, "protocol/spec", "actors/engine"],
    "actors/optim": [BASE, "protocol/spec", "actors/engine"],
    "actors/exchange": PROTOCOL + ["actors/engine", "actors/optim"],
    "actors/state": PROTOCOL,
    "actors/checkpoint": PROTOCOL + ["actors/engine", "actors/optim"],
    "actors": PROTOCOL + ["actors"],
    "tests": PROTOCOL + ["daemon", "cli", "actors", "tests"],
}

# Vendor header (regular expression) -> the only files (regular expression) that may include it.
VENDOR = {
    r"zmq(_addon)?\.hp?p?": r"protocol/channel/.*\.cpp|tests/.*",
    r"msgpack\.hpp|msgpack/.*": r"protocol/wire/.*|tests/protocol/.*",
    r"yaml-cpp/.*": r"protocol/spec/.*\.cpp|cli/.*\.cpp",
    r"sqlite3\.h": r"daemon/store_sqlite.*\.cpp|tests/daemon/.*",
    r"oneapi/.*|dnnl.*": r"actors/engine/cpu/.*",
    r"cblas\.h|lapacke\.h|openblas_config\.h": r"actors/engine/cpu/.*|tests/support/emulated_cuda/.*",
    r"omp\.h": r"actors/engine/.*\.cpp",
    r"sodium\.h": r"protocol/(base|channel)/.*\.cpp",
    r"openssl/.*": r"protocol/base/sha256\.cpp",
    r"spdlog/.*": r"protocol/base/log.*",
    r"cuda_runtime_api\.h": r"actors/engine/cuda/.*|actors/exchange/nccl/.*",
    r"cuda(?!_runtime_api).*|cudnn.*|cublas.*|cusolver.*": r"actors/engine/cuda/.*",
    r"nccl\.h": r"actors/exchange/nccl/.*",
    r"nvml\.h": r"",  # nowhere: NVML is called through dlsym
    r"dlfcn\.h": r"actors/engine/cuda_module\.cpp|actors/exchange/nccl_module\.cpp|daemon/gpus\.cpp|tests/parity/emulated_count\.cpp|tests/support/emulated_nccl/other_device\.cpp",
    r"boost/program_options.*": r"(daemon|cli|actors)/[^/]*",
    r"xxhash\.h|xxh_x86dispatch\.h": r"actors/state/.*\.cpp",
    r"zlib\.h": r"actors/data/.*\.cpp|tests/actors/data/.*",
    r"turbojpeg\.h|png\.h": r"actors/data/image_.*\.cpp|tests/actors/data/.*|tests/support/.*",
}

HEADER_LINES, SOURCE_LINES = 220, 450
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    parts = path.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        folder = "/".join(parts[:length])
        if folder in MAY_INCLUDE:
            return folder
    return None


def check_file(path, problems):
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    home = folder_of(path)
    limit = HEADER_LINES if path.endswith((".h", ".cuh")) else SOURCE_LINES
    if len(lines) > limit and not path.startswith("tests/"):
        problems.append(f"{path}:1: {len(lines)} lines; at most {limit}: is there a second duty inside?")
    if path.endswith(".h") and "#pragma once" not in text:
        problems.append(f"{path}:1: no #pragma once")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, header = match.groups()
        if quote == '"':
            target = folder_of(header)
            if not (ROOT / header).exists():
                problems.append(f"{path}:{number}: \"{header}\" is not a path from the repository root")
            elif target is None or home is None:
                problems.append(f"{path}:{number}: \"{header}\" lies in no known folder")
            elif target != home and not any(
                    target == allowed or (allowed in ("actors", "tests", "daemon", "cli")
                                          and target.startswith(allowed + "/"))
                    for allowed in MAY_INCLUDE[home]):
                problems.append(f"{path}:{number}: {home} may not include {target} (\"{header}\")")
        else:
            for vendor, where in VENDOR.items():
                if re.fullmatch(vendor, header) and not re.fullmatch(where, path):
                    problems.append(f"{path}:{number}: <{header}> belongs in {where} only")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.h", "*.cpp", "*.cu", "*.cuh"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    problems = []
    for path in sorted(set(listed)):
        if (ROOT / path).exists():
            check_file(path, problems)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
