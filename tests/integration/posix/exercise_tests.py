# SPDX-License-Identifier: GPL-3.0-or-later
"""Random operations on one file against a model in memory, through two mounts in turn (close-to-open), as fsx does.

    POSIX_SEED (default: from the clock; printed), POSIX_SECONDS (default 10): how long
"""
import errno
import mmap
import os
import random
import time

from support import *

FILE_MAX = 1 << 20


class Model:
    """What the file must hold."""

    def __init__(self):
        self.bytes = bytearray()

    def grow(self, size):
        if size > len(self.bytes):
            self.bytes += bytes(size - len(self.bytes))

    def write(self, offset, data):
        if data:
            self.grow(offset)
            self.bytes[offset:offset + len(data)] = data

    def zero(self, offset, length):
        end = min(offset + length, len(self.bytes))
        if end > offset:
            self.bytes[offset:end] = bytes(end - offset)

    def truncate(self, size):
        self.grow(size)
        del self.bytes[size:]


class Exercise:
    def __init__(self, paths, seed):
        self.chance = random.Random(seed)
        self.paths = paths
        self.model = Model()
        self.steps = []
        self.opened = None
        self.turn = 0
        self.reopen()
        self.kept = [os.open(path, os.O_RDWR) for path in paths]  # each mount has the file open all the time

    # What an operation works on. Another mount takes over by opening the file anew.
    def reopen(self):
        if self.opened is not None:
            os.close(self.opened)
        self.turn = self.chance.randrange(len(self.paths))
        flags = os.O_RDWR | os.O_CREAT | (os.O_DIRECT if DIRECT and self.chance.random() < 0.2 else 0)
        self.direct = bool(flags & os.O_DIRECT)
        self.opened = os.open(self.paths[self.turn], flags, 0o644)
        self.note("open", self.turn, self.direct)

    def elsewhere(self):
        """A change by another mount, which has the file open as well; whoever opens it then must see it (C1)."""
        mine, turn = self.opened, self.turn
        self.turn = self.chance.randrange(len(self.paths))
        self.opened = self.kept[self.turn]
        self.note("elsewhere", self.turn)
        os.fstat(self.opened)
        self.chance.choice((self.write, self.write, self.punch, self.zero, self.truncate, self.map_elsewhere))()
        self.opened, self.turn = mine, turn
        self.reopen()

    def map_elsewhere(self):
        """A mapping needs an open of its own to be as others have left the file (C5)."""
        direct, self.direct = self.direct, False
        kept, self.opened = self.opened, os.open(self.paths[self.turn], os.O_RDWR)
        self.map_write()
        os.close(self.opened)
        self.opened, self.direct = kept, direct

    def note(self, *what):
        self.steps.append(what)

    def extent(self, within):
        limit = len(self.model.bytes) if within else FILE_MAX
        if limit == 0:
            return 0, 0
        offset = self.chance.randrange(limit)
        if self.chance.random() < 0.4:
            offset &= ~4095
        length = min(self.chance.choice((1, 100, 4096, 65536, 300_000)), self.chance.randrange(1, 300_000), limit - offset)
        return offset, length

    def write(self):
        offset, length = self.extent(False)
        data = self.chance.randbytes(length)
        self.note("write", offset, length)
        done = 0
        while done < length:
            done += os.pwrite(self.opened, data[done:], offset + done)
        self.model.write(offset, data)

    def append(self):
        if len(self.model.bytes) > FILE_MAX:
            return
        data = self.chance.randbytes(self.chance.randrange(1, 70_000))
        self.note("append", len(data))
        fd = os.open(self.paths[self.turn], os.O_WRONLY | os.O_APPEND)
        if os.write(fd, data) != len(data):
            raise AssertionError("short append")
        os.close(fd)
        self.model.write(len(self.model.bytes), data)
        self.reopen()  # the first handle hears of it by its next open, or within a second

    def read(self):
        offset, length = self.extent(False)
        self.note("read", offset, length)
        self.compare(offset, os.pread(self.opened, length, offset), self.model.bytes[offset:offset + length])

    def map_write(self):
        offset, length = self.extent(True)
        if length == 0 or self.direct:
            return
        data = self.chance.randbytes(length)
        self.note("map-write", offset, length)
        memory = mmap.mmap(self.opened, len(self.model.bytes))
        memory[offset:offset + length] = data
        memory.flush()
        memory.close()
        self.model.write(offset, data)

    def map_read(self):
        if not self.model.bytes or self.direct:
            return
        offset, length = self.extent(True)
        self.note("map-read", offset, length)
        memory = mmap.mmap(self.opened, len(self.model.bytes), prot=mmap.PROT_READ)
        self.compare(offset, memory[offset:offset + length], self.model.bytes[offset:offset + length])
        memory.close()

    def truncate(self):
        size = self.chance.choice((0, self.chance.randrange(FILE_MAX), len(self.model.bytes)))
        self.note("truncate", size)
        os.ftruncate(self.opened, size)
        self.model.truncate(size)

    def punch(self):
        offset, length = self.extent(False)
        self.note("punch", offset, length)
        fallocate(self.opened, PUNCH_HOLE | KEEP_SIZE, offset, length)
        self.model.zero(offset, length)

    def zero(self):
        offset, length = self.extent(False)
        keep = self.chance.random() < 0.5
        self.note("zero", offset, length, keep)
        fallocate(self.opened, ZERO_RANGE | (KEEP_SIZE if keep else 0), offset, length)
        if not keep:
            self.model.grow(offset + length)
        self.model.zero(offset, length)

    def allocate(self):
        offset, length = self.extent(False)
        keep = self.chance.random() < 0.5
        self.note("allocate", offset, length, keep)
        fallocate(self.opened, KEEP_SIZE if keep else 0, offset, length)
        if not keep:
            self.model.grow(offset + length)

    def copy(self):
        offset, length = self.extent(True)
        target = self.chance.randrange(FILE_MAX)
        if length == 0 or (offset < target + length and target < offset + length):
            return
        self.note("copy", offset, length, target)
        data = bytes(self.model.bytes[offset:offset + length])
        os.fstat(self.opened)  # FUSE's copy_file_range goes by the size that the kernel last heard, and does not ask (D8)
        done = 0
        while done < length:
            copied = os.copy_file_range(self.opened, self.opened, length - done, offset + done, target + done)
            if copied == 0:
                raise AssertionError("copy_file_range ended early")
            done += copied
        self.model.write(target, data)

    def size(self):
        size = os.fstat(self.opened).st_size
        if size != len(self.model.bytes):
            raise AssertionError(f"size {size} instead of {len(self.model.bytes)}")

    def holes(self):
        """What SEEK_HOLE calls a hole reads as zeros."""
        at = 0
        while at < len(self.model.bytes):
            hole = os.lseek(self.opened, at, os.SEEK_HOLE)
            if hole >= len(self.model.bytes):
                return
            try:
                at = os.lseek(self.opened, hole, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                at = len(self.model.bytes)
            if any(self.model.bytes[hole:at]):
                raise AssertionError(f"a hole from {hole} to {at} where there is data")

    def sync(self):
        self.note("sync")
        os.fsync(self.opened)

    def compare(self, offset, found, wanted):
        if found == wanted:
            return
        at = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
        raise AssertionError(f"differs at byte {offset + at}: {len(found)} bytes instead of {len(wanted)}, "
                             f"{bytes(found[at:at + 8])!r} instead of {bytes(wanted[at:at + 8])!r}")

    def step(self):
        operation = self.chance.choices(
            (self.write, self.read, self.map_write, self.map_read, self.append, self.truncate, self.punch, self.zero, self.allocate,
             self.copy, self.size, self.holes, self.sync, self.reopen, self.elsewhere), (8, 8, 3, 3, 2, 2, 2, 2, 1, 3, 2, 1, 1, 4, 4))[0]
        operation()

    def end(self):
        for fd in [self.opened] + self.kept:
            os.close(fd)
        for path in self.paths:
            self.compare(0, read_file(path), bytes(self.model.bytes))


DIRECT = on_volume()  # XFS insists on alignment


class RandomOperations(PosixTest):
    def test_against_a_model(self):
        seed = int(os.environ.get("POSIX_SEED", time.time_ns() % 1000000))
        end = time.time() + float(os.environ.get("POSIX_SECONDS", 10))
        count = 0
        while time.time() < end:
            name = f"f{seed}"
            exercise = Exercise([self.path(name), self.at_other(name)], seed)
            try:
                for _ in range(300):
                    exercise.step()
                    count += 1
                exercise.end()
            except Exception as error:
                steps = "\n  ".join(" ".join(map(str, step)) for step in exercise.steps[-40:])
                raise AssertionError(f"seed {seed}, step {len(exercise.steps)}: {error}\nthe last steps:\n  {steps}") from error
            seed += 1
        print(f"{count} operations, last seed {seed - 1}", end=" ", flush=True)


STRIPE = 4096
STRIPES = 120


class OneFileByMany(PosixTest):
    """Processes on two mounts change one file at the same time, each the pages that are its own, and read them back all the while."""

    def test_each_its_own_pages(self):
        seed = int(os.environ.get("POSIX_SEED", time.time_ns() % 1000000))
        seconds = float(os.environ.get("POSIX_SECONDS", 10)) / 2
        os.truncate(write_file(self.path("f")), STRIPE * STRIPES)
        children = [self.child() for _ in range(4)]
        for i, child in enumerate(children):
            child.start(change_own_pages, (self.path if i % 2 else self.at_other)("f"), i, len(children), seed + i, seconds)
        wanted, count = bytearray(STRIPE * STRIPES), 0
        for i, child in enumerate(children):
            done, mine = child.result()
            count += done
            for page in range(i, STRIPES, len(children)):
                wanted[page * STRIPE:(page + 1) * STRIPE] = mine[page]
        for path in (self.path("f"), self.at_other("f")):
            data = read_file(path)
            wrong = [page for page in range(STRIPES) if data[page * STRIPE:(page + 1) * STRIPE] != wanted[page * STRIPE:(page + 1) * STRIPE]]
            self.assertEqual((len(data), wrong), (STRIPE * STRIPES, []), f"seed {seed}, {path}")
        print(f"{count} changes, seed {seed}", end=" ", flush=True)


def change_own_pages(path, first, step, seed, seconds):
    chance = random.Random(seed)
    mine = {page: bytearray(STRIPE) for page in range(first, STRIPES, step)}
    end, count = time.time() + seconds, 0
    fd = os.open(path, os.O_RDWR)
    while time.time() < end:
        count += 1
        page = chance.choice(list(mine))
        offset, length = chance.randrange(STRIPE), chance.randrange(1, STRIPE)
        length = min(length, STRIPE - offset)
        data = chance.randbytes(length)
        way = chance.choice(("write", "write", "direct", "map", "punch", "zero", "reopen"))
        if way == "reopen":
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
            continue
        if way in ("punch", "zero"):
            fallocate(fd, (PUNCH_HOLE if way == "punch" else ZERO_RANGE) | KEEP_SIZE, page * STRIPE + offset, length)
            data = bytes(length)
        elif way == "map":
            change_mapped(path, page * STRIPE, offset, data)
        elif way == "direct":
            mine[page][offset:offset + length] = data
            write_page_directly(path, page * STRIPE, mine[page])
        else:
            os.pwrite(fd, data, page * STRIPE + offset)
        mine[page][offset:offset + length] = data
        check_own_page(path, page, chance.choice((fd, None)), mine[page], f"seed {seed}, change {count} ({way})")
    os.close(fd)
    return count, {page: bytes(data) for page, data in mine.items()}


def change_mapped(path, page_at, offset, data):
    fd = os.open(path, os.O_RDWR)
    memory = mmap.mmap(fd, STRIPE, offset=page_at)
    memory[offset:offset + len(data)] = data
    memory.flush()
    memory.close()
    os.close(fd)


def write_page_directly(path, page_at, data):
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    memory = mmap.mmap(-1, STRIPE)
    memory[:] = bytes(data)
    os.pwritev(fd, [memory], page_at)
    os.close(fd)


def check_own_page(path, page, fd, wanted, what):
    """Through the handle that stays open (this mount has made all changes of the page), or a new one."""
    mine = os.open(path, os.O_RDONLY) if fd is None else fd
    found = os.pread(mine, STRIPE, page * STRIPE)
    if fd is None:
        os.close(mine)
    if found != wanted:
        raise AssertionError(f"{what}: page {page} read through {'a new' if fd is None else 'the open'} handle differs")


class ManyProcesses(PosixTest):
    """As fsstress: random names by several processes through both mounts; none may hang, and the tree is the same on both after."""

    def test_random_names(self):
        seed = int(os.environ.get("POSIX_SEED", time.time_ns() % 1000000))
        seconds = float(os.environ.get("POSIX_SECONDS", 10))
        children = [self.child() for _ in range(4)]
        for i, child in enumerate(children):
            child.start(stress, self.dir if i % 2 else self.other, seed + i, seconds)
        print(sum(child.result() for child in children), "operations, seed", seed, end=" ", flush=True)
        time.sleep(1.1)
        here, there = tree(self.dir), tree(self.other)
        self.assertEqual({}, {path: (here.get(path), there.get(path)) for path in here.keys() | there.keys()
                              if here.get(path) != there.get(path)})


EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP, errno.EPERM,
            errno.ESPIPE, errno.EXDEV, errno.ESTALE, errno.EBUSY, errno.ENXIO, errno.EMLINK, errno.ENODATA}


