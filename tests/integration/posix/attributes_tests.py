# SPDX-License-Identifier: GPL-3.0-or-later
"""Modes, owners, times, extended attributes, ACLs, statfs: what they say, and who may change them."""
import errno
import mmap
import os
import stat
import subprocess
import time

from support import *
from names_tests import MAKERS, open_close, write_new


class Owners(PosixTest):
    def test_chmod_of_every_type_and_bit(self):
        for kind, make in MAKERS.items():
            path = self.path(kind)
            make(path)
            if kind == "symlink":
                continue
            for mode in (0, 0o7777, 0o4711, 0o2755, 0o1777, 0o644):
                self.times_change(path, lambda: os.chmod(path, mode), changed="c", same="am")
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)

    def test_chmod_is_the_owners(self):
        write_file(self.path("f"))
        os.chown(self.path("f"), USER, GROUP)
        self.as_user(os.chmod, self.path("f"), 0o600)
        self.fails_as_user(errno.EPERM, os.chmod, self.path("f"), 0o666, uid=OTHER_USER, gid=GROUP)

    def test_setgid_is_dropped_when_the_owner_is_not_of_the_group(self):
        write_file(self.path("f"))
        os.chown(self.path("f"), USER, OTHER_GROUP)
        self.as_user(os.chmod, self.path("f"), 0o2755)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o755)
        self.as_user(os.chmod, self.path("f"), 0o2755, groups=(OTHER_GROUP,))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o2755)
        os.mkdir(self.path("d"))
        os.chown(self.path("d"), USER, OTHER_GROUP)
        self.as_user(os.chmod, self.path("d"), 0o1755)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("d")).st_mode), 0o1755)

    def test_chown_by_users(self):
        write_file(self.path("f"))
        os.chown(self.path("f"), USER, GROUP)
        self.fails_as_user(errno.EPERM, os.chown, self.path("f"), OTHER_USER, -1)
        self.fails_as_user(errno.EPERM, os.chown, self.path("f"), -1, OTHER_GROUP)
        self.as_user(os.chown, self.path("f"), -1, OTHER_GROUP, groups=(OTHER_GROUP,))
        self.as_user(os.chown, self.path("f"), USER, GROUP)
        self.assertEqual(os.stat(self.at_other("f")).st_uid, USER)
        self.fails_as_user(errno.EPERM, os.chown, self.path("f"), -1, GROUP, uid=OTHER_USER)

    def test_chown_drops_setuid_and_setgid_of_programs(self):
        for mode, left in ((0o6755, 0o755), (0o6711, 0o711), (0o4644, 0o644)):
            write_file(self.path("f"))
            os.chown(self.path("f"), USER, GROUP)
            os.chmod(self.path("f"), mode)
            self.as_user(os.chown, self.path("f"), -1, OTHER_GROUP, groups=(OTHER_GROUP,))
            self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), left, oct(mode))
            os.unlink(self.path("f"))

    def test_chown_of_symlinks_does_not_follow(self):
        write_file(self.path("f"))
        os.symlink("f", self.path("l"))
        os.lchown(self.path("l"), USER, GROUP)
        self.assertEqual((os.lstat(self.path("l")).st_uid, os.stat(self.path("f")).st_uid), (USER, 0))
        os.chown(self.path("l"), OTHER_USER, -1)
        self.assertEqual((os.lstat(self.path("l")).st_uid, os.stat(self.path("f")).st_uid), (USER, OTHER_USER))

    def test_writes_and_truncation_drop_setuid(self):
        for change in (overwrite, cut, append, overwrite_directly, empty, allocate):
            path = write_file(self.path("f"), b"program" * 1000)
            os.chown(path, USER, GROUP)
            os.chmod(path, 0o6777)
            self.as_user(change, path, uid=OTHER_USER, gid=OTHER_GROUP)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o777, change.__name__)
            os.unlink(path)

    def test_root_keeps_setuid_when_writing(self):
        for change in (overwrite, cut, append, overwrite_directly, empty, allocate):
            path = write_file(self.path("f"), b"program" * 1000)
            os.chmod(path, 0o6777)
            change(path)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o6777, change.__name__)
            os.unlink(path)

    def test_changes_drop_capabilities(self):
        for change in (overwrite, cut, append, overwrite_directly, empty, allocate, lambda path: os.chown(path, USER, -1)):
            path = write_file(self.path("f"), b"program" * 1000)
            overwrite(path)  # there is none, and the kernel may remember that
            os.setxattr(path, "security.capability", CAPABILITY)
            change(path)
            self.assertFalse(has_capability(path), change.__name__)
            os.unlink(path)

    def test_changes_drop_what_the_other_mount_gave(self):
        path = write_file(self.path("f"), b"program" * 1000)
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"x")
        os.setxattr(self.at_other("f"), "security.capability", CAPABILITY)
        time.sleep(1.1)  # as long as attributes are believed
        os.write(fd, b"x")
        os.close(fd)
        self.assertFalse(has_capability(self.at_other("f")))

    def test_large_ids(self):
        write_file(self.path("f"))
        os.chown(self.path("f"), 0xfffffffe, 0xfffffff0)
        status = os.stat(self.at_other("f"))
        self.assertEqual((status.st_uid, status.st_gid), (0xfffffffe, 0xfffffff0))


