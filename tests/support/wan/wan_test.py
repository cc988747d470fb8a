#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each effect of wan.py is there, and nothing else happens to the bytes."""
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

WAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wan.py")
PATIENCE_S = 30  # before "it does not come" is a failure
SILENCE_S = 0.5  # before "nothing comes" is believed


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WanTest(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.control, self.port = self.place.name + "/control", free_port()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.listener.settimeout(PATIENCE_S)
        target = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.wan = subprocess.Popen([sys.executable, WAN, "serve", f"127.0.0.1:{self.port}", target, self.control])
        self.addCleanup(self.wan.wait)
        self.addCleanup(self.wan.kill)
        end = time.monotonic() + PATIENCE_S
        while not os.path.exists(self.control) and time.monotonic() < end:
            time.sleep(0.02)
        self.client, self.server = self.connect()

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        server, _ = self.listener.accept()
        server.settimeout(PATIENCE_S)
        for end in (client, server):
            self.addCleanup(end.close)
        return client, server

    def tell(self, *words):
        done = subprocess.run([sys.executable, WAN, self.control, *words], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def receive(self, end, length):
        data = b""
        while len(data) < length and (piece := end.recv(length - len(data))):
            data += piece
        return data

    def comes_through(self, sender, receiver, data):
        thread = threading.Thread(target=sender.sendall, args=(data,))
        thread.start()
        try:
            self.assertEqual(self.receive(receiver, len(data)), data)
        finally:
            thread.join(PATIENCE_S)

    def hears_nothing(self, end):
        end.settimeout(SILENCE_S)
        with self.assertRaises(TimeoutError):
            end.recv(1)
        end.settimeout(PATIENCE_S)

    def is_reset(self, end):
        with self.assertRaises(ConnectionResetError):
            while end.recv(65536):
                pass

    def test_all_arrives_in_order_through_a_slow_line_with_stalls(self):
        self.tell("delay", "5", "20")
        self.tell("stalls", "5", "100")
        self.tell("rate", "4096")
        self.tell("piece", "7001")
        data = random.randbytes(1 << 20)
        self.comes_through(self.client, self.server, data)
        self.comes_through(self.server, self.client, data[::-1])

    def test_a_delay_is_waited_for(self):
        self.tell("delay", "600", "up")
        self.client.sendall(b"late")
        self.hears_nothing(self.server)
        self.assertEqual(self.receive(self.server, 4), b"late")
        self.tell("delay", "0")
        self.tell("delay", "600", "0", "down")
        self.comes_through(self.client, self.server, b"the other way is as ever")

    def test_a_rate_lets_only_so_much_through(self):
        self.tell("rate", "64", "up")
        self.tell("piece", "4096")
        thread = threading.Thread(target=self.client.sendall, args=(bytes(1 << 20),))
        thread.start()
        time.sleep(1)
        self.assertLess(int(self.tell("status").split(",")[1].split()[0]), 1 << 19)
        self.tell("rate", "0")
        self.assertEqual(len(self.receive(self.server, 1 << 20)), 1 << 20)
        thread.join()

    def test_a_stall_holds_back_what_is_behind_it(self):
        self.tell("stalls", "100", "1000", "up")
        self.client.sendall(b"first")
        time.sleep(0.1)
        self.tell("stalls", "0", "0")
        self.client.sendall(b"second")
        self.hears_nothing(self.server)
        self.assertEqual(self.receive(self.server, 11), b"firstsecond")

    def test_a_partition_of_one_direction_lets_the_other_pass(self):
        self.tell("partition", "up")
        self.client.sendall(b"held")
        self.comes_through(self.server, self.client, b"passes")
        self.hears_nothing(self.server)
        self.tell("heal", "up")
        self.assertEqual(self.receive(self.server, 4), b"held")

    def test_a_partition_of_both_lets_nothing_through_and_keeps_it(self):
        self.tell("partition")
        client, server = self.connect()
        data = random.randbytes(8 << 20)  # more than all buffers: the sender waits
        threads = [threading.Thread(target=end.sendall, args=(data,)) for end in (client, self.server)]
        for thread in threads:
            thread.start()
        self.client.shutdown(socket.SHUT_WR)  # an end does not pass either
        for end in (server, self.client, self.server):
            self.hears_nothing(end)
        self.assertEqual(self.tell("status"), "2 connections, 0 bytes up, 0 bytes down, 0 resets")
        self.tell("heal")
        self.assertEqual(self.receive(server, len(data)), data)
        self.assertEqual(self.receive(self.client, len(data)), data)
        self.assertEqual(self.server.recv(1), b"")
        for thread in threads:
            thread.join()

    def test_both_sides_see_a_reset(self):
        self.comes_through(self.client, self.server, b"x")
        self.tell("reset")
        self.is_reset(self.client)
        self.is_reset(self.server)
        self.assertIn("1 resets", self.tell("status"))
        client, server = self.connect()
        self.comes_through(client, server, b"a new connection is well")

    def test_a_reset_within_a_message_cuts_it_there(self):
        self.tell("reset-after", "1000", "up")
        self.client.sendall(b"a" * 700)
        self.assertEqual(len(self.receive(self.server, 700)), 700)
        self.client.sendall(b"b" * 700)
        received = b""
        with self.assertRaises(ConnectionResetError):
            while piece := self.server.recv(4096):
                received += piece
        self.assertLessEqual(len(received), 300)  # a reset may overtake what the other has not read yet
        self.is_reset(self.client)
        client, server = self.connect()
        self.comes_through(client, server, bytes(5000))  # once

    def test_a_reset_by_one_side_reaches_the_other(self):
        self.comes_through(self.client, self.server, b"x")
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.client.close()
        self.is_reset(self.server)

    def test_half_closed_connections_go_on(self):
        self.client.sendall(b"question")
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.receive(self.server, 100), b"question")
        self.comes_through(self.server, self.client, b"answer")

    def test_where_nobody_listens_the_connection_is_reset(self):
        self.listener.close()
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        self.addCleanup(client.close)
        self.is_reset(client)

    def test_clear_and_wrong_commands(self):
        self.tell("partition")
        self.tell("delay", "100000")
        self.tell("clear")
        self.comes_through(self.client, self.server, b"clear again")
        for words in (("nonsense",), ("delay",), ("delay", "soon"), ("partition", "sideways")):
            done = subprocess.run([sys.executable, WAN, self.control, *words], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
