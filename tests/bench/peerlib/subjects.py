# SPDX-License-Identifier: GPL-3.0-or-later
"""The file systems side by side. Each has a control group for everything that serves it (daemons and FUSE client), is started
once and mounted anew before every cold measurement.
"""
import os
import subprocess
from pathlib import Path

from . import machine
from .machine import Failed, Namespace, run

TOP = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("POLDER_BIN", TOP / "build/release/bin"))
EXAMPLE = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
POLDER_BRICKS = 3  # of a volume; each on an XFS of its own


class Subject:
    name = ""
    needs = {}  # program → Debian package
    has_processes = True
    client = ""  # the FUSE client's program
    works_on = False  # for minutes after its answers

    def __init__(self, work):
        self.work = work
        self.group = work.group(self.name)
        self.path = work.path / self.name  # what belongs to it
        self.path.mkdir()
        self.log = self.path / "log"
        self.directory = work.path / f"{self.name}.mount"
        self.directory.mkdir()

    @classmethod
    def missing(cls):
        """Packages to install, in one line; empty: none."""
        found = lambda program: subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode == 0
        return " ".join(sorted({package for program, package in cls.needs.items() if not found(program)}))

    def start(self):
        """Everything but the mount."""

    def mount(self):
        raise NotImplementedError

    def unmount(self):
        machine.unmount(self.directory)

    def remount(self):
        self.unmount()
        self.mount()

    def version(self):
        return ""

    def bricks(self, count):
        return [self.work.make_xfs(f"{self.name}.brick{number}") for number in range(1, count + 1)]

    def wait_for_mount(self):
        machine.wait_for(f"{self.name}: mount, see {self.log}", lambda: os.path.ismount(self.directory))


class Xfs(Subject):
    """A bare XFS on a loop file."""
    name = "xfs"
    has_processes = False

    def start(self):
        self.directory = self.work.make_xfs("xfs.bare")
        self.unmount()

    def mount(self):
        self.work.mount_xfs("xfs.bare")


class Passthrough(Subject):
    """libfuse's passthrough_ll over an XFS: FUSE without anything behind it."""
    name = "passthrough"
    client = "passthrough_ll"

    @classmethod
    def missing(cls):
        return "" if EXAMPLE.exists() else "libfuse3-dev"

    def start(self):
        self.under = self.work.make_xfs("passthrough.under")
        flags = run("pkg-config", "fuse3", "--cflags", "--libs").split()
        self.program = self.path / "passthrough_ll"
        run("clang-19", "-O2", "-w", "-o", self.program, EXAMPLE, f"-I{EXAMPLE.parent}", *flags)

    def mount(self):
        options = f"source={self.under},cache=auto"
        # It keeps a file open for every inode that the kernel knows.
        many_files = ["sh", "-c", 'ulimit -n 1000000 2> /dev/null || :; exec "$0" "$@"']
        self.process = self.group.start([*many_files, self.program, "-f", "-o", options, self.directory], self.log, wait=False)
        self.wait_for_mount()

    def unmount(self):
        super().unmount()
        machine.wait_for("passthrough to end", lambda: self.process.poll() is not None)


