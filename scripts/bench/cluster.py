"""A sengd of one's own for benchmarks, experiments and fault injection: started in a temporary state directory, asked
through sengctl, killed and started again, stopped."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Of a bundle (scripts/bundle.sh), or of a build.
BUNDLED = ROOT / "bin"
BIN = pathlib.Path(os.environ.get("SENG_BIN", BUNDLED if (BUNDLED / "sengd").exists() else ROOT / "build" / "release" / "bin"))


# Whoever is told to end ends its sengd first.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: sys.exit(128 + number))


def wait_for_end(pid, number, seconds=60):
    """Signals the process and waits until it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
        os.kill(pid, number)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [], seconds)
    os.close(descriptor)


class Cluster:
    def __init__(self, slots=2, keep=False, options=()):
        self.dir = tempfile.mkdtemp(prefix="seng-")
        self.keep = keep
        self.options = ["--slots", str(slots), *options]
        self.pid = None
        self.start_daemon()

    def start_daemon(self):
        started = subprocess.run([BIN / "sengd", "--state-dir", self.dir, *self.options], stderr=subprocess.PIPE, text=True)
        sys.stderr.write(started.stderr)
        if started.returncode != 0:
            if not self.keep:
                shutil.rmtree(self.dir, ignore_errors=True)
            raise SystemExit(f"sengd does not start: {started.stderr.strip()}")
        self.pid = json.loads(self.ctl("version", "-o", "json"))["daemon"]["pid"]

    def kill_daemon(self):
        wait_for_end(self.pid, signal.SIGKILL)
        self.pid = None

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self):
        if self.pid is not None:
            wait_for_end(self.pid, signal.SIGTERM)
        self.pid = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.keep:
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def ctl(self, *arguments, text=None, check=True):
        result = subprocess.run([BIN / "sengctl", *arguments, "--state-dir", self.dir], input=text,
                                capture_output=True, text=True)
        if check and result.returncode != 0:
            raise SystemExit(f"sengctl {' '.join(arguments)}: exit code {result.returncode}\n{result.stderr}")
        return result.stdout

    def train(self, file, *sets, text=None):
        """Runs a job to its end; returns (result object, metrics object)."""
        arguments = ["submit", str(file), "--wait", "-o", "json"]
        for setting in sets:
            arguments += ["--set", setting]
        result = json.loads(self.ctl(*arguments, text=text))
        metrics = json.loads(self.ctl("metrics", str(result["id"]), "-o", "json"))
        return result, metrics


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("nan")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def write_json(name, data):
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(ROOT)}")
