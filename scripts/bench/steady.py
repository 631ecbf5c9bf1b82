#!/usr/bin/env python3
"""What sengd itself costs: CPU while 8 actors train, and memory, open files and threads over 10,000 steps and 100 jobs.

  training   one job of 8 actors: sengd's CPU time over wall time, and its resident memory after a quarter of the steps
             and after nine tenths
  jobs       short jobs one after another: the same after the first ones and after the last

Exit code 1 if sengd needs 1 % of a core or more while it leads them, or if anything has grown."""

import argparse
import json
import os
import sys
import time

from cluster import Cluster, write_json

SLOTS = 8
# Of memory: pages of the store's cache, and what the allocator keeps; not a record for each step or job (10,000 steps
# of 100 bytes would be 1,000 KiB).
GROWTH_KIB = 512


def job_text(steps, actors):
    return f"""name: steady
model: {{name: mlp}}
data: {{name: synthetic, train: 1024, test: 16, channels: 1, height: 28, width: 28, classes: 10}}
batch: {{global: 64, micro: 8}}
steps: {steps}
optimizer: {{name: sgd, lr: 0.01}}
actors: {{min: {actors}, max: {actors}, lanes: 1}}
checkpoint: {{every_steps: 1000, keep: 1}}
"""


class Gauge:
    """A process, as /proc shows it."""

    def __init__(self, pid):
        self.root = f"/proc/{pid}"

    def cpu(self):
        """Seconds, of all threads; in nanoseconds where /proc/PID/stat counts in hundredths."""
        total = 0
        for thread in os.listdir(f"{self.root}/task"):
            with open(f"{self.root}/task/{thread}/schedstat", encoding="utf-8") as file:
                total += int(file.read().split()[0])
        return 1e-9 * total

    def descriptors(self):
        """The fewest within half a second: a sengctl that has just ended may still be connected."""
        least = len(os.listdir(f"{self.root}/fd"))
        for _ in range(10):
            time.sleep(0.05)
            least = min(least, len(os.listdir(f"{self.root}/fd")))
        return least

    def read(self):
        out = {"descriptors": self.descriptors()}
        with open(f"{self.root}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith(("RssAnon", "VmRSS", "Threads")):
                    name, value = line.split(":")
                    out[name] = int(value.split()[0])
        return out


def wait_for_step(cluster, job, step):
    cluster.ctl("wait", job, "--step", str(step), "--timeout", "1500")


def training(cluster, gauge, steps):
    job = str(json.loads(cluster.ctl("submit", "-", "-o", "json", text=job_text(steps, SLOTS)))["id"])
    last = steps * 9 // 10  # the job is not to end while it is looked at
    wait_for_step(cluster, job, steps // 4)
    begun, cpu, early = time.monotonic(), gauge.cpu(), gauge.read()
    wait_for_step(cluster, job, last)
    wall, cpu, late = time.monotonic() - begun, gauge.cpu() - cpu, gauge.read()
    cluster.ctl("wait", job)
    return {"steps": steps, "steps_per_second": (last - steps // 4) / wall, "wall_s": wall, "cpu_s": cpu,
            "cpu_share": cpu / wall, "early": early, "late": late}


def idle(cluster):
    """Until the last job's actors have ended."""
    while json.loads(cluster.ctl("status", "-o", "json"))["slots"]["busy"] > 0:
        time.sleep(0.02)


def jobs(cluster, gauge, count):
    readings = []
    for number in range(1, count + 1):
        cluster.ctl("submit", "-", "--wait", "-o", "json", text=job_text(3, 2))
        if number in (count // 5, count):
            idle(cluster)
            readings.append(gauge.read())
    return {"jobs": count, "early": readings[0], "late": readings[1]}


def growth(name, part):
    problems = []
    for key, limit in (("RssAnon", GROWTH_KIB), ("descriptors", 0), ("Threads", 0)):
        early, late = part["early"][key], part["late"][key]
        if late > early + limit:
            problems.append(f"{name}: {key} grew from {early} to {late}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--jobs", type=int, default=100)
    arguments = parser.parse_args()
    with Cluster(slots=SLOTS) as cluster:
        gauge = Gauge(cluster.pid)
        trained = training(cluster, gauge, arguments.steps)
        short = jobs(cluster, gauge, arguments.jobs)
    problems = growth("training", trained) + growth("jobs", short)
    if trained["cpu_share"] >= 0.01:
        problems.append(f"sengd needs {100 * trained['cpu_share']:.2f} % of a core")
    print(f"{SLOTS} actors, {trained['steps_per_second']:.0f} steps/s: sengd needs {100 * trained['cpu_share']:.2f} % of a "
          f"core ({1e6 * trained['cpu_share'] / trained['steps_per_second']:.0f} us a step)")
    for name, part in (("training", trained), ("jobs", short)):
        for key in ("RssAnon", "VmRSS", "descriptors", "Threads"):
            print(f"{name:9} {key:12} {part['early'][key]:8} -> {part['late'][key]:8}")
    write_json("steady", {"training": trained, "jobs": short, "problems": problems})
    for problem in problems:
        print("PROBLEM:", problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
