# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks of processes, open file descriptions and flock, between mounts."""
import errno
import fcntl
import os
import random
import signal
import time

from support import *

SHARED, EXCLUSIVE = fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB
held = {}  # in children: what must stay open


def keep_open(path, flags=os.O_RDWR):
    held[path] = os.open(path, flags)


def lock(path, operation, length=0, start=0):
    fcntl.lockf(held[path], operation, length, start)


def ofd_lock(path, kind, start=0, length=0, command=F_OFD_SETLK):
    fcntl.fcntl(held[path], command, lock_bytes(kind, start, length))


def whole(path, operation):
    fcntl.flock(held[path], operation)


def close(path):
    os.close(held.pop(path))


def open_and_close(path):
    os.close(os.open(path, os.O_RDWR))


class Locks(PosixTest):
    def setUp(self):
        super().setUp()
        write_file(self.path("f"), b"-" * 1000)
        self.near, self.far = self.path("f"), self.at_other("f")
        self.one, self.two = self.child(), self.child()
        self.one.call(keep_open, self.near)
        self.two.call(keep_open, self.far)

    def two_fails(self, function, *arguments):
        self.fails((errno.EAGAIN, errno.EACCES), lambda: self.two.call(function, self.far, *arguments))

    def test_ranges(self):
        self.one.call(lock, self.near, EXCLUSIVE, 100, 0)
        self.one.call(lock, self.near, SHARED, 100, 100)
        self.two_fails(lock, EXCLUSIVE, 10, 50)
        self.two_fails(lock, SHARED, 10, 50)
        self.two.call(lock, self.far, SHARED, 10, 150)
        self.two_fails(lock, EXCLUSIVE, 10, 150)
        self.two.call(lock, self.far, EXCLUSIVE, 10, 200)
        self.two_fails(lock, EXCLUSIVE)  # to the end of everything
        self.one.call(lock, self.near, fcntl.LOCK_UN, 10, 45)  # a hole in the middle
        self.two.call(lock, self.far, EXCLUSIVE, 10, 45)
        self.two_fails(lock, EXCLUSIVE, 1, 44)
        self.one.call(lock, self.near, fcntl.LOCK_UN)
        self.two.call(lock, self.far, EXCLUSIVE)

    def test_lock_far_beyond_the_end(self):
        self.one.call(lock, self.near, EXCLUSIVE, 0, 1 << 62)
        self.two.call(lock, self.far, EXCLUSIVE, 1 << 61, 0)
        self.two_fails(lock, EXCLUSIVE, 1, (1 << 63) - 2)

    def test_a_deadlock_is_refused(self):
        self.one.call(lock, self.near, EXCLUSIVE, 1, 0)
        self.two.call(lock, self.far, EXCLUSIVE, 1, 1)
        self.one.start(lock, self.near, fcntl.LOCK_EX, 1, 1)
        time.sleep(0.3)
        self.fails(errno.EDEADLK, lambda: self.two.call(lock, self.far, fcntl.LOCK_EX, 1, 0))
        self.two.call(lock, self.far, fcntl.LOCK_UN, 1, 1)
        self.one.result()

    def test_a_waiter_gets_the_lock_when_its_holder_dies(self):
        self.one.call(lock, self.near, EXCLUSIVE)
        self.two.start(lock, self.far, fcntl.LOCK_EX)
        time.sleep(0.2)
        self.one.end(signal.SIGKILL)
        self.two.result()

    def test_closing_any_descriptor_gives_a_processs_locks_up(self):
        self.one.call(lock, self.near, EXCLUSIVE)
        self.one.call(open_and_close, self.near)
        self.two.call(lock, self.far, EXCLUSIVE)

    def test_open_file_descriptions(self):
        self.one.call(ofd_lock, self.near, fcntl.F_WRLCK, 0, 100)
        self.one.call(open_and_close, self.near)  # does not give it up
        self.two_fails(lock, EXCLUSIVE, 10, 0)
        self.two_fails(ofd_lock, fcntl.F_RDLCK, 10, 10)
        self.two.start(ofd_lock, self.far, fcntl.F_WRLCK, 0, 0, F_OFD_SETLKW)
        time.sleep(0.1)
        self.one.call(close, self.near)
        self.two.result()

    def test_flock(self):
        self.one.call(whole, self.near, SHARED)
        self.two.call(whole, self.far, SHARED)
        self.two_fails(whole, EXCLUSIVE)
        # A conversion that failed gives the old lock up, or keeps it; both are in flock(2).
        self.one.call(whole, self.near, fcntl.LOCK_UN)
        self.two.call(whole, self.far, EXCLUSIVE)
        self.fails(errno.EAGAIN, lambda: self.one.call(whole, self.near, SHARED))
        self.one.start(whole, self.near, fcntl.LOCK_SH)
        time.sleep(0.1)
        self.two.call(close, self.far)
        self.one.result()

    def test_flock_and_ranges_do_not_meet(self):
        self.one.call(whole, self.near, EXCLUSIVE)
        self.two.call(lock, self.far, EXCLUSIVE)

    def test_who_holds_it(self):
        self.one.call(lock, self.near, EXCLUSIVE, 100, 50)
        fd = self.open(self.near)
        kind, start, length, pid = lock_of(fcntl.fcntl(fd, fcntl.F_GETLK, lock_bytes(fcntl.F_RDLCK)))
        self.assertEqual((kind, start, length, pid), (fcntl.F_WRLCK, 50, 100, self.one.pid))
        kind, *_ = lock_of(fcntl.fcntl(fd, fcntl.F_GETLK, lock_bytes(fcntl.F_RDLCK, 0, 50)))
        self.assertEqual(kind, fcntl.F_UNLCK)

    def test_wrong_ways_of_opening(self):
        reader = self.open(self.near, os.O_RDONLY)
        self.fails(errno.EBADF, fcntl.lockf, reader, EXCLUSIVE)
        fcntl.flock(reader, EXCLUSIVE)  # flock does not care
        fcntl.flock(reader, fcntl.LOCK_UN)
        writer = self.open(self.near, os.O_WRONLY)
        self.fails(errno.EBADF, fcntl.lockf, writer, SHARED)

    def test_many_processes_count_without_loss(self):
        write_file(self.path("n"), b"0")
        children = [self.child() for _ in range(4)]
        for i, child in enumerate(children):
            child.start(count_up, self.path("n") if i % 2 else self.at_other("n"), 50)
        for child in children:
            child.result()
        self.assertEqual(read_file(self.path("n")), b"200")


