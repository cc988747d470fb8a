# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that must fail: each with its error, and without any change. As pjdfstest goes through them, call by call."""
import ctypes
import errno
import os
import resource
import signal
import stat
import subprocess
import time

from names_tests import MAKERS
from support import *

# By what they need of the last name: it is there; it is not.
THERE = {
    "stat": os.stat, "lstat": os.lstat, "chmod": lambda p: os.chmod(p, 0o600), "chown": lambda p: os.chown(p, 0, 0),
    "lchown": lambda p: os.lchown(p, 0, 0), "truncate": lambda p: os.truncate(p, 5), "utime": lambda p: os.utime(p, (1, 1)),
    "open": lambda p: os.close(os.open(p, os.O_RDONLY)), "getxattr": lambda p: os.getxattr(p, "user.x"),
    "setxattr": lambda p: os.setxattr(p, "user.x", b"y"), "listxattr": os.listxattr, "unlink": os.unlink, "rmdir": os.rmdir,
    "readlink": os.readlink, "listdir": os.listdir, "access": lambda p: checked(libc.access(os.fsencode(p), os.F_OK), p),
    "statvfs": os.statvfs, "chdir": os.chdir, "rename from": lambda p: os.rename(p, TARGET), "link from": lambda p: os.link(p, TARGET)}
ABSENT = dict(MAKERS, **{
    "rename to": lambda p: os.rename(SOURCE, p), "link to": lambda p: os.link(SOURCE, p), "exchange": lambda p: renameat2(SOURCE, p, RENAME_EXCHANGE),
    "open": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY))})
SOURCE = TARGET = ""


class Paths(PosixTest):
    """Every call with every wrong path."""

    def setUp(self):
        global SOURCE, TARGET
        super().setUp()
        SOURCE, TARGET = write_file(self.path("source")), self.path("target")
        write_file(self.path("file"))
        os.symlink("loop", self.path("loop"))
        self.addCleanup(os.chdir, "/")

    def all_fail(self, code, path):
        for calls in (THERE, ABSENT):
            for name, call in calls.items():
                with self.subTest(call=name):
                    self.fails(code, call, path)

    def test_a_name_above_is_missing(self):
        self.all_fail(errno.ENOENT, self.path("missing", "x"))

    def test_a_name_above_is_a_file(self):
        self.all_fail(errno.ENOTDIR, self.path("file", "x"))

    def test_a_name_above_is_a_loop(self):
        self.all_fail(errno.ELOOP, self.path("loop", "x"))

    def test_a_name_is_too_long(self):
        self.all_fail(errno.ENAMETOOLONG, self.path("n" * 256))
        self.all_fail(errno.ENAMETOOLONG, self.path("n" * 256, "x"))

    def test_a_path_is_too_long(self):
        self.all_fail(errno.ENAMETOOLONG, self.path(*["d" * 100] * 41))

    def test_the_name_is_missing(self):
        for name, call in THERE.items():
            with self.subTest(call=name):
                self.fails(errno.ENOENT, call, self.path("missing"))
        self.fails(errno.ENOENT, renameat2, SOURCE, self.path("missing"), RENAME_EXCHANGE)

    def test_a_directory_may_not_be_searched(self):
        os.mkdir(self.path("closed"))
        write_file(self.path("closed", "x"))
        os.mkdir(self.path("closed", "d"))
        os.chmod(self.path("closed"), 0o600)
        os.chown(self.path("closed"), USER, GROUP)
        os.chown(self.path("source"), USER, GROUP)
        for calls, path in ((THERE, "x"), (THERE, "d"), (ABSENT, "new")):
            self.assertEqual([], self.as_user(not_denied, calls is THERE, self.path("closed", path), SOURCE, TARGET))


def not_denied(there, path, source, target):
    """In a child, another user: the calls that are not refused with EACCES."""
    global SOURCE, TARGET
    SOURCE, TARGET = source, target
    wrong = []
    for name, call in (THERE if there else ABSENT).items():
        if name in ("chr", "blk"):
            continue  # EPERM, wherever
        try:
            call(path)
            wrong.append((name, "happened"))
        except OSError as error:
            if error.errno != errno.EACCES:
                wrong.append((name, errno.errorcode[error.errno]))
    return wrong


