# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the rows of the table with their floors, and the workloads that give them.

A workload is a list of steps in a directory of its own. Cold steps begin after a remount with all caches of the machine
dropped, which are the client's and the servers'. All figures are rates: more is better.
"""
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from .machine import Failed, run
from .subjects import BIN


@dataclass(frozen=True)
class Row:
    name: str
    unit: str
    passthrough: float | None = None  # floor: share of passthrough's figure in the same run
    gluster: float | None = None      # floor: multiple of GlusterFS's
    moosefs: float | None = None      # floor: multiple of MooseFS's


ROWS = [
    # name, unit, floors: of passthrough, × GlusterFS, × MooseFS
    Row("create", "files/s", 0.40, 4.0, 1.0),
    Row("stat", "files/s", 0.50, 2.0),
    Row("small read", "files/s", 0.45, 1.4),
    Row("ls -lR", "files/s", 0.55, 2.5),
    Row("rename", "files/s", 0.40, 8.0, 1.0),
    Row("delete", "files/s", 0.40, 2.5, 1.0),
    Row("mkdir", "dirs/s", None, 2.0),
    Row("sequential write", "MiB/s", 0.85, 1.0),
    Row("sequential read", "MiB/s", 0.70, 1.0),
    Row("untar", "entries/s", None, 4.0),
    Row("rm -rf", "entries/s"),
    Row("random write", "4 KiB/s", None, 2.0),
    Row("random read", "4 KiB/s", None, 2.0),
    Row("random write, direct", "4 KiB/s", None, 2.0),
    Row("random read, direct", "4 KiB/s", None, 2.0),
    Row("append+fsync", "4 KiB/s", None, 1.5),
]
CPU_TO_GLUSTER_MAX = 1 / 3   # µs of CPU time an operation, all processes of the file system together
SETS_ROWS = ["mkdir", "create", "readdir", "stat"]
SETS_MIN = 0.9               # figure with 24 sets to figure with 3: the same, but for the noise
MEMORY_MAX_MIB = {"daemons idle": 60, "client loaded": 150, "client dropped": 50}  # the last: "given back"

RANDOM_JOBS = 16


class Sizes:
    """All sizes follow from the number of small files: 10,000 is the whole benchmark."""

    def __init__(self, files, tree=None):
        self.scale = files / 10000
        self.are_measured = files >= 1000  # with fewer it is a test of the benchmark
        self.directories = max(1, min(100, files // 10))
        self.files_each = max(1, files // self.directories)
        self.mkdir_parents = max(1, min(20, files // 100))
        self.mkdirs_each = max(1, files // 10 // self.mkdir_parents)
        self.sequential_mib = self.at_least(8, 1024)
        self.random_mib = self.at_least(RANDOM_JOBS, 1024)
        self.random_operations = self.at_least(RANDOM_JOBS, 65536)
        self.appends = self.at_least(4, 1000)
        self.memory_files = self.at_least(100, 100_000)
        self.image_gib = 1 + -(-3 * self.sequential_mib // 1024)
        self.tree = tree or Path("/usr/include") / ("" if self.scale >= 1 else "linux" if self.scale >= 0.1 else "asm-generic")

    def at_least(self, smallest, whole):
        return max(smallest, round(whole * self.scale))


@dataclass(frozen=True)
class Step:
    row: str
    threads: int
    action: Callable[[Path], tuple]  # directory → (operations, seconds)
    changes: bool = False            # what later steps build on
    cold: bool = False
    may_fail: tuple = ()             # subjects that cannot do this at all
    memory_mib: int = 2048           # that it may take anew, in caches above all


@dataclass(frozen=True)
class Workload:
    name: str
    steps: list

    def chosen(self, rows):
        """The steps that the rows need: theirs, and every change before the last of theirs."""
        wanted = [index for index, step in enumerate(self.steps) if step.row in rows]
        last = wanted[-1] if wanted else -1
        return [step for index, step in enumerate(self.steps) if index in wanted or (step.changes and index < last)]


def tool(program, *words):
    operations, seconds = run(BIN.parent / "bench" / program, *words, timeout=1800).split()
    return int(operations), float(seconds)


def timed(operations, *command, **options):
    begin = time.monotonic()
    run(*command, timeout=1800, **options)
    return operations, time.monotonic() - begin


def small_files(sizes, threads):
    def phase(name):
        return lambda directory: tool("smallfile", directory, name, threads, sizes.directories, sizes.files_each)

    def list_all(directory):
        begin = time.monotonic()
        if subprocess.run(["ls", "-lR", str(directory)], stdout=subprocess.DEVNULL, timeout=1800, check=False).returncode:
            raise Failed(f"ls -lR {directory} failed")
        return sizes.directories * sizes.files_each, time.monotonic() - begin

    listing = [Step("ls -lR", 1, list_all, cold=True)] if threads == 1 else []
    return Workload(f"small files, {threads}", [
        Step("create", threads, phase("create"), changes=True),
        Step("stat", threads, phase("stat"), cold=True),
        Step("small read", threads, phase("read"), cold=True),
        *listing,
        Step("rename", threads, phase("rename"), changes=True),
        Step("delete", threads, phase("delete"), changes=True)])


def directories(sizes, threads):
    return Workload(f"mkdir, {threads}", [
        Step("mkdir", threads, lambda directory: tool("smallfile", directory, "mkdir", threads, sizes.mkdir_parents,
                                                      sizes.mkdirs_each), changes=True)])


def sequential(sizes):
    def phase(name):
        return lambda directory: tool("bigfile", directory, name, 1, sizes.sequential_mib, 0)
    memory = 6 * sizes.sequential_mib  # the cache of the mount and that of the brick, and what else is free
    return Workload("sequential", [Step("sequential write", 1, phase("write"), changes=True, memory_mib=memory),
                                   Step("sequential read", 1, phase("read"), cold=True, memory_mib=memory)])


def tree(sizes, archive):
    """Unpacks a tar of a tree of this machine and removes it. passthrough may not have as many files open as that."""
    run("tar", "-cf", archive, "-C", sizes.tree.parent, sizes.tree.name, timeout=600)
    entries = len(run("tar", "-tf", archive, timeout=600).splitlines())
    return Workload("tree", [
        Step("untar", 1, lambda directory: timed(entries, "tar", "-xf", archive, "-C", directory), changes=True,
             may_fail=("passthrough",)),
        Step("rm -rf", 1, lambda directory: timed(entries, "rm", "-rf", directory / sizes.tree.name), changes=True,
             may_fail=("passthrough",))])


def at_random(sizes):
    def phase(name, *direct):
        return lambda directory: tool("bigfile", directory, name, RANDOM_JOBS, sizes.random_mib, sizes.random_operations, *direct)
    # passthrough_ll hands the kernel's buffers on as they come, which O_DIRECT does not take.
    memory = 6 * sizes.random_mib
    return Workload("random", [
        Step("lay out", RANDOM_JOBS, phase("write"), changes=True, memory_mib=memory),
        Step("random write", RANDOM_JOBS, phase("randwrite"), changes=True, memory_mib=memory),
        Step("random read", RANDOM_JOBS, phase("randread"), cold=True, memory_mib=memory),
        Step("random write, direct", RANDOM_JOBS, phase("randwrite", "direct"), may_fail=("passthrough",)),
        Step("random read, direct", RANDOM_JOBS, phase("randread", "direct"), may_fail=("passthrough",))])


def appends(sizes, threads):
    return Workload(f"append, {threads}", [
        Step("append+fsync", threads, lambda directory: tool("bigfile", directory, "append", threads, 0, sizes.appends),
             changes=True)])


def workloads(sizes, archive):
    return [small_files(sizes, 1), small_files(sizes, 4), directories(sizes, 1), directories(sizes, 4), sequential(sizes),
            tree(sizes, archive), at_random(sizes), appends(sizes, 1), appends(sizes, 4)]


def same_cost(sizes):
    """For volumes of few and of many sets."""
    def phase(name):
        return lambda directory: tool("smallfile", directory / "files", name, 1, sizes.directories, sizes.files_each)

    def make(directory):
        (directory / "files").mkdir(exist_ok=True)
        return phase("create")(directory)

    def make_directories(directory):
        (directory / "directories").mkdir()
        return tool("smallfile", directory / "directories", "mkdir", 1, sizes.mkdir_parents, sizes.mkdirs_each)
    return Workload("same cost", [Step("mkdir", 1, make_directories, changes=True), Step("create", 1, make, changes=True),
                                  Step("readdir", 1, phase("readdir"), cold=True), Step("stat", 1, phase("stat"), cold=True)])


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
