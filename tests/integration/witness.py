#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application that changes a tree of its own on a mount, call by call, and knows all the time what must be there, also when the
mount breaks in the midst of a call:

    witness.py SEED STOP-FILE DIR [OTHER...] [--breaks] [--expires] [--full]

DIR: an empty or missing directory on a mount; OTHER: the same directory through other mounts, read at random and compared.
Works until STOP-FILE exists, then looks at the whole tree through each mount. Status 1 and a sentence: a call failed, a byte, a name or an
attribute is not what was acknowledged, or something is there that nobody made. --breaks: calls may end with ENOTCONN (mount.polder
was killed). Then it waits until DIR is there again and compares the tree; the call that was cut off has happened or not.
--expires: the same for EIO and ESTALE (the session of the mount may end while it is away for too long). --full: the same for ENOSPC
and EIO (somebody else takes the brick's last blocks), until there is room again.

What counts as a promise: an acknowledged call; for bytes that were written through a mapping, the msync or fsync after them.
A file's bytes are blocks that each name the file, their place and their version, so that a wrong one tells where it comes from.
"""
import errno
import hashlib
import mmap
import os
import random
import stat
import sys
import time

BLOCK = 4096
BLOCKS_MAX = 40
FILES_MAX = 150
OLD_NAMES_S = 1.2  # how long another mount's kernel may believe a name (docs/coherence.md, C7)
PATIENCE_S = 180  # for a mount to come back
BROKEN = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV)
EXPIRED = (errno.EIO, errno.ESTALE)
FULL = (errno.ENOSPC, errno.EIO)


class Broken(Exception):
    """The mount is gone."""


class Wrong(Exception):
    """A promise is broken."""


def block(file, number, version):
    """version: 0 a hole; bytes: as a call that was cut off has left it."""
    if isinstance(version, bytes):
        return version
    if version == 0:
        return bytes(BLOCK)
    name = b"file %d, block %d, version %d\n" % (file, number, version)
    return name + hashlib.shake_128(name).digest(BLOCK - len(name))


class Object:
    """A file, directory or symbolic link, as it must be. Where a call is under way (or only mapped bytes have changed) there are several
    possibilities, the oldest first."""

    def __init__(self, serial, kind, mode, target=""):
        self.serial, self.kind, self.modes, self.target = serial, kind, [mode], target
        self.blocks = {}  # number: possible versions; absent: [0]
        self.sizes = [0]  # in blocks
        self.values = [None]  # of the attribute user.witness
        self.names = set()

    def versions(self, number):
        return self.blocks.setdefault(number, [0])

    def forget_from(self, size):
        for number in [n for n in self.blocks if n >= size]:
            del self.blocks[number]


class Witness:
    def __init__(self, seed, tops, may_break):  # may_break: by which errors
        self.chance = random.Random(seed)
        self.seed, self.tops, self.may_break = seed, tops, may_break
        self.objects = {}  # by path relative to the top; "" is the top itself
        self.gone = {}  # paths that were there: since when not
        self.changed_at = {}  # paths: when this name last came to mean what it does
        self.handles = []  # (fd, Object), some without a name
        self.pending = None  # what a call that was cut off would have done
        self.serial = 0
        self.counts = {"calls": 0, "synced": 0, "breaks": 0, "looks": 0}
        self.last = []

    # ---- calls ----

    def call(self, what, function, *arguments, done=None, **named):
        """Its effect on the model (done) belongs to it: when the call is cut off, both are possible."""
        self.last = self.last[-30:] + [what]
        self.counts["calls"] += 1
        try:
            result = function(*arguments, **named)
        except OSError as error:
            if error.errno in self.may_break:
                self.pending = done
                raise Broken(what)
            raise Wrong(f"{what}: {error}")
        if done:
            done()
        return result

    def at(self, path, top=0):
        return os.path.join(self.tops[top], path) if path else self.tops[top]

    def new_name(self):
        self.serial += 1
        parent = self.chance.choice([p for p, o in self.objects.items() if o.kind == "dir"])
        return os.path.join(parent, f"n{self.serial}")

    def pick(self, kind="file"):
        found = [p for p, o in self.objects.items() if o.kind == kind and p]
        return self.chance.choice(found) if found else None

    def put(self, path, thing):
        self.objects[path] = thing
        thing.names.add(path)
        self.changed_at[path] = time.monotonic()
        self.gone.pop(path, None)

    def take(self, path):
        thing = self.objects.pop(path)
        thing.names.discard(path)
        self.gone[path] = time.monotonic()
        return thing

    # ---- names ----

    def create(self):
        path, thing = self.new_name(), Object(self.serial, "file", 0o644)
        fd = self.call(f"create {path}", os.open, self.at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644,
                       done=lambda: self.put(path, thing))
        self.handles.append((fd, thing))
        self.write_blocks(fd, thing, 0, self.chance.choice((0, 1, 3, 30)))
        if self.chance.random() < 0.3:
            self.sync_fd(fd, thing)
        if self.chance.random() < 0.9 or len(self.handles) > 8:
            self.close(fd)

    def close(self, fd):
        self.handles = [h for h in self.handles if h[0] != fd]
        self.call("close", os.close, fd)

    def mkdir(self):
        path = self.new_name()
        self.call(f"mkdir {path}", os.mkdir, self.at(path), 0o755, done=lambda: self.put(path, Object(self.serial, "dir", 0o755)))

    def symlink(self):
        path, target = self.new_name(), f"to/{self.serial}"
        self.call(f"symlink {path}", os.symlink, target, self.at(path),
                  done=lambda: self.put(path, Object(self.serial, "link", 0o777, target)))

    def link(self):
        path, new = self.pick(), self.new_name()
        if path:
            self.call(f"link {path} {new}", os.link, self.at(path), self.at(new), done=lambda: self.put(new, self.objects[path]))

    def unlink(self):
        path = self.pick(self.chance.choice(("file", "file", "file", "link")))
        if path:
            self.call(f"unlink {path}", os.unlink, self.at(path), done=lambda: self.take(path))

    def rmdir(self):
        path = self.pick("dir")
        if path and not any(p.startswith(path + "/") for p in self.objects):
            self.call(f"rmdir {path}", os.rmdir, self.at(path), done=lambda: self.take(path))

    def rename(self):
        path = self.pick()
        over = self.pick() if self.chance.random() < 0.4 else None
        if not path or (over and self.objects[over] is self.objects[path]):
            return  # two names of one file: rename does nothing
        self.move(path, over or self.new_name())

    def move(self, path, new):
        def done():
            if new in self.objects:
                self.take(new)
            self.put(new, self.take(path))
        self.call(f"rename {path} {new}", os.rename, self.at(path), self.at(new), done=done)

    def move_directory(self):
        path, new = self.pick("dir"), self.new_name()
        if not path or new.startswith(path + "/"):
            return

        def done():
            for below in [p for p in self.objects if p == path or p.startswith(path + "/")]:
                self.put(new + below[len(path):], self.take(below))
        self.call(f"rename {path} {new}", os.rename, self.at(path), self.at(new), done=done)

    def rewrite(self):
        """As editors do it."""
        path, new = self.pick(), self.new_name()
        if not path:
            return
        thing = Object(self.serial, "file", 0o644)
        fd = self.call(f"create {new}", os.open, self.at(new), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644,
                       done=lambda: self.put(new, thing))
        self.handles.append((fd, thing))
        self.write_blocks(fd, thing, 0, self.chance.choice((1, 5)))
        self.sync_fd(fd, thing)
        self.close(fd)
        self.move(new, path)

    # ---- attributes ----

    def settle_to(self, possible):
        def done():
            del possible[:-1]
        return done

    def chmod(self):
        path, mode = self.pick(), self.chance.choice((0o600, 0o640, 0o755, 0o444))
        if path:
            modes = self.objects[path].modes
            modes.append(mode)
            self.call(f"chmod {path} {mode:o}", os.chmod, self.at(path), mode, done=self.settle_to(modes))

    def set_value(self):
        path = self.pick(self.chance.choice(("file", "dir")))
        if path:
            values = self.objects[path].values
            values.append(self.chance.randbytes(self.chance.randrange(1, 300)))
            self.call(f"setxattr {path}", os.setxattr, self.at(path), "user.witness", values[-1], done=self.settle_to(values))

    # ---- bytes ----

    def write_blocks(self, fd, thing, first, count, write=os.pwrite):
        data = b""
        for number in range(first, first + count):
            versions = thing.versions(number)
            self.serial += 1
            versions.append(self.serial)
            data += block(thing.serial, number, self.serial)
        if not count:
            return
        thing.sizes.append(max(thing.sizes[-1], first + count))

        def done():
            del thing.sizes[:-1]
            for number in range(first, first + count):
                del thing.blocks[number][:-1]
        written = self.call(f"write file {thing.serial} from {first}, {count}", write, fd, data, first * BLOCK, done=done)
        if written != len(data):
            raise Wrong(f"short write to file {thing.serial}: {written} of {len(data)} bytes")

    def opened(self, flags=0):
        """A handle that is open already, or a new one; and what it is of."""
        if self.handles and self.chance.random() < 0.3 and not flags:
            return self.chance.choice(self.handles)
        path = self.pick()
        if not path:
            return None, None
        thing = self.objects[path]
        fd = self.call(f"open {path}", os.open, self.at(path), os.O_RDWR | flags)
        self.handles.append((fd, thing))
        return fd, thing

    def done_with(self, fd):
        if len(self.handles) > 4:
            self.close(fd)

    def write(self):
        fd, thing = self.opened()
        if thing:
            self.write_blocks(fd, thing, self.chance.randrange(BLOCKS_MAX), self.chance.choice((1, 1, 2, 16)))
            if self.chance.random() < 0.2:
                self.sync_fd(fd, thing)
            self.done_with(fd)

    def write_directly(self):
        def directly(fd, data, at):
            memory = mmap.mmap(-1, len(data))
            memory[:] = data
            return os.pwritev(fd, [memory], at)
        fd, thing = self.opened(os.O_DIRECT)
        if thing:
            self.write_blocks(fd, thing, self.chance.randrange(BLOCKS_MAX), self.chance.choice((1, 4)), directly)
            self.close(fd)

    def append(self):
        fd, thing = self.opened(os.O_APPEND)
        if thing:
            if thing.sizes[-1] < 2 * BLOCKS_MAX:
                self.write_blocks(fd, thing, thing.sizes[-1], self.chance.choice((1, 2)), lambda f, data, _: os.write(f, data))
            self.close(fd)

    def write_mapped(self):
        """In a process of its own: where the mount breaks there is SIGBUS."""
        path = self.pick()
        thing = self.objects[path] if path else None
        if not thing or thing.sizes[-1] == 0:
            return
        number, sync = self.chance.randrange(thing.sizes[-1]), self.chance.random() < 0.5
        self.serial += 1
        thing.versions(number).append(self.serial)
        if self.in_child(map_and_write, self.at(path), number, block(thing.serial, number, self.serial), sync) != 0:
            if not self.may_break:
                raise Wrong(f"writing block {number} of {path} through a mapping failed")
            raise Broken(f"map {path}")
        if sync:
            del thing.blocks[number][:-1]
            self.counts["synced"] += 1

    def in_child(self, function, *arguments):
        self.counts["calls"] += 1
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function(*arguments)
                status = 0
            except OSError as error:
                print(f"witness: through a mapping: {error}", file=sys.stderr)
            finally:
                os._exit(status)
        return os.waitpid(pid, 0)[1]

    def truncate(self):
        fd, thing = self.opened()
        if thing:
            size = self.chance.randrange(BLOCKS_MAX)
            # Blocks that a cut-off call may have removed: a hole is possible as well.
            for number in [n for n in thing.blocks if n >= size]:
                thing.blocks[number].append(0)
            thing.sizes.append(size)

            def done():
                del thing.sizes[:-1]
                thing.forget_from(size)
            self.call(f"truncate file {thing.serial} to {size}", os.ftruncate, fd, size * BLOCK, done=done)
            self.done_with(fd)

    def sync_fd(self, fd, thing):
        self.call(f"fsync file {thing.serial}", os.fsync, fd)
        self.counts["synced"] += 1
        for versions in thing.blocks.values():
            del versions[:-1]  # what was written through a mapping

    def sync(self):
        fd, thing = self.opened()
        if thing:
            self.sync_fd(fd, thing)
            self.done_with(fd)

    # ---- looking ----

    def read_back(self):
        """A file, wherever its name is not news any more; through an open handle, too."""
        if self.handles and self.chance.random() < 0.3:
            fd, thing = self.chance.choice(self.handles)
            self.compare_bytes(f"file {thing.serial} ({'open' if thing.names else 'open, no name'})", fd, thing, False)
            return
        top, path = self.chance.randrange(len(self.tops)), self.pick()
        if path and (top == 0 or self.is_old(path)):
            self.look_at_file(path, top, False)

    def is_old(self, path):
        while path:
            if time.monotonic() - self.changed_at[path] < OLD_NAMES_S:
                return False
            path = os.path.dirname(path)
        return True

    def gone_stays_gone(self):
        if not self.gone:
            return
        path, top = self.chance.choice(list(self.gone)), self.chance.randrange(len(self.tops))
        since = self.gone[path]
        if top > 0 and time.monotonic() - since < OLD_NAMES_S:
            return
        try:
            os.lstat(self.at(path, top))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.broke(f"lstat {path}", error)
        raise Wrong(f"{path} was removed, and is there in {self.tops[top]}")

    def broke(self, what, error):
        if error.errno in self.may_break:
            raise Broken(what)
        raise Wrong(f"{what}: {error}")

    def look_at_file(self, path, top, settle):
        try:
            fd = os.open(self.at(path, top), os.O_RDONLY)
        except OSError as error:
            self.broke(f"open {self.at(path, top)}", error)
        try:
            self.compare_bytes(self.at(path, top), fd, self.objects[path], settle)
        finally:
            close_quietly(fd)

    def compare_bytes(self, name, fd, thing, settle):
        self.counts["looks"] += 1
        data = b""
        try:
            while piece := os.pread(fd, 1 << 20, len(data)):
                data += piece
        except OSError as error:
            self.broke(f"read {name}", error)
        if len(data) % BLOCK or len(data) // BLOCK not in thing.sizes:
            raise Wrong(f"{name} has {len(data)} bytes, not {[s * BLOCK for s in thing.sizes]}")
        for number in range(len(data) // BLOCK):
            found = data[number * BLOCK:(number + 1) * BLOCK]
            self.compare_block(name, thing, number, found, settle)
        if settle:
            thing.sizes = [len(data) // BLOCK]
            thing.forget_from(thing.sizes[0])

    def compare_block(self, name, thing, number, found, settle):
        possible = thing.blocks.get(number, [0])
        wanted = [block(thing.serial, number, version) for version in possible]
        if found in wanted:
            chosen = possible[wanted.index(found)]
        elif len(possible) > 1 and all(byte in at for byte, at in zip(found, zip(*wanted))):
            chosen = found  # a call that was cut off has done a part of it
        else:
            raise Wrong(f"{name}, block {number}: holds {found[:50]!r}, not {' or '.join(repr(w[:50]) for w in wanted)}")
        if settle:
            thing.blocks[number] = [chosen]

    def look_at_all(self, top, settle=False):
        """The whole tree. settle: what is found is from now on the only possibility."""
        found = set()
        for directory, names, files in os.walk(self.at("", top), onerror=self.walk_failed):
            for name in names + files:
                found.add(os.path.relpath(os.path.join(directory, name), self.tops[top]))
        wanted = {path for path in self.objects if path}
        if found != wanted:
            raise Wrong(f"{self.tops[top]}: missing: {sorted(wanted - found)[:5]}, nobody made: {sorted(found - wanted)[:5]}")
        for path, thing in self.objects.items():
            self.look_at_object(path, thing, top, settle)

    def walk_failed(self, error):
        self.broke("list", error)

    def look_at_object(self, path, thing, top, settle):
        try:
            self.look_at_it(thing, self.at(path, top), settle)
        except OSError as error:
            self.broke(f"look at {self.at(path, top)}", error)
        if thing.kind == "file":
            self.look_at_file(path, top, settle)

    def look_at_it(self, thing, name, settle):
        status = os.lstat(name)
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}[stat.S_IFMT(status.st_mode)]
        mode = stat.S_IMODE(status.st_mode)
        links = status.st_nlink if kind == "file" else len(thing.names)
        if (kind, links) != (thing.kind, len(thing.names)) or (kind != "link" and mode not in thing.modes):
            raise Wrong(f"{name} is a {kind} with {links} links and mode {mode:o}, not a {thing.kind} with {len(thing.names)} and "
                        f"{[oct(m) for m in thing.modes]}")
        if kind == "link":
            if os.readlink(name) != thing.target:
                raise Wrong(f"{name} points to {os.readlink(name)}, not {thing.target}")
            return
        value = os.getxattr(name, "user.witness") if "user.witness" in os.listxattr(name) else None
        if value not in thing.values:
            raise Wrong(f"{name}: user.witness is {value!r}, not {thing.values}")
        if settle:
            thing.modes, thing.values = [mode], [value]

    # ---- the whole ----

    def mount_is_back(self):
        """Handles of before are dead. The call that was cut off has happened, or not."""
        self.counts["breaks"] += 1
        for fd, _ in self.handles:
            close_quietly(fd)
        self.handles = []
        wait_for(self.at(""), self.may_break)
        try:
            self.look_at_all(0, settle=True)
            self.pending = None
        except Wrong as first:
            if self.pending is None:
                raise
            self.pending()
            self.pending = None
            try:
                self.look_at_all(0, settle=True)
            except Wrong as second:
                raise Wrong(f"{first}; had the call that was cut off happened: {second}")

    def step(self):
        operations = {self.create: 6, self.mkdir: 1, self.symlink: 1, self.link: 2, self.unlink: 3, self.rmdir: 1, self.rename: 3,
                      self.move_directory: 0.3, self.rewrite: 3, self.chmod: 2, self.set_value: 2, self.write: 10, self.write_directly: 2,
                      self.append: 5, self.write_mapped: 3, self.truncate: 2, self.sync: 2, self.read_back: 10, self.gone_stays_gone: 3}
        if len(self.objects) > FILES_MAX:
            operations[self.unlink] += 10
            operations[self.mkdir] = 0
        if errno.EIO in self.may_break:
            # Bytes that could not be written back stay in the page cache as if they had been: looking there settles nothing.
            operations[self.write_mapped] = 0
        self.chance.choices(list(operations), list(operations.values()))[0]()

    def start(self):
        if not os.path.isdir(self.at("")):
            os.mkdir(self.at(""))
        self.objects[""] = Object(0, "dir", stat.S_IMODE(os.stat(self.at("")).st_mode))
        self.objects[""].names.add("")
        self.changed_at[""] = time.monotonic()

    def run(self, stop):
        self.start()
        while not os.path.exists(stop):
            try:
                self.step()
            except Broken:
                self.come_back()
        for fd, thing in self.handles:
            self.compare_bytes(f"file {thing.serial}, open", fd, thing, False)
            os.close(fd)
        print(f"witness {self.seed}: at rest", flush=True)
        time.sleep(OLD_NAMES_S)
        for top in range(len(self.tops)):
            self.look_at_all(top)

    def come_back(self):
        """The mount may break again while it is looked at."""
        for _ in range(20):
            try:
                return self.mount_is_back()
            except Broken:
                pass
        raise Wrong("the mount breaks again and again")


def map_and_write(path, number, data, sync):
    fd = os.open(path, os.O_RDWR)
    memory = mmap.mmap(fd, BLOCK, offset=number * BLOCK)
    memory[:] = data
    if sync:
        memory.flush()
    memory.close()
    os.close(fd)


def close_quietly(fd):
    """Of a handle that has changed nothing, or whose mount is gone."""
    try:
        os.close(fd)
    except OSError:
        pass


def wait_for(path, errors):
    """Until the mount is there, and there is room: then a call that was refused for lack of it has been taken back, too."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            os.listdir(path)
            if errno.ENOSPC in errors:
                probe = path + "/probe"
                if os.path.isdir(probe):  # one that was refused and happened
                    os.rmdir(probe)
                os.mkdir(probe)
                os.rmdir(probe)
            return
        except OSError as error:
            # ENOENT: the mount point itself, between umount and mount.
            if error.errno not in errors + (errno.ENOENT,) or time.monotonic() > end:
                raise Wrong(f"{path} does not come back: {error}")
        time.sleep(0.05)


def main():
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    seed, stop, tops = int(words[0]), words[1], words[2:]
    witness = Witness(seed, tops, BROKEN * ("--breaks" in sys.argv) + EXPIRED * ("--expires" in sys.argv) + FULL * ("--full" in sys.argv))
    try:
        witness.run(stop)
    except Wrong as wrong:
        calls = "\n  ".join(witness.last[-12:])
        sys.exit(f"witness {seed}, call {witness.counts['calls']}: {wrong}\nthe last calls:\n  {calls}")
    print("witness %d: %d calls, %d fsynced, %d files read, %d times broken" % (seed, *(witness.counts[k] for k in ("calls", "synced", "looks", "breaks"))))


if __name__ == "__main__":
    main()
