#!/usr/bin/env python3
"""Runs the tests that ctest would run, many short ones of a program in one process.

    run_tests.py BUILD_DIR [-j N] [-R|-E|-L|-LE EXPRESSION]...      exit code 0: none failed; selected as by ctest

Most of 2,600 tests take less time than to start a process for each of them, most of all under a sanitizer. Here a
program gets up to CASES of its tests at a time. All else is as with ctest: what is selected, how long a test may take,
what is skipped. A test passes if the program says so and ends well; it fails if the program says so, if it takes too
long, or if the program ends in it, and what was to come behind it is then run by another. A program that says that all
passed and does not end well (a leak) fails with all its tests. Tests labelled `system` start processes of their own, and have one each.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

CASES = 24
ALONE = "system"
SELECTS = ("-R", "-E", "-L", "-LE")
# What a test has written last may stand before it in the line.
EVENT = re.compile(r"\[ +(RUN|OK|FAILED|SKIPPED) +\] ([^\s,]+)(?:, where .*)?(?: \((\d+) ms\))?$")

Outcome = collections.namedtuple("Outcome", "name verdict seconds output")


def selected(build, options):
    """What ctest would run: (program and its working directory, most seconds for a test, label) -> (gtest's name, ctest's name)."""
    shown = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1", *options], stdout=subprocess.PIPE, check=True)
    groups = collections.defaultdict(list)
    for test in json.loads(shown.stdout)["tests"]:
        values = {each["name"]: each["value"] for each in test["properties"]}
        command = test.get("command", [])
        if len(command) < 2 or not command[1].startswith("--gtest_filter="):
            raise SystemExit(f"run_tests.py: {test['name']} is no test of a program that is built: scripts/build.sh builds it")
        key = (command[0], values["WORKING_DIRECTORY"], values["TIMEOUT"], tuple(values["LABELS"]))
        groups[key].append((command[1].partition("=")[2], test["name"]))
    return groups


class Program:
    """Runs a test program with some of its tests."""

    def __init__(self, key, cases):
        self.command, self.directory, self.limit, _ = key
        self.cases = cases

    def run(self):
        """What became of its tests, and those that it has not come to."""
        with tempfile.TemporaryFile() as out:
            ended = subprocess.Popen(
                [self.command, "--gtest_filter=" + ":".join(name for name, _ in self.cases), "--gtest_also_run_disabled_tests"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            late = self.wait(ended, out)
            out.seek(0)
            return self.read(out.read().decode(errors="replace"), ended.returncode, late)

    def wait(self, process, out):
        """Until it has ended; true if a test took too long, and the program was killed."""
        begun, seen = time.monotonic(), b""
        while True:
            try:
                process.wait(timeout=1)
                return False
            except subprocess.TimeoutExpired:
                pass
            now = os.pread(out.fileno(), 1 << 26, 0).rpartition(b"[ RUN ")[0]
            if now != seen:
                begun, seen = time.monotonic(), now
            if time.monotonic() - begun > self.limit:
                process.kill()
                process.wait()
                return True

    def read(self, text, code, late):
        verdicts, pieces, current = {}, collections.defaultdict(list), None
        names = {name for name, _ in self.cases}
        for line in text.splitlines():
            event = EVENT.search(line)
            if event and event[1] == "RUN" and current is None and event[2] in names:
                current = event[2]
            if current:
                pieces[current].append(line)
            if event and event[1] != "RUN" and event[2] == current:
                verdicts[current] = (event[1], int(event[3] or 0) / 1000)
                current = None
        outcomes, rest = [], []
        for name, shown in self.cases:
            verdict, seconds = verdicts.get(name, (None, 0))
            if verdict is None and name != current and code != 0 and (verdicts or current):
                rest.append((name, shown))  # it did not come to this one
            elif verdict is None:
                ending = "TOO LONG" if late else f"ENDED IN IT ({code})" if name == current else f"NOT RUN ({code})"
                outcomes.append(Outcome(shown, ending, seconds, text))
            else:
                outcomes.append(Outcome(shown, verdict, seconds, "\n".join(pieces[name])))
        if code != 0 and all(is_good(each) for each in outcomes):
            outcomes = [Outcome(each.name, f"ENDED BADLY BEHIND IT ({code})", each.seconds, text) for each in outcomes]
        return outcomes, [rest] if rest else []


def reason(outcome):
    """What a test that was skipped says of it: the line behind the place."""
    lines = outcome.output.splitlines()
    return lines[2] if outcome.verdict == "SKIPPED" and len(lines) > 3 else outcome.verdict


def is_good(outcome):
    return outcome.verdict in ("OK", "SKIPPED")


def portions(groups):
    """Lists of tests, one of each program in turn."""
    for key, cases in groups.items():
        size = 1 if ALONE in key[3] else CASES
        for begin in range(0, len(cases), size):
            yield key, cases[begin:begin + size]


def run_all(groups, jobs):
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        total = sum(len(cases) for cases in groups.values())

        def run(key, cases):
            waiting = [cases]
            while waiting:
                done, rest = Program(key, waiting.pop()).run()
                outcomes.extend(done)
                waiting += rest
                report(done, len(outcomes), total)

        for future in [pool.submit(run, key, cases) for key, cases in portions(groups)]:
            future.result()
    return outcomes


def report(done, so_far, total):
    texts, bad = [], [each for each in done if not is_good(each)]
    for each in bad:
        texts.append(f"{each.name}: {each.verdict}")
    for output in dict.fromkeys(each.output for each in bad):
        texts.append(output)
    names = done[0].name.partition("  #")[0] + (f" and {len(done) - 1} more" if len(done) > 1 else "")
    texts.append(f"{so_far:5}/{total} {names}: {sum(each.seconds for each in done):.2f} s{', FAILED' if bad else ''}")
    print("\n".join(texts), flush=True)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="run_tests.py BUILD_DIR [-j N] [-R|-E|-L|-LE EXPRESSION]...")
    only_check = "--check-options" in sys.argv
    if not only_check:
        parser.add_argument("build", help="as scripts/build.sh made it: build/release")
    parser.add_argument("-j", type=int, default=os.cpu_count(), dest="jobs", help="programs at a time")
    parser.add_argument("--check-options", action="store_true", help="whether they are good, and no more")
    arguments, options = parser.parse_known_args()
    if len(options) % 2 or not set(options[::2]) <= set(SELECTS):
        parser.error(f"{' '.join(options)}: tests are selected by {' '.join(SELECTS)}, each with a regular expression")
    for expression in options[1::2]:
        try:
            re.compile(expression)
        except re.error as error:
            parser.error(f"'{expression}' is no regular expression: {error}")
    if arguments.jobs < 1:
        parser.error("-j: at least 1")
    if not only_check and not os.path.exists(os.path.join(arguments.build, "CTestTestfile.cmake")):
        parser.error(f"'{arguments.build}' is no folder that scripts/build.sh has made")
    return arguments, options


def main():
    arguments, options = parsed()
    if arguments.check_options:
        return 0
    # Tests send them, and whoever starts this in the background has made them ignored, which programs inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    begun = time.monotonic()
    groups = selected(arguments.build, options)
    if not groups:
        raise SystemExit("run_tests.py: no tests were found")
    outcomes = run_all(groups, arguments.jobs)

    expected = collections.Counter(shown for cases in groups.values() for _, shown in cases)
    if collections.Counter(each.name for each in outcomes) != expected:
        raise SystemExit("run_tests.py: a test that is selected has no outcome, or two")
    skipped = [each for each in outcomes if each.verdict == "SKIPPED"]
    failed = [each for each in outcomes if not is_good(each)]
    print("\nThe slowest:")
    for each in sorted(outcomes, key=lambda each: -each.seconds)[:10]:
        print(f"{each.seconds:9.2f} s  {each.name}")
    for why in dict.fromkeys(map(reason, skipped)):
        names = [each.name.partition("  #")[0] for each in skipped if reason(each) == why]
        print(f"Skipped, {len(names)}: {why}\n    {' '.join(names)}")
    for each in failed:
        print(f"Failed: {each.name}: {each.verdict}")
    print(f"{time.monotonic() - begun:.0f} s")
    passed = len(outcomes) - len(skipped) - len(failed)
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