def overwrite(path, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    os.write(fd, b"x")
    os.close(fd)


def append(path):
    overwrite(path, os.O_APPEND)


def cut(path):
    os.truncate(path, 5)


def overwrite_directly(path):
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    os.write(fd, mmap.mmap(-1, 4096))
    os.close(fd)


def empty(path):
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def allocate(path):
    fd = os.open(path, os.O_WRONLY)
    os.posix_fallocate(fd, 0, 100000)
    os.close(fd)


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # VFS_CAP_REVISION_2, effective, CAP_NET_BIND_SERVICE


def has_capability(path):
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return False


class Times(PosixTest):
    def test_exact_now_and_omit(self):
        path = write_file(self.path("f"))
        utimensat(path, (1, 999999999), (2, 1))
        status = os.stat(self.at_other("f"))
        self.assertEqual((status.st_atime_ns, status.st_mtime_ns), (1999999999, 2000000001))
        utimensat(path, (0, UTIME_OMIT), (3, 0))
        status = os.stat(path)
        self.assertEqual((status.st_atime_ns, status.st_mtime_ns), (1999999999, 3000000000))
        self.times_change(path, lambda: utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT)), same="amc")
        before = time.time_ns()
        utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT))
        status = os.stat(path)
        self.assertLess(abs(status.st_atime_ns - before), 2 * 10**9)
        self.assertEqual(status.st_mtime_ns, 3000000000)
        utimensat(path, (0, UTIME_NOW), (0, UTIME_NOW))
        status = os.stat(path)
        self.assertEqual(status.st_atime_ns, status.st_mtime_ns)
        self.fails(errno.EINVAL, utimensat, path, (0, 1000000000), (0, 0))

    def test_before_1970_and_after_2106(self):
        path = write_file(self.path("f"))
        for seconds in (-1, -2000000000, 1 << 31, 1 << 32, 1 << 33):
            try:
                utimensat(path, (seconds, 5), (seconds, 7))
            except OSError:
                raise AssertionError(f"{seconds} is refused")
            status = os.stat(path)
            self.assertEqual((status.st_atime_ns, status.st_mtime_ns), (seconds * 10**9 + 5, seconds * 10**9 + 7))

    def test_who_may(self):
        path = write_file(self.path("f"))
        os.chown(path, USER, GROUP)
        os.chmod(path, 0o666)
        self.as_user(utimensat, path, (5, 5), (5, 5))
        self.as_user(utimensat, path, (0, UTIME_NOW), (0, UTIME_NOW), uid=OTHER_USER)  # a writer may set now
        self.fails_as_user(errno.EPERM, utimensat, path, (5, 5), (5, 5), uid=OTHER_USER)
        self.fails_as_user(errno.EPERM, utimensat, path, (0, UTIME_NOW), (0, UTIME_OMIT), uid=OTHER_USER)
        os.chmod(path, 0o644)
        self.fails_as_user(errno.EACCES, utimensat, path, (0, UTIME_NOW), (0, UTIME_NOW), uid=OTHER_USER)

    def test_of_symlinks_and_directories(self):
        write_file(self.path("f"))
        os.symlink("f", self.path("l"))
        utimensat(self.path("l"), (7, 0), (8, 0), 0x100)
        self.assertEqual(os.lstat(self.path("l")).st_mtime, 8)
        self.assertNotEqual(os.stat(self.path("f")).st_mtime, 8)
        os.mkdir(self.path("d"))
        utimensat(self.path("d"), (7, 0), (8, 0))
        self.assertEqual(os.stat(self.at_other("d")).st_mtime, 8)


