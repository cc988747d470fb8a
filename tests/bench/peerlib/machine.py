# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run needs of the machine: a place of its own, XFS images, a control group and a network namespace for each subject.

A run is one directory, `polder-bench.*`, and one control group of the same name. Whatever it starts is in the group, whatever
it makes is below the directory: so it is all found and taken down again, also what a killed run left behind. Its mounts are in
a mount namespace of its own: no other program's namespace holds a copy that would keep them alive, and they end with it.
"""
import contextlib
import fcntl
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(os.environ.get("POLDER_BENCH_DIR", "/var/tmp"))
INSIDE = "POLDER_BENCH_INSIDE"
CLEAN_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class Failed(Exception):
    """A program did not do what the benchmark needs; the text says which and why."""


def run(*command, timeout=300, **options):
    """Its standard output. Not for what leaves a daemon behind: the daemon would keep the pipe, and the reader wait for it."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, text=True, timeout=timeout, stdin=options.pop("stdin", subprocess.DEVNULL),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(words)}: no end after {timeout} s") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {(done.stderr.strip() or done.stdout.strip() or f'status {done.returncode}')[-400:]}")
    return done.stdout.strip()


class Memory:
    """A virtual machine that tells its host which pages are free (free page reporting) pays 3 to 11 µs for each when it takes it again,
    by chance: whoever is measured then is up to ten times slower. So the run holds most of the memory, and what it leaves is taken
    and given back before each measurement. Other machines have nothing to hold."""
    LEFT_GIB = 8
    RESERVE_GIB = 1

    def __init__(self, hold):
        self.held = None
        words = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].split()
        left = free_bytes() - (self.LEFT_GIB << 30)
        if hold and "hypervisor" in words and left > 0:
            self.held = take(left)

    def warm(self, mib):
        """For the next measurement to take."""
        if self.held:
            take(min(mib << 20, max(free_bytes() - (self.RESERVE_GIB << 30), 1 << 20))).close()


def take(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)


def free_bytes():
    return next(int(line.split()[1]) << 10 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemFree"))


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what}: not after {seconds} s")
        time.sleep(0.05)


def cgroup_root():
    """Version 2 accounts CPU time to every group, also of processes that have ended, without any controller enabled."""
    for line in Path("/proc/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2":
            return Path(words[1])
    raise Failed("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")


def enter_mount_namespace(keep):
    """Begins this program again in a mount namespace of its own. Mounts of others that could be unmounted meanwhile are not
    kept alive by it; those that hold one of the paths of `keep` stay."""
    if not os.environ.get(INSIDE):
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "slave", sys.executable, *sys.argv])
    del os.environ[INSIDE]
    for device, point, kind, *_ in reversed([line.split() for line in Path("/proc/mounts").read_text().splitlines()]):
        needed = any(Path(path).resolve().is_relative_to(point) for path in [*keep, ROOT])
        if (device.startswith("/dev/loop") or kind.startswith("fuse")) and not needed:
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)


