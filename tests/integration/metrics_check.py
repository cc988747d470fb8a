#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a page of metrics as strictly as Prometheus does, and by its naming conventions; prints samples that are asked for.
usage: metrics_check.py URL|unix:SOCKET [NAME{label="value",...} ...]   each is printed as its value, or "none"
"""
import http.client
import math
import re
import socket
import sys
import urllib.request

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def fail(why):
    sys.exit(f"metrics_check: {why}")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def fetch(where):
    if where.startswith("unix:"):
        connection = UnixConnection(where[5:])
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        status, kind, body = answer.status, answer.getheader("Content-Type"), answer.read()
    else:
        with urllib.request.urlopen(where, timeout=30) as answer:
            status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
    if status != 200 or not kind.startswith("text/plain; version=0.0.4"):
        fail(f"{where}: status {status}, {kind}")
    return body.decode()


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        label = LABEL.match(text, at) or fail(f"labels {text!r}")
        if label[1] in labels:
            fail(f"label {label[1]} twice in {text!r}")
        labels[label[1]] = label[2]
        at = label.end()
    return labels


def parse(page):
    """{(name, labels): value} and {family: type}; every rule of the format that could be broken is checked."""
    if not page.endswith("\n"):
        fail("the last line does not end")
    types, helps, samples, family = {}, set(), {}, None
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            if name in helps or len(line.split(" ", 3)) < 4:
                fail(f"HELP twice or empty: {line}")
            helps.add(name)
            continue
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            if family in types or family not in helps:
                fail(f"TYPE twice, or without HELP: {line}")
            types[family] = kind
            continue
        sample = SAMPLE.match(line) or fail(f"not a sample: {line!r}")
        name = sample[1]
        if name != family and not (types[family] == "histogram" and name in (family + "_bucket", family + "_sum", family + "_count")):
            fail(f"{name} is not of the family {family}")
        key = (name, frozenset(labels_of(sample[2] or "").items()))
        if key in samples:
            fail(f"twice: {line}")
        samples[key] = float(sample[3])
    return types, samples


def check(types, samples):
    for family, kind in types.items():
        if (kind == "counter") != family.endswith("_total"):
            fail(f"{family} is a {kind}: counters, and only they, end in _total")
        if not family.startswith(("polder_", "process_")):
            fail(f"{family}: not ours")
        if kind != "histogram":
            continue
        for (name, labels), count in samples.items():
            if name != family + "_count":
                continue
            buckets = sorted((float(dict(l)["le"]), v) for (n, l), v in samples.items()
                             if n == family + "_bucket" and labels == frozenset(x for x in l if x[0] != "le"))
            if not buckets or buckets[-1] != (math.inf, count):
                fail(f"{family} {dict(labels)}: +Inf is not the count")
            if any(a[1] > b[1] for a, b in zip(buckets, buckets[1:])):
                fail(f"{family} {dict(labels)}: buckets are not cumulative")
    for (name, labels), value in samples.items():
        if value < 0 or math.isnan(value):
            fail(f"{name} {dict(labels)} is {value}")


def main():
    page = fetch(sys.argv[1])
    types, samples = parse(page)
    check(types, samples)
    for wanted in sys.argv[2:]:
        name, _, labels = wanted.partition("{")
        labels = set(labels_of(labels.rstrip("}")).items())
        found = [v for (n, l), v in samples.items() if n == name and labels <= l]
        print("none" if not found else f"{sum(found):g}")


main()
