# SPDX-License-Identifier: GPL-3.0-or-later
"""What survives a kill -9 of the daemons and their start, and a remount: open files, locks, listings, identities, times."""
import errno
import fcntl
import os
import time

from locks_tests import EXCLUSIVE, close, keep_open, lock, ofd_lock, whole
from support import *


@needs_volume
class Restart(PosixTest):
    def test_open_files_go_on(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        appender = self.open("f", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"before")
        restart()
        self.assertEqual(os.pread(fd, 6, 0), b"before")
        os.write(appender, b"after")
        self.assertEqual(read_file(self.at_other("f")), b"beforeafter")

    def test_unlinked_files_go_on_and_are_reclaimed(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        other = self.open("g", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x" * MIB)
        os.unlink(self.path("f"))
        os.write(other, b"y" * 1000)
        os.rename(write_file(self.path("h"), b"new"), self.path("g"))
        restart()
        self.assertEqual(os.pread(fd, 10, MIB - 5), b"x" * 5)
        os.pwrite(fd, b"again", 0)
        restart()
        self.assertEqual(os.pread(fd, 5, 0), b"again")
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        self.assertEqual(os.pread(other, 2000, 0), b"y" * 1000)
        self.assertEqual(read_file(self.path("g")), b"new")

    def test_locks_are_kept_against_others(self):
        write_file(self.path("f"), b"-" * 100)
        write_file(self.path("g"), b"-" * 100)
        one, two = self.child(), self.child()
        for child, path in ((one, self.path), (two, self.at_other)):
            child.call(keep_open, path("f"))
            child.call(keep_open, path("g"))
        one.call(lock, self.path("f"), EXCLUSIVE, 50, 0)
        one.call(ofd_lock, self.path("f"), fcntl.F_RDLCK, 60, 10)
        one.call(whole, self.path("g"), EXCLUSIVE)
        restart()
        self.fails((errno.EAGAIN, errno.EACCES), lambda: two.call(lock, self.at_other("f"), EXCLUSIVE, 10, 20))
        self.fails((errno.EAGAIN, errno.EACCES), lambda: two.call(lock, self.at_other("f"), EXCLUSIVE, 10, 60))
        self.fails(errno.EAGAIN, lambda: two.call(whole, self.at_other("g"), EXCLUSIVE))
        two.call(lock, self.at_other("f"), EXCLUSIVE, 10, 80)
        two.start(lock, self.at_other("f"), fcntl.LOCK_EX, 50, 0)
        restart()  # a waiter waits on
        one.call(close, self.path("g"))
        one.call(lock, self.path("f"), fcntl.LOCK_UN)
        two.result()
        two.call(whole, self.at_other("g"), EXCLUSIVE)

    def test_a_listing_goes_on_where_it_was(self):
        names = {f"name-{i:05d}".encode() for i in range(3000)}
        for name in names:
            write_file(os.path.join(os.fsencode(self.dir), name))
        stream = DirStream(self.dir)
        found = [stream.next() for _ in range(1000)]
        place = stream.tell()
        restart()
        rest = stream.names()
        everything = [n for n in found + rest if n not in (b".", b"..")]
        self.assertEqual(sorted(everything), sorted(names))
        stream.seek(place)
        self.assertEqual(stream.names(), rest)
        stream.close()

    def test_a_listing_of_another_mount_has_the_same_positions(self):
        for i in range(500):
            write_file(self.path(f"n{i}"))
        here, there = DirStream(self.dir), DirStream(self.other)
        for _ in range(200):
            self.assertEqual((here.next(), here.tell()), (there.next(), there.tell()))
        here.close()
        there.close()

    def test_identities_and_times_stay(self):
        os.mkdir(self.path("d"))
        write_file(self.path("d", "f"), b"data")
        os.link(self.path("d", "f"), self.path("link"))
        os.symlink("d/f", self.path("l"))
        os.mkfifo(self.path("fifo"))
        os.setxattr(self.path("d", "f"), "user.x", b"y")
        run("setfacl", "-m", f"u:{USER}:rw", self.path("d", "f"))
        utimensat(self.path("d"), (1, 1), (2, 2))

        def everything(top):
            found = {}
            for path in (top, f"{top}/d", f"{top}/d/f", f"{top}/link", f"{top}/l", f"{top}/fifo"):
                s = os.lstat(path)
                found[os.path.relpath(path, top)] = (s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_atime_ns,
                                                     s.st_mtime_ns, s.st_ctime_ns, s.st_rdev)
            return found
        before = everything(self.dir)
        self.assertEqual(everything(self.other), before)
        restart()
        time.sleep(1.1)
        self.assertEqual(everything(self.dir), before)
        remount()
        self.assertEqual(everything(self.dir), before)
        self.assertEqual(os.getxattr(self.path("d", "f"), "user.x"), b"y")

    def test_changes_under_way_happen_once(self):
        child = self.child()
        write_file(self.path("log"))
        child.start(append_numbers, self.path("log"), 3000)
        for _ in range(3):
            time.sleep(0.3)
            restart()
        count = child.result()
        numbers = [int(line) for line in read_file(self.path("log")).split()]
        self.assertEqual(numbers, list(range(count)))

    def test_exclusive_creation_and_removal_under_way_succeed_once(self):
        child = self.child()
        child.start(make_and_remove, self.dir, 400)
        for _ in range(3):
            time.sleep(0.3)
            restart()
        self.assertEqual(child.result(), 400)
        self.assertEqual(os.listdir(self.dir), [])


def append_numbers(path, count):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    end = time.time() + 6
    for i in range(count):
        os.write(fd, b"%d\n" % i)
        if time.time() > end:
            return i + 1
    return count


def make_and_remove(directory, count):
    for i in range(count):
        write_file(f"{directory}/a")
        os.close(os.open(f"{directory}/b{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.link(f"{directory}/b{i}", f"{directory}/c")
        os.rename(f"{directory}/b{i}", f"{directory}/d")
        os.unlink(f"{directory}/d")
        os.unlink(f"{directory}/c")
        os.unlink(f"{directory}/a")
        os.mkdir(f"{directory}/e")
        os.rmdir(f"{directory}/e")
    return count
