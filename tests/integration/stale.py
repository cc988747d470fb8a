#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount that does not move, or hears nothing, while another one changes what it has in its caches:

    stale.py DIR OTHER FREEZE THAW [SECONDS]

DIR, OTHER: one directory through two mounts. FREEZE and THAW: commands that hold DIR's mount, and let it go on, for SECONDS (2) at least,
which is longer than its leases last. Whatever is asked of DIR once OTHER's change was acknowledged, and the second is over for which
the kernel may believe names (docs/coherence.md, C7), must be answered with what is true now.
"""
import os
import subprocess
import sys
import threading
import time

KERNEL_S = 1.2
FILES = 20


def content(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def outcome(function, path):
    try:
        return function(path)
    except OSError as error:
        return type(error).__name__


def write(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, data)
    os.close(fd)


QUESTIONS = (content, lambda path: os.lstat(path).st_mode & 0o777, lambda path: os.lstat(path).st_size)


class Look(threading.Thread):
    """Asks while the mount may not answer yet."""

    def __init__(self, path, wanted):
        super().__init__(daemon=True)
        self.path, self.wanted, self.found = path, wanted, None

    def run(self):
        self.found = [outcome(question, self.path) for question in QUESTIONS]


def prepare(top, other):
    """Everything is in the caches of `top`, "no such file" and the listing included."""
    os.makedirs(f"{other}/to", exist_ok=True)
    for i in range(FILES):
        write(f"{other}/f{i}", b"old")
    for i in range(FILES):
        for name in (f"f{i}", f"new{i}", f"to/f{i}"):
            for question in QUESTIONS:
                outcome(question, f"{top}/{name}")
    os.listdir(top)


def change(other):
    """What must be found: name → answers."""
    gone = ["FileNotFoundError"] * 3
    wanted = {}
    for i in range(FILES):
        new = b"new %d" % i
        old = [b"old", 0o644, 3]
        if i % 5 == 0:
            write(f"{other}/f{i}", new)
            wanted[f"f{i}"] = [new, 0o644, len(new)]
        elif i % 5 == 1:
            os.chmod(f"{other}/f{i}", 0o600)
            wanted[f"f{i}"] = [b"old", 0o600, 3]
        elif i % 5 == 2:
            os.rename(f"{other}/f{i}", f"{other}/to/f{i}")
            wanted[f"f{i}"], wanted[f"to/f{i}"] = gone, old
        elif i % 5 == 3:
            os.unlink(f"{other}/f{i}")
            write(f"{other}/new{i}", new)
            wanted[f"f{i}"], wanted[f"new{i}"] = gone, [new, 0o644, len(new)]
        else:
            write(f"{other}/temporary", new)
            os.rename(f"{other}/temporary", f"{other}/f{i}")
            wanted[f"f{i}"] = [new, 0o644, len(new)]
    return wanted


def main():
    top, other, freeze, thaw = sys.argv[1:5]
    seconds = float(sys.argv[5]) if len(sys.argv) > 5 else 2
    prepare(top, other)
    subprocess.run(freeze, shell=True, check=True)
    frozen = time.monotonic()
    wanted = change(other)
    time.sleep(max(KERNEL_S, seconds - (time.monotonic() - frozen)))
    looks = [Look(f"{top}/{name}", answers) for name, answers in wanted.items()]
    for look in looks:
        look.start()
    time.sleep(0.2)  # who can be answered at once is
    subprocess.run(thaw, shell=True, check=True)
    for look in looks:
        look.join(120)
        if look.found != look.wanted:
            sys.exit(f"{look.path}: {look.found}, not {look.wanted}")
    for name in list(wanted):
        try:
            os.unlink(f"{other}/{name}")
        except FileNotFoundError:
            pass
    print(f"{len(looks)} names are as they were changed")


if __name__ == "__main__":
    main()
