#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that has something of a mount in its hands. (Not a shell's descriptors: where a mount does not answer, a shell that holds
one hangs at its next fork.)

    holder.py hold DIR READY    locks DIR/range and DIR/whole, keeps DIR/unlinked (64 MiB) open without a name, reads the names; makes
                                READY, and holds it all until its input ends. A line "write BYTES" there writes to DIR/range through
                                the handle with the lock, and is answered by "wrote" or the name of the error
    holder.py want DIR READY    makes READY, and ends when it has had both locks
"""
import errno
import fcntl
import os
import sys

SIZE = 64 << 20


def open_both(top):
    return [os.open(f"{top}/{name}", os.O_RDWR | os.O_CREAT, 0o644) for name in ("range", "whole")]


def hold(top, ready):
    ranged, whole = open_both(top)
    fcntl.lockf(ranged, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, 10)
    fcntl.flock(whole, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unlinked = os.open(f"{top}/unlinked", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.posix_fallocate(unlinked, 0, SIZE)
    os.unlink(f"{top}/unlinked")
    for name in os.listdir(top):
        os.stat(f"{top}/{name}")
    open(ready, "w").close()
    for line in sys.stdin:
        try:
            os.pwrite(ranged, line.split()[1].encode(), 50)
            print("wrote", flush=True)
        except OSError as error:
            print(errno.errorcode[error.errno], flush=True)
    os._exit(0)


def want(top, ready):
    ranged, whole = open_both(top)
    open(ready, "w").close()
    fcntl.lockf(ranged, fcntl.LOCK_EX, 10, 50)
    fcntl.flock(whole, fcntl.LOCK_EX)


if __name__ == "__main__":
    {"hold": hold, "want": want}[sys.argv[1]](*sys.argv[2:])
