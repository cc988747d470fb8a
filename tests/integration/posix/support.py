# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of this folder share: places to work in, system calls that Python lacks, other users, other processes.

Environment:
    POSIX_DIR      a directory of the file system under test (a mount of a volume, or a plain one for comparison)
    POSIX_OTHER    the same directory through a second mount (default: POSIX_DIR itself)
    POSIX_RESTART  command that kills the daemons with SIGKILL and starts them again; POSIX_REMOUNT: unmounts POSIX_DIR's mount
                   and mounts it again. Tests that need them are left out where there are none: on a plain file system.
"""
import ctypes
import errno
import fcntl
import os
import pickle
import shutil
import stat
import struct
import subprocess
import traceback
import time
import unittest

DIR = os.environ.get("POSIX_DIR", "")
OTHER = os.environ.get("POSIX_OTHER", DIR)
RESTART = os.environ.get("POSIX_RESTART", "")
REMOUNT = os.environ.get("POSIX_REMOUNT", "")

USER, GROUP = 12345, 23456  # nobody has them
OTHER_USER, OTHER_GROUP = 12346, 23457

AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
MIB = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
libc.utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.closedir.argtypes = libc.telldir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


def checked(result, name=None):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def fallocate(fd, mode, offset, length):
    checked(libc.fallocate(fd, mode, offset, length))


def renameat2(source, target, flags):
    checked(libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags), source)


def link_fd(fd, path):
    AT_SYMLINK_FOLLOW = 0x400
    checked(libc.linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW), path)


def utimensat(path, atime, mtime, flags=0):
    """Times are (seconds, nanoseconds); UTIME_NOW and UTIME_OMIT as nanoseconds."""
    times = struct.pack("qqqq", *atime, *mtime)
    checked(libc.utimensat(AT_FDCWD, os.fsencode(path), times, flags), path)


class DirStream:
    """opendir(3) and friends: os.scandir knows no positions."""

    def __init__(self, path):
        self.stream = libc.opendir(os.fsencode(path))
        if not self.stream:
            checked(-1, path)

    def next(self):
        ctypes.set_errno(0)
        entry = libc.readdir(self.stream)
        if not entry:
            code = ctypes.get_errno()
            if code:
                raise OSError(code, os.strerror(code))
            return None
        return ctypes.string_at(entry + 19)

    def names(self):
        found = []
        while (name := self.next()) is not None:
            if name not in (b".", b".."):
                found.append(name)
        return found

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, position):
        libc.seekdir(self.stream, position)

    def rewind(self):
        libc.rewinddir(self.stream)

    def close(self):
        libc.closedir(self.stream)


def lock_bytes(kind, start=0, length=0):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def lock_of(answer):
    """(type, start, length, pid)"""
    kind, _, start, length, pid = struct.unpack("hhqqi4x", answer)
    return kind, start, length, pid


def write_file(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)
    return path


def read_file(path):
    with open(path, "rb", buffering=0) as file:
        pieces = []
        while piece := file.read(MIB):
            pieces.append(piece)
        return b"".join(pieces)


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def become(uid, gid, groups=()):
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


class Child:
    """A forked process that calls functions when told: another owner of locks, another user."""

    def __init__(self, uid=0, gid=0, groups=()):
        to_child, self.calls = os.pipe()
        self.answers, from_child = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.calls)
            os.close(self.answers)
            try:
                if uid or gid:
                    become(uid, gid, groups)
                self.calls, self.answers = os.fdopen(to_child, "rb"), os.fdopen(from_child, "wb")
                Child.serve(self.calls, self.answers)
            finally:
                os._exit(0)
        os.close(to_child)
        os.close(from_child)
        self.calls = os.fdopen(self.calls, "wb")
        self.answers = os.fdopen(self.answers, "rb")

    @staticmethod
    def serve(calls, answers):
        while True:
            try:
                function, arguments = pickle.load(calls)
            except EOFError:
                return
            try:
                answer = (True, function(*arguments))
            except OSError as error:
                answer = (False, error.errno)
            except BaseException:
                answer = (False, traceback.format_exc())
            pickle.dump(answer, answers)
            answers.flush()

    def start(self, function, *arguments):
        pickle.dump((function, arguments), self.calls)
        self.calls.flush()

    def result(self):
        fine, value = pickle.load(self.answers)
        if fine:
            return value
        if isinstance(value, int):
            raise OSError(value, os.strerror(value))
        raise AssertionError(value)

    def call(self, function, *arguments):
        self.start(function, *arguments)
        return self.result()

    def end(self, signal=None):
        if self.pid == 0:
            return
        if signal is not None:
            os.kill(self.pid, signal)
        try:
            self.calls.close()
        except BrokenPipeError:
            pass
        os.waitpid(self.pid, 0)
        self.answers.close()
        self.pid = 0


class PosixTest(unittest.TestCase):
    """Each test works in an empty directory of its own: self.dir, and self.other through the second mount."""

    def setUp(self):
        name = f"{type(self).__name__}.{self._testMethodName}"
        self.dir, self.other = os.path.join(DIR, name), os.path.join(OTHER, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o777)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.umask(0o022)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def at_other(self, *parts):
        return os.path.join(self.other, *parts)

    def open(self, path, flags=os.O_RDWR, mode=0o644):
        fd = os.open(path if os.path.isabs(path) else self.path(path), flags, mode)
        self.addCleanup(self.close, fd)
        return fd

    @staticmethod
    def close(fd):
        try:
            os.close(fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise

    def child(self, uid=0, gid=0, groups=()):
        child = Child(uid, gid, groups)
        self.addCleanup(child.end)
        return child

    def as_user(self, function, *arguments, uid=USER, gid=GROUP, groups=()):
        child = Child(uid, gid, groups)
        try:
            return child.call(function, *arguments)
        finally:
            child.end()

    def fails(self, code, function, *arguments, **named):
        codes = code if isinstance(code, tuple) else (code,)
        try:
            result = function(*arguments, **named)
        except OSError as error:
            wanted = "/".join(errno.errorcode[c] for c in codes)
            self.assertIn(error.errno, codes, f"{errno.errorcode.get(error.errno)} instead of {wanted}: {error}")
            return
        self.fail(f"{function.__name__}{arguments} gave {result!r} instead of {errno.errorcode[codes[0]]}")

    def fails_as_user(self, code, function, *arguments, uid=USER, gid=GROUP, groups=()):
        self.fails(code, lambda: self.as_user(function, *arguments, uid=uid, gid=gid, groups=groups))

    def times_change(self, path, function, changed="", same=""):
        """a, m, c: which times of path move forward by function, and which stay."""
        def times():
            status = os.lstat(path)
            return {"a": status.st_atime_ns, "m": status.st_mtime_ns, "c": status.st_ctime_ns}
        before = times()
        # Where the file system's clock ticks with the kernel's, two changes within a tick look like one.
        time.sleep(0.02)
        function()
        after = times()
        for which in changed:
            self.assertGreater(after[which], before[which], f"{which}time of {path} did not change")
        for which in same:
            self.assertEqual(after[which], before[which], f"{which}time of {path} changed")


def restart():
    run("sh", "-c", RESTART)


def remount():
    run("sh", "-c", REMOUNT)


def on_volume():
    return "fuse.polder" in run("findmnt", "-n", "-o", "FSTYPE", "-T", DIR)


needs_volume = unittest.skipUnless(RESTART, "a volume's daemon is what this is about")


def file_type(path):
    return stat.S_IFMT(os.lstat(path).st_mode)
