"""When a job's steps were committed: its actors' ledgers, followed while they are written.

The job must run with `ledger: true`. Every actor appends a mark to its own ledger right after it has applied a step; the kernel
tells of the write (inotify), and the mark is dated when it is read, on the monotonic clock. How late that is at most
is measured too: `delays` are the seconds from the file's own time of change, which the kernel keeps in ticks of up to 4 ms, to
the reading.
"""

import collections
import ctypes
import os
import pathlib
import re
import select
import struct
import threading
import time

IN_MODIFY, IN_CREATE = 0x2, 0x100
LEDGER = re.compile(rb"ledger-(\d+)\.csv")

Commit = collections.namedtuple("Commit", "at epoch step actor")


class Commits:
    """Follows the ledgers in a job's directory on a thread of its own."""

    def __init__(self, job_dir):
        self.dir = pathlib.Path(job_dir)
        self.files = {}  # actor -> [file, bytes of an unfinished line]
        self.seen = []   # every Commit, in the order of reading
        self.first = {}  # step -> the first Commit of it
        self.of_actor = {}  # actor -> its first Commit
        self.delays = collections.deque(maxlen=20000)
        self.changed = threading.Condition()
        self.ends = False
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init1(os.O_NONBLOCK)
        if libc.inotify_add_watch(self.watch, os.fsencode(self.dir), IN_MODIFY | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {self.dir}")
        for path in self.dir.glob("ledger-*.csv"):
            self.read(path.name.encode())
        self.delays.clear()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while not self.ends:
            if not select.select([self.watch], [], [], 0.2)[0]:
                continue
            data, at, names = os.read(self.watch, 1 << 16), 0, set()
            while at < len(data):
                length = struct.unpack_from("iIII", data, at)[3]
                names.add(data[at + 16:at + 16 + length].rstrip(b"\0"))
                at += 16 + length
            for name in names:
                self.read(name)

    def read(self, name):
        match = LEDGER.fullmatch(name)
        if not match:
            return
        actor = int(match[1])
        if actor not in self.files:
            self.files[actor] = [open(self.dir / name.decode(), "rb", buffering=0), b""]
        file, rest = self.files[actor]
        data = file.read()
        now = time.monotonic()
        if not data:
            return
        self.delays.append(max(0.0, time.time() - os.fstat(file.fileno()).st_mtime))
        lines = (rest + data).split(b"\n")
        self.files[actor][1] = lines.pop()
        found = [self.commit(now, line, actor) for line in lines if line.endswith(b",committed,")]
        if found:
            with self.changed:
                for commit in found:
                    self.seen.append(commit)
                    self.first.setdefault(commit.step, commit)
                    self.of_actor.setdefault(actor, commit)
                self.changed.notify_all()

    @staticmethod
    def commit(now, line, actor):
        epoch, step, _ = line.split(b",", 2)
        incarnation, counter = epoch.split(b".")
        return Commit(now, (int(incarnation), int(counter)), int(step), actor)

    def wait(self, condition, what, seconds=120):
        """Until condition(self) is true; its value."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (value := condition(self)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise SystemExit(f"waited {seconds} s for {what}; the last commit was {self.seen[-1:]}")
                self.changed.wait(left)
            return value

    def newest_epoch(self):
        return max((commit.epoch for commit in self.seen[-200:]), default=(0, 0))

    def members(self, epoch):
        """Who has committed in it."""
        return {commit.actor for commit in self.seen[-2000:] if commit.epoch == epoch}

    def settled(self, actors, steps=4):
        """The newest membership has that many members, and all have committed that many steps in it; its epoch."""
        epoch = self.newest_epoch()
        count = collections.Counter(commit.actor for commit in self.seen[-2000:] if commit.epoch == epoch)
        return epoch if len(count) == actors and min(count.values()) >= steps else None

    def after(self, epoch):
        """The first commit in a membership behind that one."""
        for commit in reversed(self.seen):
            if commit.epoch <= epoch:
                break
        later = [commit for commit in self.seen[-2000:] if commit.epoch > epoch]
        return later[0] if later else None

    def gaps(self, since, until=float("inf")):
        """Seconds between steps that follow each other, the later one in [since, until]."""
        times = [self.first[step].at for step in sorted(self.first)[-3000:] if self.first[step].at <= until]
        return [b - a for a, b in zip(times, times[1:]) if b >= since]

    def close(self):
        self.ends = True
        self.thread.join()
        os.close(self.watch)
        for file, _ in self.files.values():
            file.close()