class Group:
    """The control group of one subject: its CPU time, its processes."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def start(self, command, log, timeout=60, wait=True, environment=None):
        """Runs a command in the group, its output in the log. Daemons that it leaves behind stay in the group."""
        words = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', self.path / "cgroup.procs", *command]
        with open(log, "ab") as output:
            begin = output.tell()
            process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env={**CLEAN_ENVIRONMENT, **(environment or {})}, start_new_session=True)
        if not wait:
            return process
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(map(str, command))}: no end after {timeout} s; see {log}") from error
        if status != 0:
            tail = " | ".join(Path(log).read_bytes()[begin:].decode(errors="replace").splitlines()[-3:])
            raise Failed(f"{' '.join(map(str, command))}: status {status}: {tail}")
        return process

    @contextlib.contextmanager
    def frozen(self):
        """None of its processes runs meanwhile."""
        switch = self.path / "cgroup.freeze"
        switch.write_text("1")
        try:
            wait_for(f"{self.path.name}: standstill", lambda: "frozen 1" in (self.path / "cgroup.events").read_text())
            yield
        finally:
            switch.write_text("0")

    def cpu(self):
        """(µs of all CPU time, µs of it in user mode)"""
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]), int(fields["user_usec"])

    def resident_kib(self):
        """Name of program → resident memory of all its processes."""
        sizes = {}
        for pid in (self.path / "cgroup.procs").read_text().split():
            try:
                status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            except FileNotFoundError:
                continue
            if "VmRSS" in status:
                name = status["Name"].strip()
                sizes[name] = sizes.get(name, 0) + int(status["VmRSS"].split()[0])
        return sizes


class Namespace:
    """A network of its own, with one address on its loopback; kept by a process of the group, gone with it.

    `script` runs in a private mount namespace: what it mounts, only commands with mounts=True see.
    """

    def __init__(self, group, log, address, script=""):
        ready = Path(f"{log}.ready")
        inside = f"ip link set lo up; ip address add {address}/32 dev lo; {script}\n: > '{ready}'; exec sleep infinity"
        private = ["--mount", "--propagation", "slave"] if script else []
        self.pid = group.start(["unshare", "--net", *private, "sh", "-ec", inside], log, wait=False).pid
        wait_for(f"namespace, see {log}", ready.exists)

    def command(self, *words, mounts=False):
        return ["nsenter", "-t", self.pid, "-n", *(["-m"] if mounts else []), "--", *words]


class Work:
    """The run's directory. `image_gib`: size of each file system's image. `steady`: its figures are to be compared, so what would move
    them by chance is taken away first, which takes a minute."""

    def __init__(self, image_gib, steady):
        self.image_gib, self.steady = image_gib, steady
        for left in ROOT.glob("polder-bench.*"):
            take_down_if_left(left)
        self.path = Path(tempfile.mkdtemp(prefix="polder-bench.", dir=ROOT))
        self.lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.path.chmod(0o711)  # some daemons run as a user of their own
        self.groups = cgroup_root() / self.path.name
        self.groups.mkdir()
        self.memory = Memory(steady)

    def group(self, name):
        return Group(self.groups / name)

    def sync(self):
        """What the run wrote, not what others did."""
        mounts = [line.split()[:2] for line in Path("/proc/mounts").read_text().splitlines()]
        points = [point for device, point in mounts if device.startswith("/dev/loop") and point.startswith(f"{self.path}/")]
        if points:
            run("sync", "--file-system", *points)

    def drop_caches(self):
        self.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")

    def close(self):
        take_down(self.path)

    def make_xfs(self, name):
        """A new XFS on a file, mounted. Direct: the loop device does not cache a second time. The file is written before: making its
        blocks while a measurement writes costs the first who comes to a place up to seven times the write."""
        image = self.path / f"{name}.img"
        if os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize < 2 * self.image_gib * 2**30:
            raise Failed(f"{self.path} has no room for an image of {self.image_gib} GiB for {name}; fewer --files need less")
        run("fallocate", "-l", f"{self.image_gib}G", image)
        if self.steady:
            fill(image)
        run("mkfs.xfs", "-q", "-i", "size=512", image)
        return self.mount_xfs(name)

    def mount_xfs(self, name):
        directory = self.path / name
        directory.mkdir(exist_ok=True)
        device = run("losetup", "-f", "--show", "--direct-io=on", self.path / f"{name}.img")
        try:
            run("mount", device, directory)
        finally:
            run("losetup", "-d", device)  # when it is unmounted
        return directory


def fill(path):
    """With what no storage below makes smaller."""
    piece = mmap.mmap(-1, 16 << 20)  # aligned, as direct I/O wants it
    piece.write(os.urandom(len(piece)))
    file = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        for at in range(0, os.fstat(file).st_size, len(piece)):
            os.pwrite(file, piece, at)
        os.fsync(file)
    finally:
        os.close(file)


def unmount(directory):
    """Waits for what still holds the mount, such as a read-ahead that is under way."""
    end = time.monotonic() + 20
    while os.path.ismount(directory):
        try:
            run("umount", directory, timeout=60)
        except Failed:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def take_down_if_left(path):
    """A run holds the lock of its directory as long as it lives."""
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - path.stat().st_mtime > 1:  # not one that is just being made
            take_down(path)
    except BlockingIOError:
        pass
    finally:
        os.close(directory)


def take_down(path):
    group = cgroup_root() / path.name
    if group.is_dir():
        (group / "cgroup.kill").write_text("1")
        wait_for("processes to end", lambda: "populated 0" in (group / "cgroup.events").read_text())
        for below in group.iterdir():
            if below.is_dir():
                below.rmdir()
        group.rmdir()
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for directory in reversed([point for point in mounted if point.startswith(f"{path}/")]):
        if subprocess.run(["umount", directory], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            run("umount", "-l", directory)
    for line in run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
        device, _, file = line.partition(" ")
        if file.strip().startswith(f"{path}/"):
            subprocess.run(["losetup", "-d", device], check=False)
    shutil.rmtree(path)


class OtherLoad:
    """How much of one CPU programs that are not part of the run used meanwhile. User mode only: nobody knows whose work a
    kernel thread does."""

    def __init__(self, groups):
        self.groups = groups
        self.begin = self.now()

    def now(self):
        user, nice, _, _, _, _, _, steal = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        all_us = (user + nice + steal) * 1_000_000 / os.sysconf("SC_CLK_TCK")
        own = os.times()
        ours_us = sum(group.cpu()[1] for group in self.groups) + (own.user + own.children_user) * 1e6
        return time.monotonic(), all_us - ours_us

    def share(self):
        (begin, used), (end, used_now) = self.begin, self.now()
        return max(0.0, (used_now - used) / 1e6 / max(end - begin, 0.05))
