#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does random file operations in two directories at once, a volume's mount and an ordinary one, until the time is over:

    load.py MOUNT MIRROR SECONDS SEED [STOP-FILE]

Each operation is done in MOUNT first. Any error there, or a result that differs from MIRROR's, ends it with status 1. Run again with
another seed it goes on with what is there.
"""
import os
import random
import sys
import time


class Load:
    def __init__(self, mount, mirror, seed):
        self.roots = [mount, mirror]
        self.random = random.Random(seed)
        self.files, self.dirs = [], [""]
        for top, dirs, files in os.walk(mirror):
            relative = os.path.relpath(top, mirror)
            relative = "" if relative == "." else relative + "/"
            self.dirs += [relative + d + "/" for d in dirs]
            self.files += [relative + f for f in files]
        self.files.sort()
        self.dirs.sort()
        self.count = 0
        self.serial = seed * 1000000

    def both(self, function):
        results = []
        for root in self.roots:
            try:
                results.append(function(root))
            except OSError as error:
                results.append(error.errno)
        if results[0] != results[1]:
            raise SystemExit(f"load: operation {self.count}: {results[0]!r} in the volume, {results[1]!r} in the mirror")
        self.count += 1
        return results[0]

    def new_name(self):
        self.serial += 1
        return self.random.choice(self.dirs) + f"n{self.serial}"

    def create(self):
        name, data = self.new_name(), self.random.randbytes(self.random.choice([0, 10, 3000, 5000, 200000]))

        def make(root):
            with open(root + "/" + name, "xb") as file:
                file.write(data)
        self.both(make)
        self.files.append(name)

    def mkdir(self):
        if len(self.dirs) > 40:
            return self.rmdir()
        name = self.new_name()
        self.both(lambda root: os.mkdir(root + "/" + name))
        self.dirs.append(name + "/")

    def rmdir(self):
        name = self.random.choice(self.dirs)
        if name and self.both(lambda root: os.rmdir(root + "/" + name)) is None:
            self.dirs.remove(name)

    def pick(self):
        return self.random.choice(self.files)

    def append(self):
        name, data = self.pick(), self.random.randbytes(self.random.randrange(1, 9000))

        def add(root):
            with open(root + "/" + name, "ab") as file:
                file.write(data)
        self.both(add)

    def overwrite(self):
        name, data, offset = self.pick(), self.random.randbytes(self.random.randrange(1, 70000)), self.random.randrange(100000)

        def change(root):
            fd = os.open(root + "/" + name, os.O_WRONLY)
            try:
                os.pwrite(fd, data, offset)
                if offset % 7 == 0:
                    os.fsync(fd)
            finally:
                os.close(fd)
        self.both(change)

    def truncate(self):
        name, size = self.pick(), self.random.randrange(150000)
        self.both(lambda root: os.truncate(root + "/" + name, size))

    def unlink(self):
        name = self.pick()
        self.both(lambda root: os.unlink(root + "/" + name))
        self.files.remove(name)

    def rename(self):
        old, new = self.pick(), self.random.choice([self.new_name(), self.pick()])
        if old == new:
            return
        self.both(lambda root: os.rename(root + "/" + old, root + "/" + new))
        if not os.path.lexists(self.roots[1] + "/" + old):
            self.files.remove(old)
        if new not in self.files:
            self.files.append(new)

    def rewrite(self):
        name, data = self.pick(), self.random.randbytes(self.random.choice([100, 100000]))

        def replace(root):
            with open(root + "/" + name + ".tmp", "wb") as file:
                file.write(data)
            os.rename(root + "/" + name + ".tmp", root + "/" + name)
        self.both(replace)

    def link(self):
        old, new = self.pick(), self.new_name()
        self.both(lambda root: os.link(root + "/" + old, root + "/" + new))
        self.files.append(new)

    def chmod(self):
        name, mode = self.pick(), self.random.choice([0o600, 0o644, 0o755, 0o4711])
        self.both(lambda root: os.chmod(root + "/" + name, mode))

    def xattr(self):
        name, value = self.pick(), self.random.randbytes(self.random.randrange(200))
        self.both(lambda root: os.setxattr(root + "/" + name, "user.load", value))

    def symlink(self):
        name, target = self.new_name(), "somewhere/%d" % self.random.randrange(1000)
        self.both(lambda root: os.symlink(target, root + "/" + name))

    def step(self):
        operations = [self.create] * 6
        if self.files:
            operations += [self.append, self.overwrite, self.truncate, self.rename, self.rewrite, self.link, self.chmod,
                           self.xattr, self.unlink, self.unlink] + [self.unlink] * (4 if len(self.files) > 400 else 0)
        operations += [self.mkdir, self.rmdir, self.symlink]
        self.random.choice(operations)()


def main():
    mount, mirror, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    stop = sys.argv[5] if len(sys.argv) > 5 else None
    load = Load(mount, mirror, seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (stop and os.path.exists(stop)):
        load.step()
    print(load.count)


main()
