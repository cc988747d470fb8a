#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wide area network for tests: a TCP proxy that is slow, silent, cut or rude when told so.

    wan.py serve LISTEN-HOST:PORT TO-HOST:PORT CONTROL   runs until it is killed; CONTROL: a unix socket to make
    wan.py CONTROL COMMAND [ARGUMENT...]                 tells a running one; prints its answer; status 1: refused

"up" is from the side that connects to the one that listens, "down" the other way; where SIDE may be left out it is both.

    delay MS [JITTER-MS] [SIDE]   each piece arrives so much later; the order stays
    rate KIB-PER-S [SIDE]         0: as fast as it goes
    stalls PERCENT MS [SIDE]      so many pieces are "lost": it and all behind it come so much later (a retransmission's time-out)
    piece BYTES [SIDE]            at most so much travels at once: small ones cut frames into many (65536)
    partition [SIDE]              nothing passes; connections stay, new ones are accepted and hear nothing; what is under way waits
    heal [SIDE]                   the end of that
    reset                         all connections end with RST on both sides, what is under way is lost
    reset-after BYTES [SIDE]      the same for the connection that next has brought so many more bytes: in the midst of a frame
    clear                         as at the start, except that connections stay
    status                        one line: connections, bytes up, bytes down, resets

Not what a packet filter does: TCP ends at the proxy, so a side that is cut off sees silence and full buffers, but no lost SYN.
"""
import asyncio
import os
import random
import socket
import struct
import sys

WINDOW_BYTES = 1 << 20  # under way in one direction of one connection; a sender that is faster waits
SIDES = ("up", "down")


def abort(writer):
    """With no time to linger, closing sends RST."""
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # this end is gone already
    writer.transport.abort()


class Line:
    """What befalls one direction, of all connections."""

    def __init__(self):
        self.bytes = 0
        self.clear()

    def clear(self):
        self.delay_s = self.jitter_s = self.stall_s = self.loss = 0.0
        self.rate = 0  # bytes in a second
        self.piece = 65536
        self.reset_after = None
        self.open = asyncio.Event()
        self.open.set()


class Connection:
    def __init__(self, wan, client, server):
        self.wan = wan
        self.ends = (client, server)  # of (reader, writer)
        self.ended = False

    async def run(self):
        self.task = asyncio.current_task()
        self.wan.connections.add(self)
        try:
            async with asyncio.TaskGroup() as group:
                for i, line in enumerate(self.wan.lines.values()):
                    pipe = Pipe(self, line, self.ends[i][0], self.ends[1 - i][1])
                    group.create_task(pipe.take_in())
                    group.create_task(pipe.give_out())
        except* OSError:
            self.reset()
        except* asyncio.CancelledError:
            pass
        finally:
            self.wan.connections.discard(self)
            for _, writer in self.ends:
                writer.close()

    def reset(self):
        if self.ended:
            return
        self.ended = True
        self.wan.resets += 1
        for _, writer in self.ends:
            abort(writer)
        if self.task is not asyncio.current_task():
            self.task.cancel()  # what waits for a line to heal, or for more to send


class Pipe:
    """One direction of one connection."""

    def __init__(self, connection, line, reader, writer):
        self.connection, self.line, self.reader, self.writer = connection, line, reader, writer
        self.pieces = asyncio.Queue()  # (when it is due, bytes), in order: one that is late holds back all behind it
        self.under_way = 0
        self.room = asyncio.Event()

    async def take_in(self):
        clock = asyncio.get_running_loop().time
        while True:
            data = await self.reader.read(self.line.piece)
            late = self.line.delay_s + random.uniform(0, self.line.jitter_s)
            if random.random() < self.line.loss:
                late += self.line.stall_s
            self.pieces.put_nowait((clock() + late, data))
            if not data:
                return
            self.under_way += len(data)
            while self.under_way > WINDOW_BYTES:
                self.room.clear()
                await self.room.wait()

    async def give_out(self):
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await self.pieces.get()
            await asyncio.sleep(max(0.0, due - clock()))
            await self.line.open.wait()
            if not data:
                if self.writer.can_write_eof():
                    self.writer.write_eof()
                return
            if self.line.rate:
                await asyncio.sleep(len(data) / self.line.rate)
            await self.pass_on(data)
            self.under_way -= len(data)
            self.room.set()

    async def pass_on(self, data):
        line = self.line
        cut = line.reset_after is not None and line.reset_after <= len(data)
        if cut:
            data = data[:line.reset_after]
        self.writer.write(data)
        await self.writer.drain()
        line.bytes += len(data)
        if cut:
            line.reset_after = None
            self.connection.reset()
            await asyncio.sleep(0)  # cancelled here
        if line.reset_after is not None:
            line.reset_after -= len(data)


class Wan:
    def __init__(self, to):
        self.to = to
        self.lines = {side: Line() for side in SIDES}
        self.connections = set()
        self.resets = 0

    async def accept(self, reader, writer):
        try:
            server = await asyncio.open_connection(*self.to, limit=65536)
        except OSError:  # nobody listens: whoever connected hears that as a reset
            abort(writer)
            return
        await Connection(self, (reader, writer), server).run()

    async def control(self, reader, writer):
        words = (await reader.readline()).decode().split()
        try:
            answer = self.obey(*words)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            answer = f"refused: {error!r}"
        writer.write((answer or "ok").encode() + b"\n")
        await writer.drain()
        writer.close()

    def obey(self, command, *arguments):
        return getattr(self, "do_" + command.replace("-", "_"))(*arguments)

    def chosen(self, side):
        return [self.lines[side]] if side else list(self.lines.values())

    def set(self, side, **values):
        for line in self.chosen(side):
            for name, value in values.items():
                setattr(line, name, value)

    def do_delay(self, ms, jitter_ms="0", side=None):
        if jitter_ms in SIDES:
            jitter_ms, side = "0", jitter_ms
        self.set(side, delay_s=float(ms) / 1000, jitter_s=float(jitter_ms) / 1000)

    def do_rate(self, kib, side=None):
        self.set(side, rate=int(kib) * 1024)

    def do_stalls(self, percent, ms, side=None):
        self.set(side, loss=float(percent) / 100, stall_s=float(ms) / 1000)

    def do_piece(self, size, side=None):
        self.set(side, piece=max(1, int(size)))

    def do_partition(self, side=None):
        for line in self.chosen(side):
            line.open.clear()

    def do_heal(self, side=None):
        for line in self.chosen(side):
            line.open.set()

    def do_reset(self):
        for connection in list(self.connections):
            connection.reset()

    def do_reset_after(self, size, side=None):
        self.set(side, reset_after=int(size))

    def do_clear(self):
        for line in self.lines.values():
            line.open.set()  # whoever waits for the old event
            line.clear()

    def do_status(self):
        return (f"{len(self.connections)} connections, {self.lines['up'].bytes} bytes up, {self.lines['down'].bytes} bytes down, "
                f"{self.resets} resets")


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


async def serve(listen, to, control):
    wan = Wan(address(to))
    server = await asyncio.start_server(wan.accept, *address(listen), limit=65536)
    if os.path.exists(control):
        os.unlink(control)
    await asyncio.start_unix_server(wan.control, control)  # last: who sees it may connect
    await server.serve_forever()


def tell(control, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(control)
        connection.sendall(" ".join(command).encode() + b"\n")
        answer = connection.makefile().readline().strip()
    print(answer)
    return 1 if answer.startswith("refused") else 0


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "serve":
        asyncio.run(serve(*sys.argv[2:]))
    elif len(sys.argv) >= 3:
        sys.exit(tell(sys.argv[1], sys.argv[2:]))
    else:
        sys.exit(__doc__)
