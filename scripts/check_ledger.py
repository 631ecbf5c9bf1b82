#!/usr/bin/env python3
"""Says whether a job used every sample exactly once per epoch, from the ledgers that its actors wrote.

    check_ledger.py JOB_DIR             exit code 0: it did; 1: it did not, or a ledger cannot be read

The job must have been submitted with `ledger: true`; JOB_DIR is STATE_DIR/jobs/NUMBER. Checked: the steps follow
each other without a gap, all have the same number of samples, every epoch but the last has each sample once, the
last one none twice. actors/data/README.md describes the files and which rows count.
"""

import argparse
import collections
import pathlib
import sys

HEADER = "group_epoch,step,epoch,sample"
MOST_PROBLEMS = 20


class Corrupt(Exception):
    pass


def read_ledger(path):
    """One actor's rows: uses as (group epoch, step, epoch, sample), commits as (group epoch, step)."""
    uses, commits = set(), set()
    lines = path.read_text(encoding="ascii").split("\n")
    lines.pop()  # what follows the last newline was never handed over whole
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line != HEADER:
                raise Corrupt(f"{path}, line 1: expected {HEADER}")
            continue
        fields = line.split(",")
        try:
            incarnation, counter = fields[0].split(".")
            group_epoch, step = (int(incarnation), int(counter)), int(fields[1])
            if len(fields) != 4 or step < 1:
                raise ValueError
            if fields[2:] == ["committed", ""]:
                commits.add((group_epoch, step))
                continue
            use = (group_epoch, step, int(fields[2]), int(fields[3]))
        except (ValueError, IndexError):
            raise Corrupt(f"{path}, line {number}: no row of a ledger: {line[:80]!r}") from None
        if use in uses:
            raise Corrupt(f"{path}, line {number}: the same use as in an earlier line")
        uses.add(use)
    return uses, commits


def counted_epochs(commits):
    """The membership whose rows count, for each step that stays committed."""
    newest = {}
    for group_epoch, step in commits:
        newest[step] = max(newest.get(step, group_epoch), group_epoch)
    counted, so_far = {}, (0, 0)
    for step in sorted(newest):
        so_far = max(so_far, newest[step])
        if newest[step] == so_far:  # else a newer membership went back behind this step
            counted[step] = so_far
    return counted


def check_steps(counted, batches):
    steps = sorted(counted)
    for before, after in zip(steps, steps[1:]):
        if after != before + 1:
            yield f"steps {before + 1} to {after - 1} were never committed"
    usual = collections.Counter(batches.values()).most_common(1)[0][0]
    for step in steps:
        if batches[step] != usual:
            yield f"step {step} used {batches[step]} samples, others {usual}"


def check_epochs(epochs, first_position):
    """`epochs`: epoch -> how often each sample was used. Before `first_position` the job was another's."""
    whole = sorted(epochs)[1 if first_position else 0:-1]
    size = max((len(epochs[epoch]) for epoch in epochs), default=0)
    for before, after in zip(sorted(epochs), sorted(epochs)[1:]):
        if after != before + 1:
            yield f"epochs {before + 1} to {after - 1} are missing"
    for epoch, uses in sorted(epochs.items()):
        for sample, times in sorted(uses.items()):
            if times != 1:
                yield f"epoch {epoch}: sample {sample} was used {times} times"
        if whole and max(uses) >= size:
            yield f"epoch {epoch}: sample {max(uses)} is not among the {size} of a whole epoch"
        expected = len(uses)
        if epoch in whole:
            expected = size
        elif whole and first_position and epoch == min(epochs):
            expected = size - first_position % size
        if len(uses) != expected:
            yield f"epoch {epoch}: {len(uses)} samples were used; expected {expected}"


def check(directory):
    paths = sorted(directory.glob("ledger-*.csv"))
    if not paths:
        if not directory.is_dir():
            raise Corrupt(f"{directory}: there is no such directory; of a job that was deleted nothing but checkpoints may be left")
        if not (directory / "logs").is_dir() and (directory / "checkpoints").is_dir():
            raise Corrupt(f"{directory}: its ledgers went when the job was deleted; only its checkpoints stayed")
        raise Corrupt(f"{directory}: no ledger-*.csv; the job must be submitted with `ledger: true`")
    ledgers = [read_ledger(path) for path in paths]
    counted = counted_epochs([commit for _, commits in ledgers for commit in commits])
    if not counted:
        raise Corrupt(f"{directory}: no step was committed")
    batches = collections.Counter({step: 0 for step in counted})
    epochs = collections.defaultdict(collections.Counter)
    begun = set()
    for uses, _ in ledgers:
        for group_epoch, step, epoch, sample in uses:
            begun.add((group_epoch, step))
            if counted.get(step) == group_epoch:
                batches[step] += 1
                epochs[epoch][sample] += 1
    first = min(counted)
    batch = collections.Counter(batches.values()).most_common(1)[0][0]
    problems = list(check_steps(counted, batches)) + list(check_epochs(epochs, (first - 1) * batch))
    print(f"{len(paths)} ledgers, steps {first} to {max(counted)} of {batch} samples, "
          f"{len(set(counted.values()))} memberships; {len(begun) - len(counted)} steps were begun and left")
    for epoch, uses in sorted(epochs.items()):
        print(f"epoch {epoch}: {len(uses)} samples")
    return problems


def main():
    parser = argparse.ArgumentParser(description="Was every sample used exactly once per epoch?")
    parser.add_argument("job_dir", type=pathlib.Path, help="the job's directory: STATE_DIR/jobs/NUMBER")
    try:
        problems = check(parser.parse_args().job_dir)
    except (Corrupt, OSError, UnicodeDecodeError) as error:
        problems = [str(error)]
    for problem in problems[:MOST_PROBLEMS]:
        print(f"check_ledger.py: {problem}", file=sys.stderr)
    if len(problems) > MOST_PROBLEMS:
        print(f"check_ledger.py: and {len(problems) - MOST_PROBLEMS} more problems", file=sys.stderr)
    if not problems:
        print("every sample was used exactly once per epoch")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