class Xattrs(PosixTest):
    def test_set_get_list_remove_on_every_type(self):
        for kind, make in MAKERS.items():
            path = self.path(kind)
            make(path)
            spaces = ["trusted.a", "security.b"] + (["user.c"] if kind in ("file", "dir") else [])
            for key in spaces:
                self.times_change(path, lambda: os.setxattr(path, key, b"v" + key.encode(), follow_symlinks=False), changed="c", same="am")
                self.assertEqual(os.getxattr(self.at_other(kind), key, follow_symlinks=False), b"v" + key.encode())
            self.assertEqual(sorted(os.listxattr(self.at_other(kind), follow_symlinks=False)), sorted(spaces))
            for key in spaces:
                os.removexattr(path, key, follow_symlinks=False)
                self.fails(errno.ENODATA, os.getxattr, path, key, follow_symlinks=False)
                self.fails(errno.ENODATA, os.removexattr, path, key, follow_symlinks=False)
            if kind not in ("file", "dir"):
                self.fails(errno.EPERM, os.setxattr, path, "user.c", b"", follow_symlinks=False)

    def test_flags(self):
        path = write_file(self.path("f"))
        self.fails(errno.ENODATA, os.setxattr, path, "user.a", b"", os.XATTR_REPLACE)
        os.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
        self.fails(errno.EEXIST, os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)
        os.setxattr(path, "user.a", b"", os.XATTR_REPLACE)
        self.assertEqual(os.getxattr(path, "user.a"), b"")

    def test_limits(self):
        path = write_file(self.path("f"))
        os.setxattr(path, "user." + "k" * 250, b"x")
        self.fails(errno.ERANGE, os.setxattr, path, "user." + "k" * 251, b"x")
        os.setxattr(path, "user.big", b"v" * 65536 if not on_volume() else b"v" * 60000)
        self.assertEqual(len(os.getxattr(self.at_other("f"), "user.big")), 65536 if not on_volume() else 60000)
        self.fails((errno.E2BIG, errno.ENOSPC), os.setxattr, path, "user.big2", b"v" * 65537)
        self.fails((errno.EOPNOTSUPP, errno.EINVAL), os.setxattr, path, "nonsense.a", b"")
        self.fails((errno.EINVAL, errno.EOPNOTSUPP), os.setxattr, path, "user.", b"")
        for i in range(200):
            os.setxattr(path, f"user.many{i}", str(i).encode())
        self.assertEqual(len(os.listxattr(self.at_other("f"))), 202)

    def test_who_may(self):
        path = write_file(self.path("f"))
        os.chown(path, USER, GROUP)
        os.setxattr(path, "trusted.t", b"x")
        self.as_user(os.setxattr, path, "user.a", b"x")
        os.chmod(path, 0o400)
        self.fails_as_user(errno.EACCES, os.setxattr, path, "user.b", b"x")
        self.fails_as_user(errno.EACCES, os.getxattr, path, "user.a", uid=OTHER_USER)
        self.fails_as_user((errno.EPERM, errno.ENODATA), os.getxattr, path, "trusted.t")
        self.fails_as_user(errno.EPERM, os.setxattr, path, "trusted.t", b"x")
        self.fails_as_user((errno.EPERM, errno.EACCES), os.setxattr, path, "security.selinux2", b"x")
        self.assertEqual(self.as_user(os.listxattr, path), ["user.a"])
        os.mkdir(self.path("sticky"))
        os.chmod(self.path("sticky"), 0o1777)
        self.fails_as_user(errno.EPERM, os.setxattr, self.path("sticky"), "user.a", b"x")

    def test_polders_own_are_not_there(self):
        path = write_file(self.path("f"))
        self.assertEqual(os.listxattr(path), [])
        self.fails(errno.ENODATA, os.getxattr, path, "trusted.polder.meta")
        if on_volume():
            self.fails(errno.EPERM, os.setxattr, path, "trusted.polder.meta", b"x")


def getfacl(path, *options):
    lines = subprocess.run(["getfacl", "-cnpE", *options, path], capture_output=True, text=True, check=True).stdout
    return [line for line in lines.splitlines() if line]


