# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs workloads on subjects in turn: step by step, so that what the machine does meanwhile hits all alike."""
import contextlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict

from . import machine, rows
from .machine import Failed, OtherLoad

NOISE_MAX = 0.15  # of one CPU, used by others during a measurement


def say(text):
    print(f"[{time.strftime('%T')}] {text}", file=sys.stderr, flush=True)


class Figures:
    """What one (row, threads) gave, by subject."""

    def __init__(self):
        self.rates, self.cpu_us, self.errors, self.noise = defaultdict(list), defaultdict(list), {}, []

    def median(self, subject):
        return statistics.median(self.rates[subject]) if self.rates.get(subject) else None

    def median_cpu(self, subject):
        return statistics.median(self.cpu_us[subject]) if self.cpu_us.get(subject) else None


class Bench:
    def __init__(self, work, subjects, lock):
        self.work, self.subjects, self.lock = work, subjects, lock
        self.figures = {}        # (row, threads) → Figures, in the order of the table
        self.broken = set()      # (subject, workload) that cannot go on
        self.failures = []       # what should have worked
        self.settle_s = 0

    def set_up(self):
        for subject in self.subjects:
            begin = time.monotonic()
            subject.start()
            subject.mount()
            say(f"{subject.name}: up after {time.monotonic() - begin:.1f} s")

    def run(self, workload, chosen, turn):
        steps = workload.chosen(chosen)
        if not steps:
            return
        order = self.subjects[turn % len(self.subjects):] + self.subjects[:turn % len(self.subjects)]
        for subject in order:
            self.broken.discard(subject.name)
            self.place(subject).mkdir(exist_ok=True)
        for step in steps:
            if not step.cold:
                time.sleep(self.settle_s)  # attributes that a client may keep for a second have run out
            with self.undisturbed():
                for subject in order:
                    if subject.name not in self.broken:
                        self.attempt(subject, step, report=step.row in chosen)
            if step.row in chosen:
                said = [f"{s.name} {self.shown(step, s)}" for s in self.subjects]
                say(f"{step.row}, {step.threads} thread{'s' * (step.threads > 1)}: {', '.join(said)}")
        for subject in order:
            rows.remove(self.place(subject))

    @staticmethod
    def place(subject):
        return subject.directory / "bench"

    def shown(self, step, subject):
        rates = self.figures[step.row, step.threads].rates.get(subject.name)
        return f"{rates[-1]:.0f}" if rates else "failed"

    def attempt(self, subject, step, report):
        figures = self.figures.setdefault((step.row, step.threads), Figures()) if report else Figures()
        try:
            self.measure(subject, step, figures)
        except Failed as error:
            figures.errors[subject.name] = str(error)
            if subject.name not in step.may_fail:
                self.fail(f"{subject.name}, {step.row}: {error}")
            if step.changes:
                self.broken.add(subject.name)
            subject.remount()

    def fail(self, text):
        say(f"failed: {text}")
        self.failures.append(text)

    def measure(self, subject, step, figures):
        if step.cold:
            subject.remount()
            self.work.drop_caches()
        else:
            self.work.sync()
        self.work.memory.warm(step.memory_mib)
        with self.others_at_rest(subject):
            load = OtherLoad([each.group for each in self.subjects])
            before, _ = subject.group.cpu()
            operations, seconds = step.action(self.place(subject))
            used_us = subject.group.cpu()[0] - before
            figures.noise.append(load.share())
        figures.rates[subject.name].append(operations / seconds)
        if subject.has_processes:
            figures.cpu_us[subject.name].append(used_us / operations)

    @contextlib.contextmanager
    def others_at_rest(self, subject):
        """Who goes on working after its answers pays for that in its own measurements alone."""
        with contextlib.ExitStack() as stack:
            for other in self.subjects:
                if other.works_on and other is not subject:
                    stack.enter_context(other.group.frozen())
            yield

    @contextlib.contextmanager
    def undisturbed(self):
        """Holds what --lock takes: a command that runs another one when the machine may be measured."""
        if not self.lock:
            yield
            return
        holder = subprocess.Popen([*self.lock, "sh", "-c", "echo; read end || :"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.readline()
            yield
        finally:
            holder.stdin.close()
            holder.wait()


def measure_memory(subject, sizes, settle_s):
    """Resident MiB of daemons and FUSE client: idle, after many files were made and listed through the mount, after drop_caches.
    And the CPU time that both need for nothing, in ms a second."""
    def sample(stage, into):
        client, all_kib = 0, 0
        for name, kib in subject.group.resident_kib().items():
            client += kib if name == subject.client else 0
            all_kib += kib if name not in ("sleep", "sh") else 0
        into |= {f"client {stage}": client / 1024, f"daemons {stage}": (all_kib - client) / 1024}

    subject.unmount()
    machine.wait_for(f"{subject.name}: end of its client", lambda: subject.client not in subject.group.resident_kib())
    subject.mount()
    time.sleep(settle_s)
    measured = {}
    sample("idle", measured)
    begin, (before, _) = time.monotonic(), subject.group.cpu()
    time.sleep(1 + 2 * settle_s)
    measured["idle CPU"] = (subject.group.cpu()[0] - before) / 1000 / (time.monotonic() - begin)
    directory = Bench.place(subject)
    directory.mkdir()
    rows.tool("smallfile", directory, "create", 4, 100, sizes.memory_files // 100)
    subprocess.run(["ls", "-lR", str(directory)], stdout=subprocess.DEVNULL, check=True, timeout=1800)
    sample("loaded", measured)
    subject.work.drop_caches()
    time.sleep(settle_s)  # what the kernel forgets, it tells the client afterwards
    sample("dropped", measured)
    rows.remove(directory)
    return measured
