# SPDX-License-Identifier: GPL-3.0-or-later
"""Mapped files at their edges: behind the end, cut while they are mapped, read and written through themselves."""
import mmap
import os
import random
import signal

from support import *

PAGE = 4096


def signal_of(function, *arguments):
    """How a process ends that does it: 0, or the signal."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        function(*arguments)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


class Edges(PosixTest):
    def test_behind_the_end_of_the_page_there_is_nothing(self):
        write_file(self.path("f"), b"x" * 100)
        os.truncate(self.path("f"), 3 * PAGE)
        memory = mmap.mmap(self.open("f"), 3 * PAGE)
        os.truncate(self.path("f"), 100)
        self.assertEqual(memory[:101], b"x" * 100 + b"\0")
        self.assertEqual(signal_of(memory.__getitem__, PAGE), signal.SIGBUS)
        self.assertEqual(signal_of(memory.__setitem__, 2 * PAGE, 1), signal.SIGBUS)
        os.truncate(self.path("f"), 3 * PAGE)
        self.assertEqual(memory[PAGE], 0)
        memory.close()

    def test_bytes_behind_the_end_do_not_get_into_the_file(self):
        os.truncate(write_file(self.path("f")), PAGE)
        memory = mmap.mmap(self.open("f"), PAGE)
        os.truncate(self.path("f"), 100)
        memory[50:200] = b"y" * 150
        memory.flush()
        self.assertEqual(read_file(self.at_other("f")), bytes(50) + b"y" * 50)
        os.truncate(self.path("f"), 300)
        self.assertEqual(read_file(self.at_other("f")), bytes(50) + b"y" * 50 + bytes(200))
        self.assertEqual(read_file(self.path("f")), bytes(50) + b"y" * 50 + bytes(200))
        memory.close()

    def test_a_hole_is_filled_through_a_mapping(self):
        os.truncate(write_file(self.path("f")), 64 * PAGE)
        memory = mmap.mmap(self.open("f"), 64 * PAGE)
        wanted = bytearray(64 * PAGE)
        for at in random.Random(1).sample(range(64 * PAGE), 40):
            memory[at] = wanted[at] = 1 + at % 255
        memory.flush()
        self.assertEqual(read_file(self.at_other("f")), bytes(wanted))
        memory.close()

    def test_punched_and_zeroed_while_mapped(self):
        write_file(self.path("f"), b"x" * 4 * PAGE)
        fd = self.open("f")
        memory = mmap.mmap(fd, 4 * PAGE)
        memory[PAGE:PAGE + 3] = b"new"
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, PAGE, PAGE)
        fallocate(fd, ZERO_RANGE, 2 * PAGE + 10, 10)
        wanted = b"x" * PAGE + bytes(PAGE) + b"x" * 10 + bytes(10) + b"x" * (2 * PAGE - 20)
        self.assertEqual(memory[:], wanted)
        memory.flush()
        self.assertEqual(read_file(self.at_other("f")), wanted)
        memory.close()

    def test_a_file_is_read_into_and_written_from_itself(self):
        """The page that is written to must be fetched while another page of the file is locked."""
        write_file(self.path("f"), bytes(range(256)) * 16 + bytes(PAGE))
        fd = self.open("f")
        memory = mmap.mmap(fd, 2 * PAGE)
        self.assertEqual(os.preadv(fd, [memoryview(memory)[PAGE:]], 0), PAGE)
        self.assertEqual(memory[PAGE:], memory[:PAGE])
        memory.flush()
        again = self.open("f")
        self.assertEqual(os.pwritev(again, [memoryview(memory)[PAGE:]], 3), PAGE)
        self.assertEqual(read_file(self.at_other("f"))[3:PAGE + 3], bytes(range(256)) * 16)

    def test_direct_reads_and_writes_of_mapped_memory_of_another_file(self):
        write_file(self.path("a"), b"a" * 4 * PAGE)
        write_file(self.path("b"), b"b" * 4 * PAGE)
        memory = mmap.mmap(self.open("a"), 4 * PAGE)
        direct = self.open("b", os.O_RDWR | os.O_DIRECT)
        self.assertEqual(os.preadv(direct, [memoryview(memory)[:2 * PAGE]], 0), 2 * PAGE)
        self.assertEqual(os.pwritev(direct, [memoryview(memory)[2 * PAGE:]], 2 * PAGE), 2 * PAGE)
        memory.flush()
        self.assertEqual(read_file(self.at_other("a")), b"b" * 2 * PAGE + b"a" * 2 * PAGE)
        self.assertEqual(read_file(self.at_other("b")), b"b" * 2 * PAGE + b"a" * 2 * PAGE)

    def test_two_processes_see_each_others_bytes_at_once(self):
        write_file(self.path("f"), bytes(PAGE))
        memory = mmap.mmap(self.open("f"), PAGE)
        child = self.child()
        child.call(map_and_set, self.path("f"), 7, 42)
        self.assertEqual(memory[7], 42)
        memory.close()

    def test_mappings_of_two_mounts_after_msync_and_open(self):
        write_file(self.path("f"), bytes(8 * PAGE))
        for i in range(20):
            top = (self.path, self.at_other)[i % 2]
            map_and_set(top("f"), i * 1000, i + 1)
        data = read_file(self.path("f"))
        self.assertEqual([data[i * 1000] for i in range(20)], list(range(1, 21)))

    def test_advice_changes_nothing(self):
        write_file(self.path("f"), b"x" * 8 * PAGE)
        fd = self.open("f")
        memory = mmap.mmap(fd, 8 * PAGE)
        memory[3 * PAGE] = 7
        for advice in (mmap.MADV_WILLNEED, mmap.MADV_SEQUENTIAL, mmap.MADV_DONTNEED):
            memory.madvise(advice)
        self.assertEqual(memory[3 * PAGE], 7)
        memory.flush()
        for advice in (os.POSIX_FADV_WILLNEED, os.POSIX_FADV_RANDOM, os.POSIX_FADV_DONTNEED):
            os.posix_fadvise(fd, 0, 0, advice)
        self.assertEqual(os.pread(fd, 1, 3 * PAGE), b"\7")
        memory.close()


def map_and_set(path, at, value):
    fd = os.open(path, os.O_RDWR)
    memory = mmap.mmap(fd, os.fstat(fd).st_size)
    memory[at] = value
    memory.flush()
    memory.close()
    os.close(fd)
