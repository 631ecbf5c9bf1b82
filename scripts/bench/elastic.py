#!/usr/bin/env python3
"""What changes of membership cost, on a SENG job (LeNet, Fashion-MNIST, batch 256, a refresh every 10th step):

    a  kill -9 of an actor, until the first step that the next membership commits
    b  the longest gap between two steps around a scale up or down, beyond a usual step
    c  an actor's start, until the first step that it commits in the group
    d  an actor is stopped (SIGSTOP): until it is out, in leases, and until the others go on
    e  kill -9 of sengd: until the started one tells the truth
    f  pulling state from a peer, beside raw loopback TCP (actors of one machine use ipc), and bare messages
    g  what the daemon adds to a step of 64 and of 1,000 actors that compute nothing (tests/bench/coordination_bench.cpp)

    scripts/bench.sh elastic [--kills 100] [--only abcdefg]

Commits are dated by commits.py, from the actors' ledgers. Kills are spread over the time between two refreshes. A daemon pauses
before it replaces actors that die again and again before they have committed a step; here that may happen by chance, so each kill
is followed by `sengctl scale`, which says that more are wanted now.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

from cluster import BIN, Cluster, median, percentile, write_json
from commits import Commits

LEASE_S = 1.0
EVERY = 10
JOB = """name: elastic
model: {{name: lenet}}
data: {{name: fashion-mnist}}
batch: {{global: 256, micro: 32}}
steps: 10000000
optimizer: {{name: seng, lr: 0.01, damping: 1.0, weight_decay: 0.0005, trust_region: 0.002,
            curvature: {{every: {every}, samples: 256}}}}
actors: {{min: 1, max: {actors}, lanes: 1}}
checkpoint: {{every_steps: 1000, keep: 1}}
evaluate: {{every_epochs: 0}}
restart: {{max: 100000, window: 60}}
ledger: true
"""


class Bench:
    def __init__(self, cluster, arguments):
        self.cluster, self.arguments = cluster, arguments
        self.random = random.Random(arguments.seed)
        self.actors = arguments.actors
        text = JOB.format(every=EVERY, actors=self.actors)
        self.job = str(json.loads(cluster.ctl("submit", "-", "-o", "json", text=text))["id"])
        self.wall_offset = time.time() - time.monotonic()
        while not os.path.isdir(f"{cluster.dir}/jobs/{self.job}"):
            time.sleep(0.01)
        self.commits = Commits(f"{cluster.dir}/jobs/{self.job}")

    def settle(self, actors=None, steps=4):
        wanted = actors or self.actors
        return self.commits.wait(lambda c: c.settled(wanted, steps), f"a group of {wanted}")

    def usual(self):
        """Seconds of a usual step, of the last 20."""
        return median(self.commits.gaps(0)[-20:])

    def living(self, epoch):
        """pid and whether it leads, of the membership's members."""
        members = self.commits.members(epoch)
        actors = json.loads(self.cluster.ctl("describe", self.job, "-o", "json"))["actors"]
        return [a for a in actors if a["actor"] in members and a["state"] not in ("exited", "stopping")]

    def scale(self, actors):
        self.cluster.ctl("scale", self.job, str(actors))

    def events(self):
        return json.loads(self.cluster.ctl("events", self.job, "-o", "json"))["events"]

    def a_kills(self):
        rows = []
        for number in range(self.arguments.kills):
            epoch = self.settle()
            actor = self.random.choice(self.living(epoch))
            usual = self.usual()
            time.sleep(self.random.uniform(0, EVERY * usual))
            step = max(self.commits.first) + 1
            at = time.monotonic()
            os.kill(actor["pid"], signal.SIGKILL)
            first = self.commits.wait(lambda c: c.after(epoch), f"a step after kill {number}")
            following = min(c.at for c in self.commits.seen[-2000:] if c.at > at)
            rows.append(dict(seconds=first.at - at, next_commit=following - at, usual=usual,
                             leader=actor["first_micro"] == 0, refresh=(step - 1) % EVERY == 0))
            self.scale(self.actors)
        return rows

    def b_scales(self):
        rows = []
        for _ in range(self.arguments.rounds):
            for before, after in ((self.actors, self.actors - 1), (self.actors - 1, self.actors)):
                self.settle(before, 2 * EVERY)
                usual, largest = self.usual(), max(self.commits.gaps(0)[-2 * EVERY:])
                at = time.monotonic()
                self.scale(after)
                self.settle(after)
                rows.append(dict(up=after > before, usual=usual, largest_before=largest, gap=max(self.commits.gaps(at))))
        return rows

    def c_newcomers(self):
        """Of all actors that came to a group that trained."""
        started = {e["actor"]: e["at"] for e in self.events() if e["kind"] == "ActorStarted"}
        return [commit.at + self.wall_offset - started[actor] for actor, commit in self.commits.of_actor.items()
                if actor in started and actor >= self.actors]

    def d_stops(self):
        rows = []
        for _ in range(self.arguments.rounds):
            epoch = self.settle()
            actor = self.random.choice(self.living(epoch))
            usual = self.usual()
            time.sleep(self.random.uniform(0, EVERY * usual))
            at = time.monotonic()
            os.kill(actor["pid"], signal.SIGSTOP)
            first = self.commits.wait(lambda c: c.after(epoch), "a step after an actor was stopped")
            os.kill(actor["pid"], signal.SIGCONT)
            again = time.monotonic()
            back = self.commits.wait(lambda c: next((x for x in reversed(c.seen) if x.actor == actor["actor"] and
                                                     x.at > again and x.epoch > epoch), None), "it to come back")
            out = [e["at"] for e in self.events() if e["kind"] == "Reconfigured" and e["at"] > at + self.wall_offset]
            rows.append(dict(out=out[0] - self.wall_offset - at, commit=first.at - at, back=back.at - again, usual=usual))
        return rows

    def e_heads(self):
        rows = []
        for _ in range(self.arguments.rounds):
            self.settle(steps=2)
            killed = time.monotonic()
            self.cluster.kill_daemon()
            time.sleep(self.random.uniform(0, 1))
            reached = max(self.commits.first)
            begun = time.monotonic()
            self.cluster.start_daemon()
            answers = time.monotonic() - begun
            while True:
                record = json.loads(self.cluster.ctl("status", self.job, "-o", "json"))
                # The truth of when we began to ask, at least.
                if record["state"] == "running" and record["steps"] >= reached and record["actors"] == self.actors:
                    break
                if time.monotonic() - begun > 60:
                    raise SystemExit(f"sengd is back and says {record}")
                time.sleep(0.01)
            now = time.monotonic()
            rows.append(dict(seconds=now - begun, answers=answers, away=begun - killed,
                             trained_meanwhile=max(self.commits.gaps(killed, now), default=0)))
        return rows