class Polder(Subject):
    """A volume through the daemon's unix socket."""
    name = "polder"
    client = "mount.polder"
    address = "10.99.0.1"

    def start(self):
        self.start_daemon()
        self.make_volume("data", [brick / "data" for brick in self.bricks(POLDER_BRICKS)])

    def start_daemon(self):
        self.space = Namespace(self.group, self.log, self.address)
        for directory in ("state", "run"):
            (self.path / directory).mkdir()
        daemon = [BIN / "polderd", "--cluster", "bench", "--state-dir", self.path / "state", "--run-dir", self.path / "run",
                  "--foreground"]
        process = self.run_inside(*daemon, wait=False)
        machine.wait_for("polderd", lambda: (self.path / "run/admin.sock").exists() or process.poll() is not None)
        if process.poll() is not None:
            raise Failed(f"polderd ended: {self.log.read_text(errors='replace')[-400:].strip()}")
        self.polder("cluster", "init", "--name", "bench", "--listen", f"{self.address}:24117")

    def run_inside(self, *words, wait=True):
        path = f"{BIN}:{machine.CLEAN_ENVIRONMENT['PATH']}"
        environment = {"PATH": path, "POLDER_SOCKET": str(self.path / "run/admin.sock")}
        return self.group.start(self.space.command(*words), self.log, wait=wait, environment=environment)

    def polder(self, *words):
        self.run_inside("polder", *words)

    def make_volume(self, volume, bricks, *force):
        self.polder("volume", "create", volume, *(f"{self.address}:{brick}" for brick in bricks), *force)
        self.polder("volume", "start", volume)

    def mount(self):
        self.mount_volume("data", self.directory)

    def mount_volume(self, volume, directory):
        self.run_inside("mount.polder", f"{self.address}:/{volume}", directory, "-o", f"socket={self.path}/run/data.sock")

    def version(self):
        return run(BIN / "polder", "--version")


class PolderTls(Polder):
    """The same through mTLS on loopback TCP, as from another machine."""
    name = "polder-tls"

    def start(self):
        super().start()
        token = self.path / "token"
        self.run_inside("sh", "-c", f"umask 077; polder cluster token --role client > {token}")
        self.polder("client", "join", "--token-file", token, "--client-dir", self.path / "client", "--name", "bench")

    def mount_volume(self, volume, directory):
        self.run_inside("mount.polder", f"{self.address}:24117:/{volume}", directory, "-o", f"client-dir={self.path}/client")


class Sets(Polder):
    """A volume of many sets whose bricks are directories of one file system."""

    def __init__(self, work, count):
        self.name = f"sets{count}"
        self.count = count
        super().__init__(work)

    def start(self):
        self.start_daemon()
        under = self.work.make_xfs(f"{self.name}.under")
        self.make_volume("data", [under / f"brick{number}" for number in range(self.count)], "force")


class Gluster(Subject):
    """GlusterFS, distribute of three bricks, as its packages set it up. One node: the way to the bricks is loopback TCP."""
    name = "gluster"
    client = "glusterfs"
    needs = {"glusterd": "glusterfs-server", "gluster": "glusterfs-cli", "mount.glusterfs": "glusterfs-client"}
    address = "10.99.0.2"

    def start(self):
        bricks = self.bricks(3)
        # Its own /var/lib/glusterd, logs and /run: nothing of the machine's own GlusterFS is touched.
        private = {"state": "/var/lib/glusterd", "logs": "/var/log/glusterfs"}
        for directory in private:
            (self.path / directory).mkdir()
        run("cp", "-a", "/var/lib/glusterd/.", self.path / "state")
        (self.path / "state/glusterd.info").unlink(missing_ok=True)
        # A copy of another mount would keep it alive when it is unmounted outside.
        others = f"awk -v own={self.work.path}/gluster.brick '($1 ~ /^.dev.loop/ || $3 ~ /^fuse/) && index($2, own) != 1 " \
                 "{print $2}' /proc/mounts | xargs -r umount -l"
        binds = [f"mount --bind '{self.path / mine}' {theirs}" for mine, theirs in private.items()]
        self.space = Namespace(self.group, self.log, self.address,
                               "; ".join([others, *binds, "mount -t tmpfs tmpfs /run; mkdir -p /run/gluster /run/lock"]))
        self.inside("glusterd")
        machine.wait_for("glusterd", self.answers)
        self.gluster("volume", "create", "data", "transport", "tcp", *(f"{self.address}:{brick}/data" for brick in bricks))
        self.gluster("volume", "start", "data")

    def inside(self, *words):
        self.group.start(self.space.command(*words, mounts=True), self.log)

    def gluster(self, *words):
        self.inside("gluster", "--mode=script", *words)

    def answers(self):
        try:
            self.gluster("volume", "list")
        except Failed:
            return False
        return True

    def mount(self):
        # In the machine's own mount namespace, so that the workload sees it.
        mount = ["mount", "-t", "glusterfs", "-o", f"log-file={self.path}/mount.log", f"{self.address}:/data", self.directory]
        self.group.start(self.space.command(*mount), self.log)
        self.wait_for_mount()

    def version(self):
        return run("glusterfs", "--version").splitlines()[0]


