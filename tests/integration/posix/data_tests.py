# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes: reading, writing, holes, allocation, direct access, mappings, appends, copies, open flags, unlinked files."""
import errno
import mmap
import os
import random
import stat
import subprocess
import time

from support import *

class Allocation(PosixTest):
    def setUp(self):
        super().setUp()
        self.fd = self.open("f", os.O_RDWR | os.O_CREAT)

    def blocks(self):
        return os.fstat(self.fd).st_blocks * 512

    def test_allocate_grows_and_keeps(self):
        self.times_change(self.path("f"), lambda: fallocate(self.fd, 0, 0, 4 * MIB), changed="mc")
        self.assertEqual(os.fstat(self.fd).st_size, 4 * MIB)
        self.assertGreaterEqual(self.blocks(), 4 * MIB)
        fallocate(self.fd, KEEP_SIZE, 4 * MIB, 4 * MIB)
        self.assertEqual(os.stat(self.at_other("f")).st_size, 4 * MIB)
        self.assertGreaterEqual(os.stat(self.at_other("f")).st_blocks * 512, 8 * MIB)
        self.assertEqual(read_file(self.at_other("f")), bytes(4 * MIB))
        os.pwrite(self.fd, b"kept", MIB)
        fallocate(self.fd, 0, 0, 2 * MIB)
        self.assertEqual(os.pread(self.fd, 4, MIB), b"kept")

    def test_punch(self):
        os.pwrite(self.fd, b"x" * 4 * MIB, 0)
        before = self.blocks()  # with what XFS keeps ready behind the end
        self.times_change(self.path("f"), lambda: fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, MIB, 2 * MIB), changed="mc")
        self.assertEqual(read_file(self.at_other("f")), b"x" * MIB + bytes(2 * MIB) + b"x" * MIB)
        self.assertLessEqual(self.blocks(), before - 2 * MIB)
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, 100, 50)  # within a block
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, 3 * MIB + 5, 99 * MIB)  # past the end
        data = read_file(self.at_other("f"))
        self.assertEqual(data, b"x" * 100 + bytes(50) + b"x" * (MIB - 150) + bytes(2 * MIB) + b"x" * 5 + bytes(MIB - 5))
        self.fails((errno.EOPNOTSUPP, errno.EINVAL), fallocate, self.fd, PUNCH_HOLE, 0, 10)

    def test_zero_range(self):
        os.pwrite(self.fd, b"x" * MIB, 0)
        fallocate(self.fd, ZERO_RANGE, 1000, 5000)
        fallocate(self.fd, ZERO_RANGE | KEEP_SIZE, MIB - 10, MIB)
        self.assertEqual(os.fstat(self.fd).st_size, MIB)
        fallocate(self.fd, ZERO_RANGE, MIB - 20, 40)
        self.assertEqual(read_file(self.at_other("f")), b"x" * 1000 + bytes(5000) + b"x" * (MIB - 6020) + bytes(40))

    def test_errors(self):
        self.fails(errno.EINVAL, fallocate, self.fd, 0, 0, 0)
        self.fails(errno.EINVAL, fallocate, self.fd, 0, -1, 10)
        self.fails(errno.EFBIG, fallocate, self.fd, 0, (1 << 63) - 10, 4096)
        self.fails(errno.EBADF, fallocate, self.open("f", os.O_RDONLY), 0, 0, 10)
        self.fails((errno.ENODEV, errno.EBADF, errno.EISDIR), fallocate, self.open(self.dir, os.O_RDONLY), 0, 0, 10)
        # Not in a volume (docs/coherence.md): programs must live without on many file systems.
        if on_volume():
            for mode in (COLLAPSE, INSERT):
                self.fails(errno.EOPNOTSUPP, fallocate, self.fd, mode, 0, 4096)

    def test_data_and_holes(self):
        os.ftruncate(self.fd, 64 * MIB)
        for at in (1, 8, 33):
            os.pwrite(self.fd, b"x" * MIB, at * MIB)
        fd = self.open(self.at_other("f"), os.O_RDONLY)
        found, at = [], 0
        while True:
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENXIO)
                break
            at = os.lseek(fd, data, os.SEEK_HOLE)
            found.append((data // MIB, at // MIB))
        self.assertEqual(found, [(1, 2), (8, 9), (33, 34)])
        self.assertEqual(os.lseek(fd, 40 * MIB, os.SEEK_HOLE), 40 * MIB)
        self.assertEqual(os.lseek(fd, 63 * MIB, os.SEEK_HOLE), 63 * MIB)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            self.fails(errno.ENXIO, os.lseek, fd, 64 * MIB, whence)
            self.fails(errno.ENXIO, os.lseek, fd, 65 * MIB, whence)


class Sizes(PosixTest):
    def test_truncate_down_up_and_by_name(self):
        path = write_file(self.path("f"), b"0123456789" * 1000)
        self.times_change(path, lambda: os.truncate(path, 5000), changed="mc")
        os.truncate(path, 20000)
        self.assertEqual(read_file(self.at_other("f")), b"0123456789" * 500 + bytes(15000))
        self.fails(errno.EISDIR, os.truncate, self.dir, 0)
        self.fails(errno.ENOENT, os.truncate, self.path("no"), 0)
        self.fails(errno.EINVAL, os.truncate, path, -1)
        os.mkfifo(self.path("fifo"))
        self.fails(errno.EINVAL, os.truncate, self.path("fifo"), 0)
        os.chmod(path, 0o444)
        self.fails_as_user(errno.EACCES, os.truncate, path, 0)
        self.fails(errno.EINVAL, os.ftruncate, self.open("f", os.O_RDONLY), 0)

    def test_pages_of_a_shorter_file_do_not_come_back(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x" * 10000)
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 10000)
        self.assertEqual(os.pread(fd, 10000, 0), b"x" * 100 + bytes(9900))
        os.pwrite(fd, b"y", 20000)
        self.assertEqual(read_file(self.at_other("f")), b"x" * 100 + bytes(19900) + b"y")

    def test_files_beyond_4_gib(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        marks = {}
        for at in ((1 << 31) - 3, (1 << 32) - 5, (1 << 32) + 77, (1 << 40) + 1, (1 << 43) - 9):
            marks[at] = f"<{at}>".encode()
            os.pwrite(fd, marks[at], at)
        self.assertEqual(os.stat(self.at_other("f")).st_size, (1 << 43) - 9 + len(marks[(1 << 43) - 9]))
        self.assertLess(os.stat(self.at_other("f")).st_blocks * 512, MIB)
        other = self.open(self.at_other("f"), os.O_RDONLY)
        for at, mark in marks.items():
            self.assertEqual(os.pread(other, len(mark), at), mark)
        self.assertEqual(os.lseek(other, (1 << 41), os.SEEK_DATA) >> 12, ((1 << 43) - 9) >> 12)
        os.ftruncate(fd, (1 << 32) + 80)
        other = self.open(self.at_other("f"), os.O_RDONLY)
        self.assertEqual(os.pread(other, 100, (1 << 32) + 77), marks[(1 << 32) + 77][:3])

    def test_the_largest_offset(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        self.fails((errno.EFBIG, errno.EINVAL), os.pwrite, fd, b"xx", (1 << 63) - 2)
        os.ftruncate(fd, (1 << 63) - 1)
        self.assertEqual(os.stat(self.at_other("f")).st_size, (1 << 63) - 1)

    def test_read_at_and_past_the_end(self):
        write_file(self.path("f"), b"12345")
        fd = self.open("f", os.O_RDONLY)
        self.assertEqual([os.pread(fd, 10, at) for at in (0, 4, 5, 6, 1 << 40)], [b"12345", b"5", b"", b"", b""])
        self.fails(errno.EBADF, os.write, fd, b"x")
        self.fails(errno.EBADF, os.read, self.open("f", os.O_WRONLY), 1)
        self.fails(errno.EISDIR, os.read, self.open(self.dir, os.O_RDONLY), 1)

    def test_vectors(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        pieces = [bytes([i]) * (i * 1000 + 1) for i in range(20)]
        self.assertEqual(os.pwritev(fd, pieces, 7), sum(map(len, pieces)))
        buffers = [bytearray(len(piece)) for piece in pieces]
        os.preadv(fd, buffers, 7)
        self.assertEqual([bytes(b) for b in buffers], pieces)


class Times(PosixTest):
    def test_of_data(self):
        path = write_file(self.path("f"), b"x" * 100)
        fd = self.open("f")
        self.times_change(path, lambda: os.pwrite(fd, b"y", 0), changed="mc", same="a")
        self.times_change(path, lambda: os.pwrite(fd, b"", 0), same="mca")
        self.times_change(path, lambda: fallocate(fd, ZERO_RANGE, 0, 10), changed="mc")
        self.times_change(path, lambda: os.close(os.open(path, os.O_WRONLY)), same="mc")
        self.times_change(path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)), changed="mc")
        self.times_change(path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)), changed="mc")  # 0 to 0
        other = os.stat(self.at_other("f"))
        mine = os.stat(path)
        self.assertEqual((mine.st_mtime_ns, mine.st_ctime_ns), (other.st_mtime_ns, other.st_ctime_ns))


class Direct(PosixTest):
    def test_aligned(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        memory = mmap.mmap(-1, MIB)
        memory[:] = random.Random(1).randbytes(MIB)
        for at in (0, 3 * MIB):
            self.assertEqual(os.pwritev(fd, [memory], at), MIB)
        self.assertEqual(read_file(self.at_other("f")), memory[:] + bytes(2 * MIB) + memory[:])
        back = mmap.mmap(-1, MIB)
        self.assertEqual(os.preadv(fd, [back], 3 * MIB), MIB)
        self.assertEqual(back[:], memory[:])
        self.assertEqual(os.preadv(fd, [back], 4 * MIB), 0)

    def test_not_aligned(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        try:
            self.assertEqual(os.pwrite(fd, b"odd", 4001), 3)
        except OSError as error:
            # A brick's file system and plain XFS may insist; a mount does not (docs/coherence.md).
            self.assertEqual((error.errno, on_volume()), (errno.EINVAL, False))
            return
        self.assertEqual(os.pread(fd, 100, 4000), b"\0odd")
        os.pwrite(fd, b"z" * 5000, 4002)
        self.assertEqual(read_file(self.at_other("f")), bytes(4001) + b"o" + b"z" * 5000)

    def test_cached_and_direct_in_turn(self):
        direct = self.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        cached = self.open("f")
        memory = mmap.mmap(-1, 4096)
        for i in range(50):
            memory[:] = bytes([i]) * 4096
            os.pwritev(direct, [memory], 4096 * (i % 5))
            self.assertEqual(os.pread(cached, 4096, 4096 * (i % 5)), memory[:])
            os.pwrite(cached, bytes([i + 100]) * 10, 4096 * (i % 5) + 10)
            os.preadv(direct, [memory], 4096 * (i % 5))
            self.assertEqual(memory[:40], bytes([i]) * 10 + bytes([i + 100]) * 10 + bytes([i]) * 20)


def append_lines(path, letter, count):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for i in range(count):
        line = f"{letter}{i:06d} ".encode() + letter.encode() * (i % 9000) + b"\n"
        if os.write(fd, line) != len(line):
            raise OSError(errno.EIO, "short append")
    os.close(fd)


class Appends(PosixTest):
    def test_of_four_processes_on_two_mounts(self):
        write_file(self.path("log"))
        children = [self.child() for _ in range(4)]
        for i, child in enumerate(children):
            child.start(append_lines, (self.path if i % 2 else self.at_other)("log"), "abcd"[i], 150)
        for child in children:
            child.result()
        lines = read_file(self.path("log")).splitlines()
        self.assertEqual(len(lines), 600)
        for letter in "abcd":
            mine = [line for line in lines if line.startswith(letter.encode())]
            self.assertEqual([int(line[1:7]) for line in mine], list(range(150)))
            for i, line in enumerate(mine):
                self.assertEqual(line[8:], letter.encode() * i)

    def test_offset_of_pwrite_is_ignored_and_position_follows(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"one")
        os.pwrite(fd, b"two", 0)  # Linux appends (BUGS of pwrite(2))
        os.write(fd, b"three")
        self.assertEqual(os.lseek(fd, 0, os.SEEK_CUR), 11)
        self.assertEqual(os.pread(fd, 20, 0), b"onetwothree")

    def test_mapped_shared(self):
        write_file(self.path("f"), b"x" * 5000)
        fd = self.open("f", os.O_RDWR | os.O_APPEND)
        if on_volume():  # docs/coherence.md, C5
            self.fails(errno.ENODEV, mmap.mmap, fd, 5000)
            return
        memory = mmap.mmap(fd, 5000)
        self.assertEqual(memory[:3], b"xxx")
        memory[1:3] = b"ab"
        memory.flush()
        self.assertEqual(read_file(self.at_other("f"))[:5], b"xabxx")
        os.write(fd, b"end")
        memory.close()
        self.assertEqual(read_file(self.at_other("f")), b"xab" + b"x" * 4997 + b"end")


class Mappings(PosixTest):
    def test_shared_reaches_the_file_and_private_does_not(self):
        write_file(self.path("f"), b"-" * 10000)
        fd = self.open("f")
        shared = mmap.mmap(fd, 10000)
        private = mmap.mmap(fd, 10000, flags=mmap.MAP_PRIVATE)
        private[0:4] = b"mine"
        shared[5000:5006] = b"shared"
        self.assertEqual(os.pread(fd, 6, 5000), b"shared")
        shared.flush()
        self.assertEqual(read_file(self.at_other("f")), b"-" * 5000 + b"shared" + b"-" * 4994)
        os.pwrite(fd, b"written", 9000)
        self.assertEqual(shared[9000:9007], b"written")
        shared.close()
        private.close()

    def test_outlives_close_and_unlink(self):
        write_file(self.path("f"), b"-" * 8192)
        os.link(self.path("f"), self.path("second"))
        fd = os.open(self.path("f"), os.O_RDWR)
        memory = mmap.mmap(fd, 8192)
        os.close(fd)
        os.unlink(self.path("f"))
        memory[0:5] = b"after"
        memory.close()
        # The last write-back may come after munmap.
        self.assertEqual(read_file(self.path("second"))[:5], b"after")
        os.sync()
        self.assertEqual(read_file(self.at_other("second"))[:5], b"after")

    def test_changes_mtime(self):
        path = write_file(self.path("f"), b"-" * 4096)
        fd = self.open("f")
        memory = mmap.mmap(fd, 4096)

        def change():
            memory[0:1] = b"x"
            memory.flush()
        self.times_change(path, change, changed="mc")
        memory.close()

    def test_needs_the_right_way_of_opening(self):
        write_file(self.path("f"), b"-" * 4096)
        self.fails(errno.EACCES, mmap.mmap, self.open("f", os.O_RDONLY), 4096)
        self.fails(errno.EACCES, mmap.mmap, self.open("f", os.O_WRONLY), 4096)
        mmap.mmap(self.open("f", os.O_RDONLY), 4096, prot=mmap.PROT_READ).close()
        mmap.mmap(self.open("f", os.O_RDONLY), 4096, flags=mmap.MAP_PRIVATE).close()


class Copies(PosixTest):
    def test_copy_file_range(self):
        data = random.Random(3).randbytes(3 * MIB + 17)
        write_file(self.path("a"), data)
        source, target = self.open("a"), self.open("b", os.O_RDWR | os.O_CREAT)
        done = 0
        while done < len(data):
            copied = os.copy_file_range(source, target, len(data) - done, done, done)
            self.assertGreater(copied, 0)
            done += copied
        self.assertEqual(os.copy_file_range(source, target, 10, len(data), 0), 0)
        self.assertEqual(read_file(self.at_other("b")), data)
        self.assertEqual(os.copy_file_range(source, target, 1000, 5, 999999), 1000)
        self.assertEqual(os.pread(target, 1000, 999999), data[5:1005])
        self.assertEqual(os.copy_file_range(source, source, 100, 0, 500), 100)
        self.fails(errno.EINVAL, os.copy_file_range, source, source, 100, 0, 50)
        self.fails(errno.EBADF, os.copy_file_range, source, self.open("b", os.O_RDONLY), 100, 0, 50)
        self.fails(errno.EBADF, os.copy_file_range, source, self.open("b", os.O_WRONLY | os.O_APPEND), 100, 0, 50)

    def test_sees_cached_and_mapped_bytes(self):
        write_file(self.path("a"), b"-" * 8192)
        fd = self.open("a")
        memory = mmap.mmap(fd, 8192)
        memory[0:6] = b"mapped"
        target = self.open("b", os.O_RDWR | os.O_CREAT)
        os.copy_file_range(fd, target, 8192, 0, 0)
        self.assertEqual(os.pread(target, 8, 0), b"mapped--")
        memory.close()

    def test_between_mounts_and_other_file_systems(self):
        write_file(self.path("a"), b"across" * 1000)
        run("cp", "--reflink=auto", self.path("a"), self.at_other("b"))
        run("cp", "--reflink=auto", "--sparse=always", self.at_other("b"), "/tmp/.posix-copy")
        self.assertEqual(read_file("/tmp/.posix-copy"), b"across" * 1000)
        run("mv", "/tmp/.posix-copy", self.path("c"))
        self.assertEqual(read_file(self.at_other("c")), b"across" * 1000)

    def test_sendfile_and_splice(self):
        data = random.Random(4).randbytes(300000)
        write_file(self.path("a"), data)
        source, target = self.open("a"), self.open("b", os.O_RDWR | os.O_CREAT)
        sent = 0
        while sent < len(data):
            sent += os.sendfile(target, source, sent, len(data) - sent)
        self.assertEqual(read_file(self.at_other("b")), data)


class OpenFlags(PosixTest):
    def test_permissions_at_creation_do_not_bind_the_creator(self):
        fd = self.as_user(os.open, self.path("f"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o000)
        self.assertGreater(fd, 0)
        self.fails_as_user(errno.EACCES, os.open, self.path("f"), os.O_RDWR)

    def test_trunc_of_a_readable_only_file_is_refused(self):
        write_file(self.path("f"), b"stay", 0o444)
        self.fails_as_user(errno.EACCES, os.open, self.path("f"), os.O_RDONLY | os.O_TRUNC)
        self.fails_as_user(errno.EACCES, os.open, self.path("f"), os.O_WRONLY | os.O_TRUNC)
        self.assertEqual(read_file(self.path("f")), b"stay")

    def test_noatime_is_the_owners(self):
        write_file(self.path("f"))
        self.fails_as_user(errno.EPERM, os.open, self.path("f"), os.O_RDONLY | os.O_NOATIME)
        self.open("f", os.O_RDONLY | os.O_NOATIME)

    def test_path_and_directory(self):
        write_file(self.path("f"))
        fd = self.open("f", os.O_PATH)
        self.assertEqual(os.fstat(fd).st_ino, os.stat(self.path("f")).st_ino)
        self.fails(errno.EBADF, os.read, fd, 1)
        self.fails(errno.EISDIR, os.open, self.dir, os.O_RDWR)
        self.fails(errno.EISDIR, os.open, self.dir, os.O_RDONLY | os.O_CREAT)

    def test_running_program_is_busy(self):
        run("cp", "/bin/sleep", self.path("sleep"))
        program = subprocess.Popen([self.path("sleep"), "60"])
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.fails(errno.ETXTBSY, os.open, self.path("sleep"), os.O_WRONLY)

    def test_sync_flags(self):
        for flag in (os.O_SYNC, os.O_DSYNC):
            fd = self.open("f", os.O_RDWR | os.O_CREAT | flag)
            os.pwrite(fd, b"now", 0)
            self.assertEqual(read_file(self.at_other("f")), b"now")


class Unlinked(PosixTest):
    def test_everything_still_works_on_the_handle(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"before")
        os.unlink(self.path("f"))
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        os.pwrite(fd, b"AFTER!", 100000)
        os.ftruncate(fd, 100003)
        fallocate(fd, 0, 0, 200000)
        os.fchmod(fd, 0o600)
        os.fchown(fd, USER, GROUP)
        os.setxattr(fd, "user.x", b"y")
        self.assertEqual(os.getxattr(fd, "user.x"), b"y")
        os.utime(fd, (1, 2))
        status = os.fstat(fd)
        self.assertEqual((status.st_size, status.st_uid, stat.S_IMODE(status.st_mode), status.st_mtime), (200000, USER, 0o600, 2))
        memory = mmap.mmap(fd, 6)
        memory[0:3] = b"MAP"
        memory.close()
        os.fsync(fd)
        self.assertEqual(os.pread(fd, 6, 0), b"MAPore")
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        self.assertEqual(os.pread(again, 3, 0), b"MAP")
        os.close(again)

    def test_a_new_file_of_the_name_is_another(self):
        fd = self.open("f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"old")
        os.unlink(self.path("f"))
        write_file(self.path("f"), b"new")
        self.assertEqual(os.pread(fd, 3, 0), b"old")
        self.assertNotEqual(os.fstat(fd).st_ino, os.stat(self.path("f")).st_ino)

    def test_space_comes_back_with_the_last_close(self):
        def free():
            status = os.statvfs(self.dir)
            return status.f_bfree * status.f_frsize
        before = free()
        fd = os.open(self.path("f"), os.O_RDWR | os.O_CREAT)
        fallocate(fd, 0, 0, 256 * MIB)
        self.assertLess(free(), before - 250 * MIB)
        os.unlink(self.path("f"))
        self.assertLess(free(), before - 250 * MIB)
        os.close(fd)
        for _ in range(100):
            if free() > before - 20 * MIB:
                return
            time.sleep(0.1)
        self.fail(f"{(before - free()) // MIB} MiB are still taken")
