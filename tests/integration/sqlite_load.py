#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that move amounts between accounts of one SQLite database: sqlite_load.py FILE JOURNAL-MODE PROCESSES SECONDS.

The sum must stay what it was, at every look; no transaction that was committed may be missing."""
import os
import random
import sqlite3
import sys
import time

ACCOUNTS, EACH = 200, 1000


def connect(path, mode):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute(f"pragma journal_mode={mode}")
    return db


def work(path, mode, who, seconds):
    db, chance, done, end = connect(path, mode), random.Random(who), 0, time.time() + seconds
    while time.time() < end:
        db.execute("begin immediate")
        a, b, amount = chance.randrange(ACCOUNTS), chance.randrange(ACCOUNTS), chance.randrange(50)
        db.execute("update account set amount = amount - ? where id = ?", (amount, a))
        db.execute("update account set amount = amount + ? where id = ?", (amount, b))
        db.execute("insert into move values (?, ?, ?)", (who, done, "x" * chance.randrange(500)))
        db.execute("commit")
        done += 1
        if done % 10 == 0:
            total, = db.execute("select sum(amount) from account").fetchone()
            if total != ACCOUNTS * EACH:
                sys.exit(f"the sum is {total}")
    count, = db.execute("select count(*) from move where who = ?", (who,)).fetchone()
    if count != done:
        sys.exit(f"process {who} committed {done} transactions, {count} are there")
    print(f"process {who}: {done} transactions ({mode})", flush=True)


def main(path, mode, processes, seconds):
    db = connect(path, mode)
    db.execute("create table account (id integer primary key, amount integer)")
    db.execute("create table move (who integer, serial integer, text text)")
    db.execute("begin")
    db.executemany("insert into account values (?, ?)", [(i, EACH) for i in range(ACCOUNTS)])
    db.execute("commit")
    db.close()
    children = []
    for who in range(processes):
        child = os.fork()
        if child == 0:
            work(path, mode, who, seconds)
            sys.exit(0)
        children.append(child)
    if any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children):
        sys.exit("a process failed")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