class Moosefs(Subject):
    """MooseFS with goal 1 on three chunk servers, one node. Blocks of zeros are stored like others, and deleted files are not
    kept in its trash; an fsync is answered from its servers' memory, and no setting changes that."""
    name = "moosefs"
    client = "mfsmount"
    works_on = True  # deletes chunks
    needs = {"mfsmaster": "moosefs-master", "mfschunkserver": "moosefs-chunkserver", "mfsmount": "moosefs-client",
             "mfscli": "moosefs-cli"}
    # It refuses to talk to its servers through 127.0.0.1.
    address = "10.99.0.3"
    servers = 3

    def start(self):
        disks = self.bricks(self.servers)
        self.space = Namespace(self.group, self.log, self.address)
        self.start_daemon("mfsmaster", self.path / "master", self.configure_master())
        for number, disk in enumerate(disks, 1):
            self.start_daemon("mfschunkserver", self.path / f"server{number}", self.configure_server(number, disk))
        machine.wait_for("chunk servers", lambda: self.listed_servers() == self.servers, 60)
        self.mount()
        self.inside("mfssetgoal", 1, self.directory)
        self.inside("mfssettrashtime", 0, self.directory)
        self.wait_for_chunks()
        self.unmount()

    def inside(self, *words):
        self.group.start(self.space.command(*words), self.log)

    def start_daemon(self, program, directory, settings):
        file = directory / "settings.cfg"
        file.write_text("".join(f"{key} = {value}\n" for key, value in {"DATA_PATH": directory, **settings}.items()))
        run("chown", "-R", "mfs:mfs", directory)
        self.inside(program, "-c", file, "start")

    def configure_master(self):
        directory = self.path / "master"
        directory.mkdir()
        run("cp", "/var/lib/mfs/metadata.mfs.empty", directory / "metadata.mfs")
        (directory / "exports").write_text(f"{self.address} / rw,alldirs,admin,maproot=0:0\n")
        (directory / "topology").touch()
        return {"EXPORTS_FILENAME": directory / "exports", "TOPOLOGY_FILENAME": directory / "topology"}

    def configure_server(self, number, disk):
        directory = self.path / f"server{number}"
        directory.mkdir()
        chunks = disk / "chunks"  # below the mount point: a disk that is not mounted is an error, not an empty disk
        chunks.mkdir()
        run("chown", "mfs:mfs", chunks)
        (directory / "disks").write_text(f"{chunks}\n")
        return {"HDD_CONF_FILENAME": directory / "disks", "MASTER_HOST": self.address, "BIND_HOST": self.address,
                "CSSERV_LISTEN_HOST": self.address, "CSSERV_LISTEN_PORT": 9421 + 10 * number, "MASTER_RECONNECTION_DELAY": 1,
                "HDD_SPARSIFY_ON_WRITE": 0}

    def listed_servers(self):
        listed = subprocess.run([str(word) for word in self.space.command("mfscli", "-H", self.address, "-ns:", "-SCS")],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        return sum(self.address in line for line in listed.splitlines())

    def wait_for_chunks(self):
        """The first chunks are refused while the master waits for its servers."""
        probe = self.directory / "probe"

        def is_stored():
            probe.write_text("x")
            return "copy 1" in run(*self.space.command("mfsfileinfo", probe))
        machine.wait_for("first chunk", is_stored, 60)
        probe.unlink()

    def mount(self):
        self.inside("mfsmount", "-H", self.address, self.directory)
        self.wait_for_mount()

    def version(self):
        return run("dpkg-query", "-W", "-f=MooseFS ${Version}", "moosefs-master")


ALL = [Xfs, Passthrough, Polder, PolderTls, Gluster, Moosefs]
PEER_PACKAGES = sorted({package for subject in (Gluster, Moosefs) for package in subject.needs.values()})
