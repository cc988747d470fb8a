#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills a directory and knows afterwards what must be there. A list of "PATH SIZE SEED" is what was acknowledged.

    fill.py fill DIR [SIZE...] > LIST  until ENOSPC or EDQUOT: large files, then small ones
    fill.py churn DIR SECONDS > LIST   makes, renames and removes files; ENOSPC is no failure, anything else is
    fill.py check DIR < LIST           each file of the list is there, and only those, with these bytes
"""
import errno
import os
import random
import sys
import time


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def content(seed, size):
    return random.Random(seed).randbytes(size)


def put(path, size, seed):
    """False when there was no room: then the file holds a prefix, and goes again."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return False
    try:
        view = memoryview(content(seed, size))
        while view:
            view = view[os.write(fd, view[:1 << 17]):]
        return True
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        remove(path)
        return False
    finally:
        os.close(fd)


def remove(path):
    """Also while somebody else takes the last block: then the brick may need to wait for room."""
    for _ in range(300):
        try:
            os.unlink(path)
            return
        except FileNotFoundError:
            return  # an earlier try has happened after all
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            time.sleep(0.1)
    sys.exit(f"{path} cannot be removed")


def fill(top, *sizes):
    os.mkdir(top)
    serial = 0
    for size in map(int, sizes or (8 << 20, 1 << 20, 100_000, 3_000, 0)):
        failures = 0
        for _ in range(20_000):
            serial += 1
            name = f"f{serial}"
            if put(f"{top}/{name}", size, serial):
                print(name, size, serial)
                continue
            failures += 1
            if failures == 3:
                break


def churn(top, seconds):
    os.mkdir(top)
    chance = random.Random(5)
    there, serial, refused, end = {}, 0, 0, time.time() + seconds

    def tried(function, *names):
        """Whether it happened. A refusal may have happened all the same, when the brick could not take it back at once: looked up."""
        nonlocal refused
        try:
            function(*names)
            return True
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            refused += 1
            time.sleep(0.002)
            return False

    while time.time() < end:
        serial += 1
        what = chance.random()
        if what < 0.5 or len(there) < 10:
            size = chance.choice((0, 100, 5000, 200_000))
            if put_settled(f"{top}/f{serial}", size, serial):
                there[f"f{serial}"] = (size, serial)
        elif what < 0.75:
            name = chance.choice(sorted(there))
            if tried(os.rename, f"{top}/{name}", f"{top}/r{serial}") or not settled_exists(f"{top}/{name}"):
                there[f"r{serial}"] = there.pop(name)
        else:
            name = chance.choice(sorted(there))
            if tried(os.unlink, f"{top}/{name}") or not settled_exists(f"{top}/{name}"):
                there.pop(name)
    for name, (size, seed) in there.items():
        print(name, size, seed)
    print(f"churn: {serial} operations, {refused} refused", file=sys.stderr)


def settled_exists(path):
    """After a refusal: a brick that could not take it back settles it within seconds of there being room."""
    for _ in range(300):
        try:
            os.mkdir(path + ".probe")
            break
        except OSError:
            time.sleep(0.1)
    else:
        return os.path.lexists(path)
    os.rmdir(path + ".probe")
    return os.path.lexists(path)


def put_settled(path, size, seed):
    if put(path, size, seed):
        return True
    # Its creation may have been what was refused.
    if settled_exists(path):
        remove(path)
    return False


def check(top):
    wanted = {}
    for line in sys.stdin:
        name, size, seed = line.split()
        wanted[name] = (int(size), int(seed))
    extra = {"afterwards"}
    found = set(os.listdir(top)) - extra
    if found != set(wanted):
        sys.exit(f"missing: {sorted(set(wanted) - found)[:5]}, too many: {sorted(found - set(wanted))[:5]}")
    for name, (size, seed) in wanted.items():
        with open(f"{top}/{name}", "rb") as file:
            if file.read() != content(seed, size):
                sys.exit(f"{name} does not have the bytes that were written")
    print(f"{len(wanted)} files are intact", file=sys.stderr)


if __name__ == "__main__":
    verb, arguments = sys.argv[1], sys.argv[2:]
    {"fill": fill, "check": check}[verb](*arguments) if verb != "churn" else churn(arguments[0], float(arguments[1]))
