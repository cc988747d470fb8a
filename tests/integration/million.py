#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""million.py create|list|delete DIR FILES: times of each tenth. Ends with status 1 when the last one is far slower than the first."""
import os
import sys
import time


def timed(verb, count, one):
    tenth = max(count // 10, 1)
    micros, begin = [], time.monotonic()
    for i in range(count):
        one(i)
        if (i + 1) % tenth == 0:
            now = time.monotonic()
            micros.append(round((now - begin) / tenth * 1e6))
            begin = now
    print(f"{verb}: µs a file in each tenth: {' '.join(map(str, micros))}", flush=True)
    # Others use the machine too; what is quadratic shows as a factor of ten.
    if sorted(micros[-3:])[1] > 4 * sorted(micros[:3])[1] + 20:
        sys.exit(f"{verb} becomes slower with the number of files")


def create(top, count):
    os.mkdir(top)
    timed("create", count, lambda i: os.close(os.open(f"{top}/file-{i:07d}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)))


def listing(top, count):
    begin, seen = time.monotonic(), 0
    with os.scandir(top) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)
            seen += 1
    print(f"list with stat: {seen} files in {time.monotonic() - begin:.1f} s", flush=True)
    if seen != count or len(set(os.listdir(top))) != count:
        sys.exit(f"{seen} files listed instead of {count}")


def delete(top, count):
    timed("delete", count, lambda i: os.unlink(f"{top}/file-{i:07d}"))
    os.rmdir(top)


{"create": create, "list": listing, "delete": delete}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