class RandomLocks(PosixTest):
    """As locktest: ranges are taken, joined, split and given up at random by processes on two mounts, against a table of who has what."""

    OWNERS, BYTES = 4, 60

    def test_against_a_model(self):
        seed = int(os.environ.get("POSIX_SEED", time.time_ns() % 1000000))
        chance = random.Random(seed)
        write_file(self.path("f"))
        owners = [self.child() for _ in range(self.OWNERS)]
        paths = [(self.path if i % 2 else self.at_other)("f") for i in range(self.OWNERS)]
        for owner, path in zip(owners, paths):
            owner.call(keep_open, path)
        table = [[fcntl.F_UNLCK] * self.BYTES for _ in owners]  # for each owner, of each byte
        end, count = time.time() + float(os.environ.get("POSIX_SECONDS", 10)) / 5, 0
        while time.time() < end:
            count += 1
            who, start = chance.randrange(self.OWNERS), chance.randrange(self.BYTES)
            length = chance.choice((1, chance.randrange(1, self.BYTES - start + 1), self.BYTES - start))
            kind = chance.choice((fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK, fcntl.F_UNLCK))
            may = all(compatible(kind, table[other][byte]) for other in range(self.OWNERS) if other != who
                      for byte in range(start, start + length))
            what = f"seed {seed}, step {count}: owner {who}, {kind} of {start}+{length}"
            try:
                owners[who].call(process_lock, paths[who], kind, start, length)
                self.assertTrue(may, f"{what} was granted")
                table[who][start:start + length] = [kind] * length
            except OSError as error:
                self.assertIn(error.errno, (errno.EAGAIN, errno.EACCES), what)
                self.assertFalse(may, f"{what} was refused")
            if chance.random() < 0.01:  # all at once
                owners[who].call(close, paths[who])
                owners[who].call(keep_open, paths[who])
                table[who] = [fcntl.F_UNLCK] * self.BYTES
        print(f"{count} locks, seed {seed}", end=" ", flush=True)


def compatible(wanted, held):
    return fcntl.F_UNLCK in (wanted, held) or wanted == held == fcntl.F_RDLCK


def process_lock(path, kind, start, length):
    fcntl.fcntl(held[path], fcntl.F_SETLK, lock_bytes(kind, start, length))


def count_up(path, times):
    for _ in range(times):
        fd = os.open(path, os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        # Opened again under the lock: close-to-open is what is promised.
        again = os.open(path, os.O_RDWR)
        value = int(os.pread(again, 100, 0)) + 1
        os.pwrite(again, str(value).encode(), 0)
        os.close(again)
        os.close(fd)