# Moves put directories ever deeper: a fast disk gets them too deep for Python, and for a path.
OPERATIONS_MAX = 30000


def stress(top, seed, seconds):
    chance = random.Random(seed)
    end, count = time.time() + seconds, 0

    def name():
        depth = chance.randrange(1, 4)
        return os.path.join(top, *(chance.choice("abcdef") for _ in range(depth)))

    def write(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        os.pwrite(fd, chance.randbytes(chance.randrange(5000)), chance.randrange(10000))
        os.close(fd)

    operations = (
        lambda: write(name()), lambda: os.mkdir(name()), lambda: os.unlink(name()), lambda: os.rmdir(name()),
        lambda: os.rename(name(), name()), lambda: os.link(name(), name(), follow_symlinks=False), lambda: os.symlink(name(), name()),
        lambda: os.listdir(name()), lambda: os.stat(name()), lambda: os.truncate(name(), chance.randrange(20000)),
        lambda: renameat2(name(), name(), RENAME_EXCHANGE), lambda: renameat2(name(), name(), RENAME_NOREPLACE),
        lambda: os.chmod(name(), 0o755), lambda: os.setxattr(name(), "user.x", b"v"), lambda: os.mkfifo(name()),
        lambda: os.utime(name(), (1, 2)), lambda: os.readlink(name()))
    while time.time() < end and count < OPERATIONS_MAX:
        count += 1
        try:
            chance.choice(operations)()
        except OSError as error:
            if error.errno not in EXPECTED:
                raise
    return count


def tree(top):
    def failed(error):
        raise error

    found = {}
    for directory, _, files in os.walk(top, onerror=failed):
        for path in [directory] + [os.path.join(directory, f) for f in files]:
            s = os.lstat(path)
            found[os.path.relpath(path, top)] = (s.st_ino, s.st_mode, s.st_nlink, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    return found
