# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: making, finding, linking, renaming, removing; limits of names, paths and links; who may."""
import errno
import os
import socket
import stat

from support import *

MAKERS = {
    "file": lambda path: write_file(path),
    "dir": os.mkdir,
    "symlink": lambda path: os.symlink("nowhere", path),
    "fifo": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o644),
    "chr": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "blk": lambda path: os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 250)),
}
TYPES = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO,
         "socket": stat.S_IFSOCK, "chr": stat.S_IFCHR, "blk": stat.S_IFBLK}


class Making(PosixTest):
    def test_every_type_is_made_with_type_owner_links_and_times(self):
        for kind, make in MAKERS.items():
            path = self.path(kind)
            self.times_change(self.dir, lambda: make(path), changed="mc", same="a")
            status = os.lstat(path)
            self.assertEqual(stat.S_IFMT(status.st_mode), TYPES[kind])
            self.assertEqual((status.st_uid, status.st_gid), (0, 0))
            self.assertEqual(status.st_atime_ns, status.st_mtime_ns)
            self.assertGreaterEqual(status.st_ctime_ns, status.st_mtime_ns)
            if kind != "dir":
                self.assertEqual(status.st_nlink, 1)
            self.assertEqual(os.lstat(self.at_other(kind)).st_ino, status.st_ino)
        self.assertEqual(os.stat(self.path("chr")).st_rdev, os.makedev(1, 3))
        self.assertEqual(os.stat(self.path("blk")).st_rdev, os.makedev(7, 250))

    def test_large_device_numbers(self):
        os.mknod(self.path("node"), stat.S_IFCHR | 0o600, os.makedev(0x1ff, 0x3ffff))
        self.assertEqual(os.stat(self.path("node")).st_rdev, os.makedev(0x1ff, 0x3ffff))

    def test_special_files_work(self):
        MAKERS["chr"](self.path("null"))
        fd = self.open("null", os.O_RDWR)
        self.assertEqual((os.write(fd, b"gone"), os.read(fd, 10)), (4, b""))
        os.mkfifo(self.path("fifo"))
        reader = self.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
        writer = self.open("fifo", os.O_WRONLY)
        os.write(writer, b"through")
        self.assertEqual(os.read(reader, 10), b"through")
        os.mkfifo(self.path("unread"))
        self.fails(errno.ENXIO, os.open, self.path("unread"), os.O_WRONLY | os.O_NONBLOCK)
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        os.chdir(self.dir)
        self.addCleanup(os.chdir, "/")
        server.bind("listening")
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect("listening")
        second = socket.socket(socket.AF_UNIX)
        self.addCleanup(second.close)
        self.fails(errno.EADDRINUSE, second.bind, "listening")

    def test_existing_names_are_refused_for_every_pair_of_types(self):
        for there, make in MAKERS.items():
            make(self.path(there))
            for kind, other in MAKERS.items():
                if kind == "file":
                    self.fails(errno.EEXIST, os.open, self.path(there), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                else:
                    self.fails(errno.EEXIST, other, self.path(there))
            write_file(self.path("source"))
            self.fails(errno.EEXIST, os.link, self.path("source"), self.path(there))

    def test_modes_and_umask(self):
        for umask in (0, 0o022, 0o077, 0o777, 0o137):
            os.umask(umask)
            for kind, call in {"f": lambda p, m: os.close(os.open(p, os.O_CREAT | os.O_WRONLY, m)), "d": os.mkdir,
                               "p": os.mkfifo, "n": lambda p, m: os.mknod(p, stat.S_IFREG | m)}.items():
                for mode in (0, 0o644, 0o777, 0o1755):
                    path = self.path(f"{kind}{umask:o}-{mode:o}")
                    call(path, mode)
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode & ~umask, path)

    def test_below_what_is_not_a_directory(self):
        write_file(self.path("file"))
        os.symlink("file", self.path("link"))
        for make in MAKERS.values():
            self.fails(errno.ENOTDIR, make, self.path("file", "x"))
            self.fails(errno.ENOTDIR, make, self.path("link", "x"))
            self.fails(errno.ENOENT, make, self.path("missing", "x"))
        for look in (os.stat, os.lstat, os.unlink, os.rmdir, os.readlink, os.listdir):
            self.fails(errno.ENOTDIR, look, self.path("file", "x"))
        self.fails(errno.ENOTDIR, os.stat, self.path("file") + "/")
        self.fails(errno.ENOTDIR, os.open, self.path("file"), os.O_DIRECTORY)

    def test_in_a_removed_directory(self):
        os.mkdir(self.path("gone"))
        fd = self.open("gone", os.O_RDONLY)
        os.rmdir(self.path("gone"))
        self.fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        self.fails(errno.ENOENT, os.mkdir, "x", dir_fd=fd)
        self.fails(errno.ENOENT, os.symlink, "y", "x", dir_fd=fd)
        try:
            self.assertEqual(os.fstat(fd).st_nlink, 0)
            self.assertEqual(os.listdir(fd), [])
        except OSError as error:  # docs/coherence.md: only files live on
            self.assertEqual(error.errno, errno.ESTALE if on_volume() else 0)

    def test_tmpfile(self):
        try:
            fd = self.open(self.dir, os.O_TMPFILE | os.O_RDWR)
        except OSError as error:
            self.assertEqual(error.errno, errno.EOPNOTSUPP)  # docs/coherence.md: programs fall back to a name
            return
        os.write(fd, b"nameless")
        link_fd(fd, self.path("named"))
        self.assertEqual(read_file(self.path("named")), b"nameless")


