#!/usr/bin/env python3
"""How long a step would take with up to 1,024 actors: a model, fed with what was measured here. No measurement.

    scripts/experiments/scaling_model.py [--measured build/experiments/elastic_scaling.json] [--bandwidth-gbit 10] ...

Reads what elastic_scaling.py wrote: blocks of the network, seconds of an ordinary and a refresh step of SGD and SENG with one actor.
Prints and writes (build/experiments/scaling_model.csv) for each number of actors the seconds of an ordinary and of a
refresh step, their parts, and the efficiency.

Assumptions:
  batch      fixed: --micro-batches micro-batches (1,024), shared evenly; each takes what it takes here, divided by --speedup
  links      every actor has its own full-duplex link (--bandwidth-gbit), the switch between them has room for all;
             a message costs its receiver --message-us, and those to one actor follow each other
  sums       `blocks`: as built: the owner of a block gets the sum of every other actor's range whole, and sends the
             direction to every other actor; blocks are dealt to actors by size, the largest first, so that the largest block
             bounds the step, and no more actors own than there are blocks
             `runs`: every block cut evenly over all actors, 2(M-1)/M P 4 bytes in and out of each: what cutting would give
  overlap    none: computing, sums, preconditioning, directions and update follow one another (the product overlaps sums with
             computing, so that this is pessimistic by at most the smaller of the two)
  SENG       preconditioning (SENG's ordinary step beyond SGD's) and refreshing (beyond an ordinary step) are shared by
             the owners in proportion to a block's parameters, on one actor each; fragments of all curvature samples go to owner and
             backup, whose bytes are those measured
  no faults  and no stragglers: every actor is as fast as every other
"""

import argparse
import csv
import heapq
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def deal(sizes, actors):
    """Largest first to whom has least; what the most loaded has, as a share of all, and its number of blocks."""
    owners = [(0, 0, i) for i in range(min(actors, len(sizes)))]
    for size in sorted(sizes, reverse=True):
        load, count, who = heapq.heappop(owners)
        heapq.heappush(owners, (load + size, count + 1, who))
    load, count, _ = max(owners)
    return load / sum(sizes), count


class Model:
    def __init__(self, measured, arguments):
        self.sizes = [block["parameters"] for block in measured["blocks"]]
        one = {row["optimizer"]: row for row in measured["efficiency"] if row["actors"] == 1}
        two = next((r for r in measured["efficiency"] if r["actors"] == 2 and r["optimizer"] == "seng"), None)
        micros_here = arguments.measured_micro_batches
        self.micro_s = one["sgd"]["ordinary_s"] / micros_here / arguments.speedup
        self.precondition_s = max(0, one["seng"]["ordinary_s"] - one["sgd"]["ordinary_s"]) / arguments.speedup
        self.refresh_s = max(0, one["seng"]["refresh_s"] - one["seng"]["ordinary_s"]) / arguments.speedup
        # Two actors: each sends the fragments of half of the samples to an owner or backup that is not itself.
        self.fragment_bytes = 2 * two["fragment_bytes_per_refresh"] if two else 0
        self.micros, self.bandwidth = arguments.micro_batches, 1e9 / 8 * arguments.bandwidth_gbit
        self.message_s = 1e-6 * arguments.message_us

    def step(self, actors, cut):
        """Seconds of the parts of a step."""
        total = 4 * sum(self.sizes)
        share, blocks = deal(self.sizes, actors) if cut == "blocks" else (1 / actors, len(self.sizes))
        others = actors - 1
        messages = others * blocks * self.message_s if cut == "blocks" else others * self.message_s
        # The owner's link is the narrow one: sums come in, directions go out.
        sums = others * share * total / self.bandwidth + messages
        compute = -(-self.micros // actors) * self.micro_s
        own = share if cut == "blocks" else deal(self.sizes, actors)[0]  # curvature is a block's, also where sums are cut
        # Owner and backup get what they do not have; none travels to itself.
        fragments = own * 2 * self.fragment_bytes * others / actors / self.bandwidth if actors > 1 else 0
        return {"compute": compute, "sums": sums if others else 0, "precondition": own * self.precondition_s,
                "directions": sums if others else 0, "fragments": fragments, "refresh": own * self.refresh_s}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=pathlib.Path, default=ROOT / "build/experiments/elastic_scaling.json")
    parser.add_argument("--measured-micro-batches", type=int, default=8, help="of a step of that measurement")
    parser.add_argument("--micro-batches", type=int, default=1024)
    parser.add_argument("--bandwidth-gbit", type=float, default=10)
    parser.add_argument("--message-us", type=float, default=20)
    parser.add_argument("--speedup", type=float, default=1, help="of computing, over what was measured")
    parser.add_argument("--actors", type=int, nargs="+", default=[2**i for i in range(11)])
    arguments = parser.parse_args()
    if not arguments.measured.exists():
        parser.error(f"{arguments.measured} is not there: elastic_scaling.py writes it")
    model = Model(json.loads(arguments.measured.read_text()), arguments)
    rows = []
    print(f"{'sums':8} {'actors':>6} {'ordinary ms':>12} {'refresh ms':>11} {'efficiency':>10}   of the ordinary step: compute, sums + "
          "directions, precondition")
    for cut in ("blocks", "runs"):
        one = None
        for actors in arguments.actors:
            parts = model.step(actors, cut)
            ordinary = parts["compute"] + parts["sums"] + parts["precondition"] + parts["directions"]
            refresh = ordinary + parts["fragments"] + parts["refresh"]
            one = one or ordinary * actors
            rows.append({"sums_cut": cut, "actors": actors, "ordinary_s": ordinary, "refresh_s": refresh,
                         "efficiency": one / (actors * ordinary), **parts})
            print(f"{cut:8} {actors:6} {1e3 * ordinary:12.2f} {1e3 * refresh:11.2f} {one / (actors * ordinary):10.3f}   "
                  f"{1e3 * parts['compute']:.2f}, {1e3 * (parts['sums'] + parts['directions']):.2f}, "
                  f"{1e3 * parts['precondition']:.2f} ms")
    path = ROOT / "build" / "experiments" / "scaling_model.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