class NothingChanges(PosixTest):
    """A call that fails leaves names, attributes and times as they were."""

    def unchanged(self, *failing):
        def state():
            return {path: (os.lstat(path)[:7], os.lstat(path).st_mtime_ns, os.lstat(path).st_ctime_ns) for path in
                    [self.dir] + [os.path.join(top, n) for top, dirs, files in os.walk(self.dir) for n in dirs + files]}
        before = state()
        time.sleep(0.02)
        for code, function, *arguments in failing:
            self.fails(code, function, *arguments)
        self.assertEqual(state(), before)

    def test_of_names(self):
        write_file(self.path("f"))
        os.makedirs(self.path("d", "below"))
        os.symlink("f", self.path("l"))
        exclusive = lambda p: os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.unchanged(
            (errno.EEXIST, exclusive, self.path("f")), (errno.EEXIST, os.mkdir, self.path("f")), (errno.EEXIST, os.symlink, "x", self.path("d")),
            (errno.EEXIST, os.link, self.path("f"), self.path("l")), (errno.EEXIST, os.mkfifo, self.path("f")),
            (errno.ENOTEMPTY, os.rmdir, self.path("d")), (errno.EISDIR, os.unlink, self.path("d")), (errno.ENOTDIR, os.rmdir, self.path("f")),
            (errno.EISDIR, os.rename, self.path("f"), self.path("d")), (errno.ENOTDIR, os.rename, self.path("d"), self.path("f")),
            (errno.EINVAL, os.rename, self.path("d"), self.path("d", "below", "x")), (errno.ENOENT, os.rename, self.path("no"), self.path("f")),
            (errno.EEXIST, renameat2, self.path("f"), self.path("l"), RENAME_NOREPLACE),
            (errno.ENOENT, renameat2, self.path("f"), self.path("no"), RENAME_EXCHANGE), (errno.EPERM, os.link, self.path("d"), self.path("e")))

    def test_of_attributes_by_a_stranger(self):
        write_file(self.path("f"), b"x", 0o644)

        def denied(*call):
            self.fails_as_user((errno.EPERM, errno.EACCES), *call)
        before = os.stat(self.path("f"))
        time.sleep(0.02)
        for call in ((os.chmod, self.path("f"), 0o777), (os.chown, self.path("f"), USER, -1), (os.chown, self.path("f"), -1, GROUP),
                     (os.truncate, self.path("f"), 0), (os.utime, self.path("f"), (1, 1)), (os.setxattr, self.path("f"), "user.x", b"y")):
            denied(*call)
        after = os.stat(self.path("f"))
        self.assertEqual((before[:7], before.st_ctime_ns, before.st_mtime_ns), (after[:7], after.st_ctime_ns, after.st_mtime_ns))