class Acls(PosixTest):
    def test_a_named_user_may_and_the_mask_limits(self):
        path = write_file(self.path("f"), b"x", 0o600)
        self.fails_as_user(errno.EACCES, read_file, path)
        run("setfacl", "-m", f"u:{USER}:rw", path)
        self.as_user(read_file, path)
        self.as_user(open_close, path, os.O_RDWR)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)  # the mask shows as the group's bits
        os.chmod(path, 0o640)
        self.fails_as_user(errno.EACCES, open_close, path, os.O_RDWR)
        self.assertIn("mask::r--", getfacl(path))
        self.assertIn(f"user:{USER}:rw-", getfacl(path))
        os.chmod(path, 0o660)
        self.as_user(open_close, path, os.O_RDWR)
        run("setfacl", "-b", path)
        self.assertEqual(getfacl(path), ["user::rw-", "group::---", "other::---"])
        self.fails_as_user(errno.EACCES, read_file, path)

    def test_named_group_and_the_most_specific_entry(self):
        path = write_file(self.path("f"), b"x", 0o600)
        run("setfacl", "-m", f"g:{GROUP}:r,u:{OTHER_USER}:-", path)
        self.as_user(read_file, path, gid=OTHER_GROUP, groups=(GROUP,))
        self.fails_as_user(errno.EACCES, read_file, path, uid=OTHER_USER, gid=GROUP)

    def test_inheritance(self):
        os.mkdir(self.path("d"))
        os.chmod(self.path("d"), 0o777)
        run("setfacl", "-d", "-m", f"u:{USER}:rwx,g::r-x,o::-", self.path("d"))
        os.umask(0o077)  # a default ACL takes its place
        write_file(self.path("d", "f"), b"x", 0o666)
        os.mkdir(self.path("d", "sub"), 0o777)
        os.mkfifo(self.path("d", "fifo"), 0o644)
        os.symlink("x", self.path("d", "l"))
        self.assertEqual(getfacl(self.at_other("d", "f")), ["user::rw-", f"user:{USER}:rwx", "group::r-x", "mask::rw-", "other::---"])
        self.assertEqual(getfacl(self.at_other("d", "sub"), "-d"), getfacl(self.path("d"), "-d"))
        self.assertEqual(getfacl(self.at_other("d", "sub"), "-a")[1], f"user:{USER}:rwx")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("d", "fifo")).st_mode), 0o640)
        os.makedirs(self.path("d", "sub", "deep", "deeper"))
        self.assertEqual(getfacl(self.path("d", "sub", "deep", "deeper"), "-d"), getfacl(self.path("d"), "-d"))
        self.as_user(write_new, self.path("d", "sub", "by-user"))

    def test_only_the_owner_sets_them(self):
        path = write_file(self.path("f"))
        self.fails_as_user(errno.EPERM, set_acl, path)
        run("setfacl", "-m", "o::rw", path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o646)

    def test_backup_and_restore(self):
        os.makedirs(self.path("d", "e"))
        write_file(self.path("d", "e", "f"))
        run("setfacl", "-R", "-m", f"u:{USER}:rX,d:g:{GROUP}:rwx", self.path("d"), check=False)
        before = run("getfacl", "-Rnp", self.path("d"))
        write_file("/tmp/.posix-acl", before.encode())
        run("setfacl", "-Rb", self.path("d"))
        run("setfacl", "--restore=/tmp/.posix-acl")
        self.assertEqual(run("getfacl", "-Rnp", self.at_other("d")).replace(self.other, self.dir), before)
        os.unlink("/tmp/.posix-acl")

    def test_they_do_not_show_where_the_file_system_keeps_them(self):
        path = write_file(self.path("f"))
        run("setfacl", "-m", f"u:{USER}:rwx", path)
        run("setfacl", "-d", "-m", f"u:{USER}:rwx", self.dir)
        if not on_volume():
            return
        for object, key in ((path, "trusted.SGI_ACL_FILE"), (self.dir, "trusted.SGI_ACL_DEFAULT")):
            self.assertNotIn(key, os.listxattr(object))
            self.fails(errno.ENODATA, os.getxattr, object, key)
            self.fails(errno.ENODATA, os.removexattr, object, key)
            os.setxattr(object, key, b"from XFS")  # a copy from there: ignored
            self.fails(errno.ENODATA, os.getxattr, object, key)
        self.assertIn(f"user:{USER}:rwx", getfacl(self.at_other("f")))

    def test_cp_and_chmod_keep_them(self):
        path = write_file(self.path("f"))
        run("setfacl", "-m", f"u:{USER}:rwx,g:{GROUP}:r", path)
        run("cp", "-a", path, self.path("copy"))
        self.assertEqual(getfacl(self.at_other("copy")), getfacl(path))

    def test_setgid_goes_when_a_stranger_to_the_group_sets_an_acl(self):
        path = write_file(self.path("f"))
        os.chown(path, USER, OTHER_GROUP)
        os.chmod(path, 0o2755)
        self.as_user(set_acl, path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o2000, 0)


def set_acl(path):
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in (
        (1, 7, 0xffffffff), (2, 7, OTHER_USER), (4, 5, 0xffffffff), (16, 7, 0xffffffff), (32, 0, 0xffffffff)))
    os.setxattr(path, "system.posix_acl_access", acl)


class Space(PosixTest):
    def test_statfs_is_true(self):
        status = os.statvfs(self.dir)
        self.assertEqual(status.f_namemax, 255)
        before = status.f_bavail * status.f_frsize
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        fallocate(fd, 0, 0, 512 * MIB)
        after = os.statvfs(self.dir)
        taken = before - after.f_bavail * after.f_frsize
        self.assertTrue(500 * MIB < taken < 600 * MIB, taken)
        self.assertLess(after.f_ffree, after.f_files)
        self.assertLessEqual(after.f_bavail, after.f_bfree)
        self.assertLess(after.f_bfree, after.f_blocks)

    def test_blocks_of_a_file(self):
        write_file(self.path("f"), b"x" * 3 * MIB)
        blocks = os.stat(self.at_other("f")).st_blocks * 512
        self.assertTrue(3 * MIB <= blocks < 8 * MIB, blocks)
        self.assertGreaterEqual(os.stat(self.path("f")).st_blksize, 4096)
