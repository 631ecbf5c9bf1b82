#!/usr/bin/env python3
"""Stands between the actors of a state directory and holds back what one says to another, for a while.

    relay.py STATE_DIR      commands on stdin, one answer a line on stdout:
        cut SEED SECONDS    one direction of one connection stops, then goes on; answers what, or "none"
        end                 every connection is closed, the sockets' second names go

Actors connect to each other at RUN/aJOB.ACTOR (steps) and RUN/sJOB.ACTOR (state). As soon as such a socket appears it gets a
second name, NAME.real, and the relay's own socket takes its first, in one step: whoever connects meets the relay.
What is held back is not lost. It arrives late, also when the one who said it is dead by then, and must be fenced.
"""

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


class Direction:
    """Pumps bytes one way until either side ends."""

    def __init__(self, name, source, target):
        self.name, self.source, self.target = name, source, target
        self.held_until = 0.0
        self.open = True

    def pump(self):
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        try:
            while count := self.source.recv_into(buffer):
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
            there = Direction(f"actor {who} to {to} ({kind})", caller, callee)
            back = Direction(f"actor {to} to {who} ({kind}, answers)", callee, caller)
            with self.lock:
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

    def cut(self, seed, seconds):
        chance = random.Random(seed)
        with self.lock:
            living = [d for d in self.directions if d.open]
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
                print(self.cut(int(words[1]), float(words[2])), flush=True)
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