class Rest(PosixTest):
    def test_mount_points_are_busy_and_mounts_are_apart(self):
        top = run("findmnt", "-n", "-o", "TARGET", "-T", self.dir).strip()
        self.fails((errno.EBUSY, errno.EINVAL), os.rmdir, top)
        self.fails((errno.EBUSY, errno.EXDEV), os.rename, top, top + "-moved")
        write_file(self.path("f"))
        if self.dir != self.other:
            self.fails(errno.EXDEV, os.rename, self.path("f"), self.at_other("g"))
            self.fails(errno.EXDEV, os.link, self.path("f"), self.at_other("g"))
        self.fails(errno.EXDEV, os.rename, self.path("f"), "/dev/shm/.posix-moved")

    def test_what_cannot_be_opened(self):
        os.mknod(self.path("socket"), stat.S_IFSOCK | 0o644)
        self.fails(errno.ENXIO, os.open, self.path("socket"), os.O_RDONLY)
        os.mkdir(self.path("d"))
        self.fails(errno.EISDIR, os.open, self.path("d"), os.O_WRONLY)
        self.fails(errno.EISDIR, os.open, self.path("d"), os.O_RDONLY | os.O_TRUNC)
        self.fails((errno.EINVAL, errno.EISDIR), os.open, self.path("d"), os.O_RDONLY | os.O_CREAT | os.O_DIRECTORY)
        os.symlink("d", self.path("l"))
        self.fails((errno.ENOTDIR, errno.ELOOP), os.open, self.path("l"), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self.fails(errno.EEXIST, os.open, self.path("l"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def test_renaming_flags_for_every_pair_of_types(self):
        for first, make in MAKERS.items():
            for second, other in MAKERS.items():
                make(self.path("a"))
                other(self.path("b"))
                before = {n: os.lstat(self.path(n)).st_ino for n in "ab"}
                self.fails(errno.EEXIST, renameat2, self.path("a"), self.path("b"), RENAME_NOREPLACE)
                renameat2(self.path("a"), self.path("b"), RENAME_EXCHANGE)
                self.assertEqual({n: os.lstat(self.at_other(n)).st_ino for n in "ab"}, {"a": before["b"], "b": before["a"]}, (first, second))
                run("rm", "-rf", self.path("a"), self.path("b"))

    def test_whiteouts_are_made_or_refused(self):
        write_file(self.path("f"), b"moved")
        try:
            renameat2(self.path("f"), self.path("g"), RENAME_WHITEOUT)
        except OSError as error:
            self.assertEqual(error.errno, errno.EINVAL)
            self.assertEqual(os.listdir(self.other), ["f"])
            return
        self.assertEqual(read_file(self.at_other("g")), b"moved")
        self.assertEqual((file_type(self.at_other("f")), os.lstat(self.at_other("f")).st_rdev), (stat.S_IFCHR, 0))

    def test_types_in_listings(self):
        for kind, make in MAKERS.items():
            make(self.path(kind))
        wanted = {kind: stat.S_IFMT(os.lstat(self.path(kind)).st_mode) >> 12 for kind in MAKERS}
        stream = DirStream(self.other)
        found = {}
        while entry := libc.readdir(stream.stream):
            name = ctypes.string_at(entry + 19).decode()
            if name not in (".", ".."):
                found[name] = ctypes.string_at(entry + 18, 1)[0]
        stream.close()
        self.assertEqual(found, wanted)

    def test_buffers_of_attributes_that_are_too_small(self):
        path = write_file(self.path("f"))
        os.setxattr(path, "user.x", b"v" * 100)
        buffer = ctypes.create_string_buffer(200)
        name = os.fsencode(path)
        for size, code in ((0, 0), (99, errno.ERANGE), (100, 0)):
            self.assertEqual(outcome(libc.getxattr, name, b"user.x", buffer, size), (100, 0) if not code else (-1, code))
        for size, code in ((0, 0), (6, errno.ERANGE), (7, 0)):
            self.assertEqual(outcome(libc.listxattr, name, buffer, size), (7, 0) if not code else (-1, code))

    def test_a_listing_ends_while_names_are_renamed(self):
        for i in range(200):
            write_file(self.path(f"n{i}"))
        stream, count = DirStream(self.dir), 0
        while (name := stream.next()) is not None:
            count += 1
            if name not in (b".", b".."):
                os.rename(self.path(name.decode()), self.path(f"{name.decode()[:20]}-{count}"))
            self.assertLess(count, 5000, "each name that was renamed is listed again")
        stream.close()
        self.assertEqual(len(os.listdir(self.other)), 200)


def outcome(function, *arguments):
    ctypes.set_errno(0)
    return function(*arguments), ctypes.get_errno()


class Descriptors(PosixTest):
    def test_the_largest_file_that_a_process_may_write(self):
        self.assertEqual(self.child().call(write_beyond_limit, self.path("f")), [10, errno.EFBIG, errno.EFBIG])
        self.assertEqual(os.stat(self.at_other("f")).st_size, 100)

    def test_a_running_program_is_not_cut(self):
        run("cp", "/bin/sleep", self.path("sleep"))
        program = subprocess.Popen([self.path("sleep"), "60"])
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.fails(errno.ETXTBSY, os.truncate, self.path("sleep"), 0)
        self.fails(errno.ETXTBSY, os.open, self.path("sleep"), os.O_WRONLY | os.O_TRUNC)
        os.unlink(self.path("sleep"))  # that is allowed
        self.assertIsNone(program.poll())

    def test_flags_of_single_writes(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"12345", 0)
        for flag in (os.RWF_DSYNC, os.RWF_SYNC):
            self.assertEqual(os.pwritev(fd, [b"67"], 5, flag), 2)
        self.assertEqual(os.pwritev(fd, [b"end"], 0, os.RWF_APPEND), 3)
        self.assertEqual(read_file(self.at_other("f")), b"1234567end")

    def test_syncs_of_everything_that_can_be_opened(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x")
        for call in (os.fsync, os.fdatasync, lambda fd: checked(libc.syncfs(fd))):
            call(fd)
            call(self.open("f", os.O_RDONLY))
            call(self.open(self.dir, os.O_RDONLY))
        os.mkfifo(self.path("fifo"))
        self.fails(errno.EINVAL, os.fsync, self.open("fifo", os.O_RDWR))

    def test_thousands_of_open_files_some_without_names(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 5000), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        fds = []
        try:
            for i in range(3000):
                fds.append(os.open(self.path(f"f{i}"), os.O_RDWR | os.O_CREAT))
                os.write(fds[i], b"%d" % i)
                if i % 2:
                    os.unlink(self.path(f"f{i}"))
            for i, fd in enumerate(fds):
                self.assertEqual(os.pread(fd, 10, 0), b"%d" % i)
        finally:
            for fd in fds:
                os.close(fd)
        self.assertEqual(len(os.listdir(self.other)), 1500)

    def test_a_write_from_memory_that_is_not_there(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        self.assertEqual(outcome(libc.pwrite, fd, ctypes.c_void_p(16), 4096, 0), (-1, errno.EFAULT))
        self.assertEqual(os.fstat(fd).st_size, 0)
        os.write(fd, b"there")
        self.assertEqual(outcome(libc.pread, fd, ctypes.c_void_p(16), 5, 0), (-1, errno.EFAULT))
        self.assertEqual(read_file(self.at_other("f")), b"there")


def write_beyond_limit(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    results = [os.pwrite(fd, b"x" * 50, 90)]  # as much as there is room for
    for call in (lambda: os.pwrite(fd, b"x", 100), lambda: os.ftruncate(fd, 101)):
        try:
            results.append(call())
        except OSError as error:
            results.append(error.errno)
    return results