class Limits(PosixTest):
    def test_name_of_255_bytes_and_one_more(self):
        longest, more = "n" * 255, "n" * 256
        for kind, make in MAKERS.items():
            make(self.path(longest))
            self.assertEqual(os.listdir(self.dir), [longest])
            os.rename(self.path(longest), self.path("m" * 255))
            (os.rmdir if kind == "dir" else os.unlink)(self.path("m" * 255))
            self.fails(errno.ENAMETOOLONG, make, self.path(more))
        write_file(self.path("f"))
        for call in (os.stat, os.unlink, os.rmdir, os.readlink, lambda p: os.rename(self.path("f"), p),
                     lambda p: os.link(self.path("f"), p), lambda p: os.rename(p, self.path("f"))):
            self.fails(errno.ENAMETOOLONG, call, self.path(more))

    def test_names_of_any_bytes(self):
        names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
        names += [b"...", b" ", b"\n\n", b"\xff\xfe", "ü".encode(), "u\u0308".encode(), b"a\\b", b"-rf", b"*", b".polder", b"trusted.polder"]
        names = sorted(set(names))
        for name in names:
            write_file(os.path.join(os.fsencode(self.dir), name), name)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.dir))), names)
        for name in names:
            self.assertEqual(read_file(os.path.join(os.fsencode(self.other), name)), name)

    def test_path_of_4095_bytes_and_one_more(self):
        os.chdir(self.dir)
        self.addCleanup(os.chdir, "/")
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        os.chdir(self.dir)
        path = self.dir
        while len(path) + 201 < 4090:
            path += "/" + "d" * 200
        path += "/"
        name = "x" * (4095 - len(path))
        write_file(path + name, b"deep")
        self.assertEqual(read_file(path + name), b"deep")
        self.fails(errno.ENAMETOOLONG, os.stat, path + name + "y")
        self.fails(errno.ENAMETOOLONG, os.symlink, "x" * 4096, self.path("link"))

    def test_symlinks_at_their_limit_and_loops(self):
        longest = longest_symlink(self.path("try"))
        target = "./" * (longest // 2 - 4) + "file"
        write_file(self.path("file"), b"found")
        os.symlink(target, self.path("long"))
        self.assertEqual(os.readlink(self.at_other("long")), target)
        self.assertEqual(os.lstat(self.path("long")).st_size, len(target))
        self.assertEqual(read_file(self.path("long")), b"found")
        os.symlink("y" * longest, self.path("longest"))
        self.assertEqual(os.readlink(self.at_other("longest")), "y" * longest)
        self.fails(errno.ENAMETOOLONG, os.symlink, "y" * (longest + 1), self.path("longer"))
        self.fails(errno.ENOENT, os.symlink, "", self.path("empty"))
        os.symlink("b", self.path("a"))
        os.symlink("a", self.path("b"))
        for call in (os.stat, os.listdir, lambda p: os.open(p, os.O_RDONLY), lambda p: os.chmod(p, 0), lambda p: os.mkdir(p + "/x")):
            self.fails(errno.ELOOP, call, self.path("a"))
        self.fails(errno.ELOOP, os.open, self.path("long"), os.O_RDONLY | os.O_NOFOLLOW)
        # 40 are followed, as anywhere in Linux.
        last = "file"
        for i in range(41):
            os.symlink(last, self.path(f"chain{i}"))
            last = f"chain{i}"
        self.assertEqual(read_file(self.path("chain39")), b"found")
        self.fails(errno.ELOOP, os.stat, self.path("chain40"))

    def test_two_thousand_hard_links(self):
        write_file(self.path("file"), b"one")
        os.mkdir(self.path("d"))
        for i in range(2000):
            os.link(self.path("file"), self.path("d", f"link{i}"))
        self.assertEqual(os.stat(self.at_other("d", "link1999")).st_nlink, 2001)
        for i in range(0, 2000, 2):
            os.unlink(self.path("d", f"link{i}"))
        self.assertEqual(os.stat(self.path("file")).st_nlink, 1001)
        os.unlink(self.path("file"))
        self.assertEqual(read_file(self.at_other("d", "link1")), b"one")


class Links(PosixTest):
    def test_link_of_every_type(self):
        for kind, make in MAKERS.items():
            make(self.path(kind))
            if kind == "dir":
                self.fails(errno.EPERM, os.link, self.path(kind), self.path("dir2"))
                continue
            path = self.path(kind)
            self.times_change(path, lambda: os.link(path, path + "2", follow_symlinks=False), changed="c", same="am")
            self.assertEqual(os.lstat(path + "2").st_ino, os.lstat(path).st_ino)
            self.assertEqual(os.lstat(self.at_other(kind)).st_nlink, 2)
            self.times_change(path, lambda: os.unlink(path + "2"), changed="c", same="am")
            self.assertEqual(os.lstat(path).st_nlink, 1)

    def test_errors(self):
        self.fails(errno.ENOENT, os.link, self.path("missing"), self.path("x"))
        write_file(self.path("f"))
        self.fails(errno.EEXIST, os.link, self.path("f"), self.path("f"))
        self.fails(errno.ENOENT, os.link, self.path("f"), self.path("missing", "x"))
        self.fails(errno.ENOTDIR, os.link, self.path("f"), self.path("f", "x"))
        self.fails(errno.ENOENT, os.link, self.path("f"), self.path("x") + "/")

    def test_symlinks_are_what_they_say(self):
        os.symlink("target", self.path("link"))
        self.fails(errno.EINVAL, os.readlink, self.dir)
        self.fails(errno.ENOENT, os.stat, self.path("link"))
        fd = os.open(self.path("link"), os.O_CREAT | os.O_WRONLY)
        os.close(fd)
        self.assertTrue(os.path.exists(self.path("target")))
        self.fails(errno.EEXIST, os.open, self.path("link"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.assertEqual(stat.S_IMODE(os.lstat(self.path("link")).st_mode), 0o777)


class Removing(PosixTest):
    def test_unlink_every_type_changes_the_directory(self):
        for kind, make in MAKERS.items():
            make(self.path(kind))
            remove = os.rmdir if kind == "dir" else os.unlink
            self.times_change(self.dir, lambda: remove(self.path(kind)), changed="mc", same="a")
            self.fails(errno.ENOENT, os.lstat, self.path(kind))
            self.fails(errno.ENOENT, os.lstat, self.at_other(kind))
            self.fails(errno.ENOENT, remove, self.path(kind))

    def test_wrong_kind_of_removal(self):
        os.mkdir(self.path("d"))
        self.fails(errno.EISDIR, os.unlink, self.path("d"))
        for kind, make in MAKERS.items():
            if kind != "dir":
                make(self.path(kind))
                self.fails(errno.ENOTDIR, os.rmdir, self.path(kind))

    def test_rmdir_errors(self):
        os.makedirs(self.path("d", "e"))
        self.fails((errno.ENOTEMPTY, errno.EEXIST), os.rmdir, self.path("d"))
        self.fails(errno.EINVAL, os.rmdir, self.path("d", "e", "."))
        self.fails((errno.ENOTEMPTY, errno.EEXIST), os.rmdir, self.path("d", "e", ".."))
        os.rmdir(self.path("d", "e") + "/")
        write_file(self.at_other("d", "from-elsewhere"))
        self.fails((errno.ENOTEMPTY, errno.EEXIST), os.rmdir, self.path("d"))
        os.unlink(self.path("d", "from-elsewhere"))
        self.times_change(self.dir, lambda: os.rmdir(self.path("d")), changed="mc")

    def test_link_count_of_directories(self):
        # 1 everywhere, or 2 and the subdirectories: both tell find(1) the truth (docs/coherence.md).
        os.mkdir(self.path("d"))
        for i in range(3):
            os.mkdir(self.path("d", str(i)))
        self.assertIn(os.stat(self.path("d")).st_nlink, (1, 5))


class Renaming(PosixTest):
    def test_every_type_within_and_across_directories(self):
        os.mkdir(self.path("to"))
        for kind, make in MAKERS.items():
            make(self.path(kind))
            before = os.lstat(self.path(kind))
            self.times_change(self.dir, lambda: os.rename(self.path(kind), self.path("n")), changed="mc")
            self.times_change(self.path("to"), lambda: os.rename(self.path("n"), self.path("to", kind)), changed="mc")
            after = os.lstat(self.at_other("to", kind))
            self.assertEqual((after.st_ino, after.st_mode, after.st_mtime_ns), (before.st_ino, before.st_mode, before.st_mtime_ns))
            self.assertGreater(after.st_ctime_ns, before.st_ctime_ns)
            self.fails(errno.ENOENT, os.lstat, self.path(kind))

    def test_over_every_type(self):
        for source, make in MAKERS.items():
            for target, make_target in MAKERS.items():
                make(self.path("s"))
                make_target(self.path("t"))
                inode = os.lstat(self.path("s")).st_ino
                if source == "dir" and target != "dir":
                    self.fails(errno.ENOTDIR, os.rename, self.path("s"), self.path("t"))
                elif source != "dir" and target == "dir":
                    self.fails(errno.EISDIR, os.rename, self.path("s"), self.path("t"))
                else:
                    os.rename(self.path("s"), self.path("t"))
                    self.assertEqual(os.lstat(self.path("t")).st_ino, inode)
                run("rm", "-rf", self.path("s"), self.path("t"))

    def test_over_a_directory_that_is_not_empty(self):
        os.makedirs(self.path("s"))
        os.makedirs(self.path("t", "x"))
        self.fails((errno.ENOTEMPTY, errno.EEXIST), os.rename, self.path("s"), self.path("t"))
        os.rename(self.path("t", "x"), self.path("x"))
        os.rename(self.path("s"), self.path("t"))
        self.assertEqual(sorted(os.listdir(self.dir)), ["t", "x"])

    def test_into_the_own_subtree_and_back(self):
        os.makedirs(self.path("a", "b", "c"))
        for to in ("a/x", "a/b/x", "a/b/c/x"):
            self.fails(errno.EINVAL, os.rename, self.path("a"), self.path(to))
        self.fails(errno.EINVAL, os.rename, self.path("a"), self.path("a", "b"))
        self.fails((errno.ENOTEMPTY, errno.EEXIST), os.rename, self.path("a", "b"), self.path("a"))
        self.fails((errno.EBUSY, errno.EINVAL), os.rename, self.path("a", "."), self.path("x"))
        self.fails((errno.EBUSY, errno.EINVAL, errno.ENOTEMPTY), os.rename, self.path("a"), self.path("a", "b", ".."))
        os.rename(self.path("a", "b", "c"), self.path("c"))
        os.rename(self.path("a"), self.path("c", "a"))
        self.assertEqual(os.listdir(self.at_other("c", "a")), ["b"])
        self.assertEqual(os.stat(self.path("c", "a", "..")).st_ino, os.stat(self.path("c")).st_ino)

    def test_trailing_slashes(self):
        os.mkdir(self.path("d"))
        write_file(self.path("f"))
        os.rename(self.path("d") + "/", self.path("e") + "/")
        os.rename(self.path("e"), self.path("d"))
        self.fails(errno.ENOTDIR, os.rename, self.path("f") + "/", self.path("g"))
        self.fails((errno.ENOTDIR, errno.ENOENT), os.rename, self.path("f"), self.path("g") + "/")
        os.symlink("d", self.path("l"))
        self.fails(errno.ENOTDIR, os.rename, self.path("l") + "/", self.path("m"))
        self.fails(errno.ENOTDIR, os.unlink, self.path("l") + "/")
        self.fails(errno.ENOTDIR, os.unlink, self.path("f") + "/")
        self.assertEqual(sorted(os.listdir(self.dir)), ["d", "f", "l"])

    def test_between_names_of_one_file(self):
        write_file(self.path("a"))
        os.link(self.path("a"), self.path("b"))
        os.rename(self.path("a"), self.path("b"))
        self.assertEqual(sorted(os.listdir(self.dir)), ["a", "b"])
        os.rename(self.path("a"), self.path("a"))

    def test_over_a_hard_link_and_an_open_file(self):
        for name in ("s", "t"):
            write_file(self.path(name), name.encode())
        os.link(self.path("t"), self.path("t2"))
        fd = self.open("t")
        os.rename(self.path("s"), self.path("t"))
        self.assertEqual(os.fstat(fd).st_nlink, 1)
        self.assertEqual(os.pread(fd, 9, 0), b"t")
        os.unlink(self.path("t2"))
        self.assertEqual(os.pread(fd, 9, 0), b"t")
        self.assertEqual(read_file(self.at_other("t")), b"s")

    def test_noreplace(self):
        write_file(self.path("a"), b"a")
        write_file(self.path("b"), b"b")
        self.fails(errno.EEXIST, renameat2, self.path("a"), self.path("b"), RENAME_NOREPLACE)
        self.fails(errno.EEXIST, renameat2, self.path("a"), self.path("a"), RENAME_NOREPLACE)
        renameat2(self.path("a"), self.path("c"), RENAME_NOREPLACE)
        self.assertEqual(sorted(os.listdir(self.other)), ["b", "c"])
        self.fails(errno.EINVAL, renameat2, self.path("b"), self.path("c"), RENAME_NOREPLACE | RENAME_EXCHANGE)

    def test_exchange(self):
        os.makedirs(self.path("d", "below"))
        os.mkdir(self.path("e"))
        write_file(self.path("e", "f"), b"file")
        self.fails(errno.ENOENT, renameat2, self.path("d"), self.path("missing"), RENAME_EXCHANGE)
        renameat2(self.path("d"), self.path("e", "f"), RENAME_EXCHANGE)
        self.assertEqual(read_file(self.at_other("d")), b"file")
        self.assertEqual(os.listdir(self.at_other("e", "f")), ["below"])
        self.assertEqual(os.stat(self.path("e", "f", "..")).st_ino, os.stat(self.path("e")).st_ino)
        self.fails(errno.EINVAL, renameat2, self.path("e"), self.path("e", "f"), RENAME_EXCHANGE)
        self.fails(errno.EINVAL, renameat2, self.path("e", "f"), self.path("e"), RENAME_EXCHANGE)

    def test_a_listing_never_misses_what_is_renamed_to_and_fro_elsewhere(self):
        os.mkdir(self.path("still"))
        for i in range(300):
            write_file(self.path("still", f"s{i}"))
        child = self.child()
        child.start(rename_to_and_fro, self.at_other("still"), 300)
        for _ in range(20):
            found = set(os.listdir(self.path("still")))
            self.assertEqual(len([n for n in found if n.startswith("s")]), 300)
        child.result()


def rename_to_and_fro(directory, count):
    write_file(f"{directory}/mover")
    for i in range(count):
        os.rename(f"{directory}/mover", f"{directory}/other{i % 7}")
        os.rename(f"{directory}/other{i % 7}", f"{directory}/mover")


class Permissions(PosixTest):
    def test_search_and_write_permission_of_directories(self):
        os.mkdir(self.path("d"), 0o755)
        write_file(self.path("d", "f"), b"x")
        for call in (write_new, os.mkdir, os.mkfifo, make_symlink):
            self.fails_as_user(errno.EACCES, call, self.path("d", "n"))
        self.fails_as_user(errno.EACCES, os.unlink, self.path("d", "f"))
        self.fails_as_user(errno.EACCES, os.rename, self.path("d", "f"), self.path("g"))
        self.fails_as_user((errno.EACCES, errno.EPERM), os.link, self.path("d", "f"), self.path("d", "g"))
        self.assertEqual(self.as_user(read_file, self.path("d", "f")), b"x")
        os.chmod(self.path("d"), 0o744)
        self.fails_as_user(errno.EACCES, read_file, self.path("d", "f"))
        self.assertEqual(self.as_user(os.listdir, self.path("d")), ["f"])
        os.chmod(self.path("d"), 0o711)
        self.fails_as_user(errno.EACCES, os.listdir, self.path("d"))
        self.assertEqual(self.as_user(read_file, self.path("d", "f")), b"x")

    def test_owner_group_and_others_are_judged_by_their_own_bits_only(self):
        write_file(self.path("f"), b"x")
        os.chown(self.path("f"), USER, GROUP)
        for mode, owner, group, other in ((0o600, 1, 0, 0), (0o060, 0, 1, 0), (0o006, 0, 0, 1), (0o077, 0, 1, 1), (0o707, 1, 0, 1)):
            os.chmod(self.path("f"), mode)
            for uid, gid, groups, may in ((USER, GROUP, (), owner), (OTHER_USER, GROUP, (), group),
                                          (OTHER_USER, OTHER_GROUP, (GROUP,), group), (OTHER_USER, OTHER_GROUP, (), other)):
                for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                    if may:
                        self.as_user(open_close, self.path("f"), flags, uid=uid, gid=gid, groups=groups)
                    else:
                        self.fails_as_user(errno.EACCES, open_close, self.path("f"), flags, uid=uid, gid=gid, groups=groups)

    def test_sticky_directory(self):
        os.mkdir(self.path("sticky"))
        os.chmod(self.path("sticky"), 0o1777)
        os.mkdir(self.path("open"))
        os.chmod(self.path("open"), 0o777)
        for kind in ("file", "dir", "fifo"):
            path = self.path("sticky", kind)
            MAKERS[kind](path)
            os.chown(path, USER, GROUP)
            remove = os.rmdir if kind == "dir" else os.unlink
            self.fails_as_user((errno.EPERM, errno.EACCES), remove, path, uid=OTHER_USER)
            self.fails_as_user((errno.EPERM, errno.EACCES), os.rename, path, self.path("open", "x"), uid=OTHER_USER)
            # Over a name of somebody else in a sticky directory.
            mine = self.path("open", "mine")
            MAKERS[kind](mine)
            os.chown(mine, OTHER_USER, OTHER_GROUP)
            self.fails_as_user((errno.EPERM, errno.EACCES), os.rename, mine, path, uid=OTHER_USER)
            self.fails_as_user((errno.EPERM, errno.EACCES), renameat2, mine, path, RENAME_EXCHANGE, uid=OTHER_USER)
            remove(mine)
            self.as_user(os.rename, path, path + "2")
            self.as_user(remove, path + "2")
        # The owner of the directory may.
        write_file(self.path("sticky", "f"))
        os.chown(self.path("sticky"), OTHER_USER, OTHER_GROUP)
        self.as_user(os.unlink, self.path("sticky", "f"), uid=OTHER_USER)

    def test_setgid_directory(self):
        os.mkdir(self.path("g"))
        os.chown(self.path("g"), 0, GROUP)
        os.chmod(self.path("g"), 0o2777)
        self.as_user(write_new, self.path("g", "f"), gid=OTHER_GROUP)
        self.as_user(os.mkdir, self.path("g", "d"), gid=OTHER_GROUP)
        self.as_user(make_symlink, self.path("g", "l"), gid=OTHER_GROUP)
        for name in "fdl":
            status = os.lstat(self.path("g", name))
            self.assertEqual((status.st_uid, status.st_gid), (USER, GROUP))
        self.assertTrue(os.stat(self.path("g", "d")).st_mode & stat.S_ISGID)
        self.assertFalse(os.stat(self.path("g", "f")).st_mode & stat.S_ISGID)
        os.mkdir(self.path("plain"))
        os.chmod(self.path("plain"), 0o777)
        self.as_user(write_new, self.path("plain", "f"), gid=OTHER_GROUP)
        self.assertEqual(os.stat(self.path("plain", "f")).st_gid, OTHER_GROUP)

    def test_a_group_executable_file_made_by_a_stranger_in_a_setgid_directory_is_not_setgid(self):
        os.mkdir(self.path("g"))
        os.chown(self.path("g"), 0, GROUP)
        os.chmod(self.path("g"), 0o2777)
        self.as_user(create_mode, self.path("g", "f"), 0o2775, gid=OTHER_GROUP)
        self.assertFalse(os.stat(self.path("g", "f")).st_mode & stat.S_ISGID)
        self.as_user(create_mode, self.path("g", "m"), 0o2775, gid=OTHER_GROUP, groups=(GROUP,))
        self.assertTrue(os.stat(self.path("g", "m")).st_mode & stat.S_ISGID)

    def test_moving_a_directory_needs_write_permission_for_it(self):
        os.mkdir(self.path("d"), 0o555)
        os.chown(self.path("d"), USER, GROUP)
        os.chmod(self.path("d"), 0o555)
        os.mkdir(self.path("to"))
        os.chmod(self.path("to"), 0o777)
        self.fails_as_user(errno.EACCES, os.rename, self.path("d"), self.path("to", "d"))  # its ".." changes
        self.as_user(os.rename, self.path("d"), self.path("e"))

    def test_devices_are_for_root(self):
        self.fails_as_user(errno.EPERM, os.mknod, self.path("c"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        self.as_user(os.mknod, self.path("p"), stat.S_IFIFO | 0o600)

    def test_access(self):
        write_file(self.path("f"))
        os.chmod(self.path("f"), 0o640)
        self.assertTrue(os.access(self.path("f"), os.R_OK | os.W_OK))
        self.assertFalse(os.access(self.path("f"), os.X_OK))  # nobody may execute it, root neither
        self.assertFalse(self.as_user(os.access, self.path("f"), os.R_OK))
        self.assertTrue(self.as_user(os.access, self.path("f"), os.R_OK, gid=0))

    def test_programs_run(self):
        write_file(self.path("program"), b"#!/bin/sh\necho ran\n", 0o755)
        self.assertEqual(run(self.path("program")), "ran\n")
        os.chmod(self.path("program"), 0o644)
        self.fails(errno.EACCES, run, self.path("program"))
        run("cp", "/bin/true", self.path("true"))
        run(self.path("true"))


def longest_symlink(path):
    """XFS keeps 1023 bytes, others 4095; a volume what its bricks do."""
    try:
        os.symlink("x" * 4095, path)
        return 4095
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return 1023


def write_new(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def create_mode(path, mode):
    os.umask(0)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def make_symlink(path):
    os.symlink("x", path)


def open_close(path, flags):
    os.close(os.open(path, flags))
