"""A sengd of one's own for benchmarks and experiments: started in a temporary state directory, asked through
sengctl, stopped."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("SENG_BIN", ROOT / "build" / "release" / "bin"))


class Cluster:
    def __init__(self, slots=2):
        self.dir = tempfile.mkdtemp(prefix="seng-")
        subprocess.run([BIN / "sengd", "--state-dir", self.dir, "--slots", str(slots)], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        daemon = self.ctl("version", "-o", "json")
        pid = json.loads(daemon)["daemon"]["pid"]
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        import select
        select.select([descriptor], [], [], 60)
        os.close(descriptor)
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


def write_json(name, data):
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(ROOT)}")
