#!/usr/bin/env python3
"""Stands between the actors of a state directory: holds back what one says to another, for a while, or carries it no
faster than a link would.

    relay.py STATE_DIR      commands on stdin, one answer a line on stdout:
        cut SEED SECONDS [steps|state]
                            one direction of one connection (of that kind) stops, then goes on; answers what, or "none"
        rate BITS           from now on every actor has a link of that many bits a second each way; 0: as fast as it goes
        end                 every connection is closed, the sockets' second names go

Actors connect to each other at RUN/aJOB.ACTOR (steps) and RUN/sJOB.ACTOR (state). As soon as such a socket appears it gets a
second name, NAME.real, and the relay's own socket takes its first, in one step: whoever connects meets the relay.
What is held back is not lost. It arrives late, also when the one who said it is dead by then, and must be fenced.

A link is a clock that runs ahead: a piece of n bytes makes it busy for n / rate, and is passed on when the sender's outgoing and
the receiver's incoming link have both carried it. All connections of an actor share its two links. No latency is added but
the relay's own.
"""

import collections
import ctypes
import os
import pathlib
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

NAME = re.compile(r"[as]\d+\.\d+")
IN_CREATE, IN_NONBLOCK = 0x100, 0o4000
CHUNK = 1 << 18


class Link:
    """One way of an actor's connection to the others."""

    rate = 0.0     # bytes a second, of all links; 0: no limit
    lag = 0.001    # seconds that a link may make good, so that sleeping too long costs nothing

    def __init__(self):
        self.lock = threading.Lock()
        self.busy_until = 0.0

    def carried(self, count):
        """When it will have carried so many bytes more."""
        with self.lock:
            self.busy_until = max(self.busy_until, time.monotonic() - self.lag) + count / self.rate
            return self.busy_until


def piece():
    """Bytes taken at a time: at most what a link carries in a millisecond, so that connections share it evenly."""
    return CHUNK if Link.rate == 0 else max(4096, min(CHUNK, int(Link.rate / 1000)))


class Direction:
    """Pumps bytes one way until either side ends."""

    def __init__(self, name, source, target, links):
        self.name, self.source, self.target, self.links = name, source, target, links
        self.held_until = 0.0
        self.open = True

    def pump(self):
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        try:
            while count := self.source.recv_into(buffer, piece()):
                if Link.rate > 0:
                    arrives = max([link.carried(count) for link in self.links])
                    if (left := arrives - time.monotonic()) > 0:
                        time.sleep(left)
                while (left := self.held_until - time.monotonic()) > 0:
                    time.sleep(left)
                self.target.sendall(view[:count])
        except OSError:
            pass
        self.open = False
        for end, how in ((self.target, socket.SHUT_WR), (self.source, socket.SHUT_RD)):
            try:
                end.shutdown(how)
            except OSError:
                pass


def actor_of(connection):
    """Who has connected: the number of the actor whose process it is."""
    pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[words.index(b"--actor") + 1].decode()
    except (OSError, ValueError, IndexError):
        return "?"


class Relay:
    def __init__(self, run_dir):
        self.run_dir = pathlib.Path(run_dir)
        self.lock = threading.Lock()
        self.directions = []
        self.doors = {}  # name -> the listening socket
        self.links = collections.defaultdict(lambda: (Link(), Link()))  # actor -> outgoing, incoming

    def take(self, name):
        """Puts a door of ours in front of an actor's socket."""
        path, real = self.run_dir / name, self.run_dir / f"{name}.real"
        if name in self.doors or not path.is_socket():
            return
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        ours = self.run_dir / f"{name}.relay"
        try:
            door.bind(str(ours))
            door.listen(64)
            os.link(path, real)
            os.rename(ours, path)
        except OSError:  # the actor is gone already
            ours.unlink(missing_ok=True)
            door.close()
            return
        self.doors[name] = door
        threading.Thread(target=self.serve, args=(name, door, str(real)), daemon=True).start()

    def serve(self, name, door, real):
        while True:
            try:
                caller, _ = door.accept()
            except OSError:
                return
            callee = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                callee.connect(real)
            except OSError:  # as if it had refused the caller
                caller.close()
                callee.close()
                continue
            who, kind = actor_of(caller), "steps" if name[0] == "a" else "state"
            to = name.split(".")[1]
            with self.lock:
                caller_links, callee_links = self.links[who], self.links[to]
                there = Direction(f"actor {who} to {to} ({kind})", caller, callee, (caller_links[0], callee_links[1]))
                back = Direction(f"actor {to} to {who} ({kind}, answers)", callee, caller, (callee_links[0], caller_links[1]))
                self.directions += [there, back]
            threading.Thread(target=self.run, args=(there, back), daemon=True).start()

    def run(self, there, back):
        other = threading.Thread(target=back.pump, daemon=True)
        other.start()
        there.pump()
        other.join()
        there.source.close()
        there.target.close()
        with self.lock:
            self.directions.remove(there)
            self.directions.remove(back)

    def cut(self, seed, seconds, kind=""):
        chance = random.Random(seed)
        with self.lock:
            living = [d for d in self.directions if d.open and f"({kind}" in d.name]
        # What goes back is a few answers only: rarely worth a cut.
        wanted = [d for d in living if chance.random() < 0.1 or not d.name.endswith("answers)")]
        if not wanted:
            return "none"
        direction = chance.choice(wanted)
        direction.held_until = time.monotonic() + seconds
        return f"cut {direction.name} for {seconds} s"

    def forget_dead(self):
        """The second names of actors that have gone, which nobody else removes."""
        for name, door in list(self.doors.items()):
            if not (self.run_dir / name).exists():
                door.close()
                del self.doors[name]
                (self.run_dir / f"{name}.real").unlink(missing_ok=True)

    def end(self):
        for name, door in self.doors.items():
            door.close()
            (self.run_dir / f"{name}.real").unlink(missing_ok=True)

    def serve_commands(self):
        libc = ctypes.CDLL(None, use_errno=True)
        watch = libc.inotify_init1(IN_NONBLOCK)
        libc.inotify_add_watch(watch, os.fsencode(self.run_dir), IN_CREATE)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([watch, sys.stdin], [], [], 1)
            if watch in ready:
                data, at = os.read(watch, 1 << 16), 0
                while at < len(data):
                    length = struct.unpack_from("iIII", data, at)[3]
                    name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
                    if NAME.fullmatch(name):
                        self.take(name)
                    at += 16 + length
            if sys.stdin in ready:
                words = sys.stdin.readline().split()
                if not words or words[0] == "end":
                    self.end()
                    print("ended", flush=True)
                    return
                if words[0] == "rate":
                    Link.rate = float(words[1]) / 8
                    print(f"{words[1]} bit/s", flush=True)
                else:
                    print(self.cut(int(words[1]), float(words[2]), *words[3:]), flush=True)
            self.forget_dead()


class RelayProcess:
    """The relay in a process of its own, for a Cluster."""

    def __init__(self, state_dir):
        self.process = subprocess.Popen([sys.executable, __file__, state_dir], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.process.stdout.readline()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.ask("end")
        self.process.wait(10)


if __name__ == "__main__":
    Relay(pathlib.Path(sys.argv[1]) / "run").serve_commands()