def f_state():
    out = subprocess.run([BIN / "state_bench"], capture_output=True, text=True, check=True).stdout
    print(out)
    return {name.strip(): float(ratio)
            for name, ratio in re.findall(r"^((?:blob|bare)[^\d\n]*(?:\d holders)?)\s+\S+\s+(\S+)", out, re.M)}


def g_coordination():
    results = {}
    for actors in (64, 1000):
        out = subprocess.run([BIN / "coordination_bench", BIN / "sengd", str(actors)], capture_output=True, text=True, check=True)
        print(out.stderr, end="")
        results[actors] = json.loads(out.stdout)
    return results


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, figure, goal="", holds=None):
        self.rows.append((what, figure, goal, "" if holds is None else "yes" if holds else "NO"))

    def print(self):
        head = ("", "measured", "goal", "holds")
        widths = [max(len(row[i]) for row in [head, *self.rows]) for i in range(4)]
        for row in [head, *self.rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def milli(seconds):
    return f"{1e3 * seconds:.0f} ms"


def tell(data, table):
    if rows := data.get("a"):
        beyond = [r["seconds"] - r["usual"] for r in rows]
        total = [r["seconds"] for r in rows]
        kinds = f"{len(rows)} kills, {sum(r['leader'] for r in rows)} of leaders, {sum(r['refresh'] for r in rows)} in refreshes"
        table.add(f"a  kill -9 to the next membership's first step, p50 ({kinds})", milli(median(total)))
        table.add("a  the same, p99", milli(percentile(total, 0.99)))
        table.add("a  the same, p50 beyond a usual step", milli(median(beyond)))
        table.add("a  the same, p99 beyond a usual step", milli(percentile(beyond, 0.99)), "<= 1 s",
                  percentile(beyond, 0.99) <= 1)
    for up in (True, False):
        if rows := [r for r in data.get("b", []) if r["up"] == up]:
            stalls = [r["gap"] - r["usual"] for r in rows]
            table.add(f"b  stall of the others, scale {'up' if up else 'down'}, p50 of {len(rows)}", milli(median(stalls)))
            table.add("b  the same, largest", milli(max(stalls)), "<= 200 ms", max(stalls) <= 0.2)
            table.add("b  beyond the longest of the 20 steps before, which is a refresh, largest",
                      milli(max(r["gap"] - r["largest_before"] for r in rows)))
    if times := data.get("c"):
        table.add(f"c  start of an actor to its first step, p50 of {len(times)}", milli(median(times)))
        table.add("c  the same, p99", milli(percentile(times, 0.99)))
    if rows := data.get("d"):
        leases = [r["out"] / LEASE_S for r in rows]
        table.add(f"d  a stopped actor is out, p50 of {len(rows)}", f"{median(leases):.2f} leases")
        table.add("d  the same, largest", f"{max(leases):.2f} leases", "<= 2 leases", max(leases) <= 2)
        table.add("d  the others' next step, largest", milli(max(r["commit"] for r in rows)))
        table.add("d  SIGCONT to its next step in the group, largest", milli(max(r["back"] for r in rows)))
    if rows := data.get("e"):
        worst = max(r["seconds"] for r in rows)
        table.add(f"e  sengd's start to the right status, p50 of {len(rows)}", milli(median([r["seconds"] for r in rows])))
        table.add("e  the same, largest", milli(worst), "<= 5 s", worst <= 5)
        table.add("e  longest gap between steps meanwhile", milli(max(r["trained_meanwhile"] for r in rows)))
    for name, ratio in data.get("f", {}).items():
        goal = (">= 0.9", ratio >= 0.9) if name.startswith("blob") else ()  # else what ZeroMQ gives at best
        table.add(f"f  {name}, of raw TCP", f"{ratio:.2f}", *goal)
    for actors, result in data.get("g", {}).items():
        goal = (("step_ms_p50", 1, "p50") if actors == 64 else ("step_ms_p99", 20, "p99"))
        table.add(f"g  sengd's time per step, {actors} actors, {goal[2]}", f"{result[goal[0]]:.2f} ms", f"<= {goal[1]} ms",
                  result[goal[0]] <= goal[1])
        table.add(f"g  announcement to resumption, {actors} actors, p50, p99",
                  f"{result['transition_ms_p50']:.1f}, {result['transition_ms_p99']:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10, help="of b, d and e")
    parser.add_argument("--actors", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="abcdefg", help="letters of what is measured")
    arguments = parser.parse_args()
    data, table = {}, Table()
    print("load of the machine before:", " ".join(f"{load:.2f}" for load in os.getloadavg()), flush=True)
    if set(arguments.only) & set("abcde"):
        with Cluster(slots=arguments.actors + 1, options=["--lease", str(LEASE_S)]) as cluster:
            bench = Bench(cluster, arguments)
            for letter, measure in (("b", bench.b_scales), ("a", bench.a_kills), ("d", bench.d_stops), ("e", bench.e_heads)):
                if letter in arguments.only:
                    data[letter] = measure()
                    print(f"{letter}: {len(data[letter])} measured", flush=True)
            if "c" in arguments.only:
                data["c"] = bench.c_newcomers()
            data["resolution_ms"] = {"median": 1e3 * median(bench.commits.delays),
                                     "p99": 1e3 * percentile(bench.commits.delays, 0.99)}
            bench.cluster.ctl("stop", bench.job, check=False)
            bench.commits.close()
    if "f" in arguments.only:
        data["f"] = f_state()
    if "g" in arguments.only:
        data["g"] = g_coordination()
    tell(data, table)
    table.print()
    if "resolution_ms" in data:
        print(f"a mark is dated at most {data['resolution_ms']['median']:.1f} ms late (median), "
              f"{data['resolution_ms']['p99']:.1f} ms (p99)")
    data["load"] = os.getloadavg()
    write_json("elastic", data)


if __name__ == "__main__":
    sys.exit(main())
