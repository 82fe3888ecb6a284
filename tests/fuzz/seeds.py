#!/usr/bin/python3
"""Writes the seeds of fuzzers: tests/fuzz/seeds.py FOLDER, which gets sandboxd/, init/ and log/.

The layouts are those of sandboxd/wire.h, sandboxd/init/wire.h, server/log/frame.h and archive.h; whoever
changes these changes this, and runs it over tests/fuzz/{sandboxd,init,log}/corpus, see tests/README.md.
"""

import os
import struct
import sys
import zlib

# enum sd_op
HELLO, CREATE, KILL, ADOPT, INVENTORY, STATS, FREEZE, THAW = range(1, 9)
ID = b"sbx_" + b"0" * 25 + b"1"
OTHER = b"sbx_" + b"0" * 26
MIB = 1 << 20
LIMITS = (64 * MIB, 16 * MIB, 4096, 256 * MIB, 500, 64, 4096, 64)


def request(op, name=b"", limits=None, digest=b"", serial=7):
    """One that is whole: the fuzzer itself adds version and op, and zeros at the end."""
    body = struct.pack("<Q32s32s", serial, name, digest)
    body += struct.pack("<QQQQIIII", *(limits or (0,) * 8))
    return bytes([0x40 | op]) + body


def raw(version, op, name=b"", size=128):
    message = struct.pack("<IIQ32s", version, op, 1, name) + bytes(256)
    return bytes([0x00, size]) + message[:size]


def advance(slot=0):
    return bytes([0x80 | slot])


def sandboxd():
    hello = request(HELLO)
    create = request(CREATE, ID, LIMITS, b"\x11" * 32)
    up = create + advance() + advance()
    yield "life", hello + up + request(STATS, ID) + request(FREEZE, ID) + request(THAW, ID) + \
        request(ADOPT, ID) + request(INVENTORY) + request(KILL, ID) + advance()
    yield "twice", hello + up + create + request(KILL, ID) + request(KILL, ID) + advance() + create
    yield "kill_while_built", hello + create + advance() + request(KILL, ID) + request(KILL, ID)
    yield "kill_while_waiting", hello + create + request(KILL, ID)
    yield "dead", hello + up + advance() + request(ADOPT, ID) + request(STATS, ID) + request(KILL, ID)
    yield "missing", hello + b"".join(request(op, ID) for op in (KILL, ADOPT, STATS, FREEZE, THAW))
    yield "thaw", hello + up + request(THAW, ID) + request(FREEZE, ID) + request(FREEZE, ID) + \
        advance() + request(THAW, ID)
    yield "freeze_fails", hello + request(CREATE, OTHER, LIMITS) + advance() + advance() + \
        request(FREEZE, OTHER)
    yield "no_greeting", create + hello + hello
    yield "unused_fields", hello + request(KILL, ID, LIMITS) + hello + request(INVENTORY, ID)
    yield "alphabet", hello + request(CREATE, b"sbx_" + b"U" * 26, LIMITS) + hello + \
        request(CREATE, b"sbx_../../../../etc/passwd", LIMITS)
    yield "sizes", raw(2, HELLO) + raw(2, HELLO, size=127) + raw(2, HELLO, size=129) + \
        raw(1, HELLO) + raw(2, 0) + raw(2, 9)
    for i, name in enumerate(("memory", "disk", "inodes", "io", "cpu", "processes", "files", "ptys")):
        low = LIMITS[:i] + (0,) + LIMITS[i + 1:]
        high = LIMITS[:i] + ((1 << (64 if i < 4 else 32)) - 1,) + LIMITS[i + 1:]
        yield f"limit_{name}", hello + request(CREATE, ID, low) + request(CREATE, ID, high)
    yield "many", hello + b"".join(
        request(CREATE, b"sbx_" + f"{n:026d}".encode(), LIMITS) for n in range(20)) + request(INVENTORY)


# enum nest_op
(N_HELLO, SPAWN, SIGNAL, N_KILL, ACK, ATTACH, INPUT, RESIZE, READ, WRITE, LIST, GLOB, STAT, MAKE_DIR,
 MOVE, REMOVE, CONNECT, EXITED) = range(1, 19)
NEW_PEER, DEAF, HEARS, IDLE = 0xE8, 0xE0, 0xF0, 0xD0


def send(op, body=b"", fds=0, command=1, token=0, version=2):
    """The fuzzer makes it as long as it should be."""
    message = struct.pack("<IIQQQ", version, op, 5, command, token) + body
    message = message if op == INPUT else message.rstrip(b"\0")
    return bytes([0x40 | fds]) + struct.pack("<H", len(message)) + message


def exactly(message):
    """The fuzzer leaves it as it is."""
    return bytes([message[0] & 3]) + message[1:]


def spawn(command=1, user=1, flags=0, token=0):
    return send(SPAWN, struct.pack("<IIHHIII4096s", user, flags, 24, 80, 1, 0, 5, b"/"), 1, command, token)


def file(path, flags=0, upload=0, offset=0):
    return struct.pack("<IIQQ4096s", flags, 0o644, upload, offset, path)


def inp(offset, data, size=None, close=0, command=1):
    body = struct.pack("<QII", offset, len(data) if size is None else size, close)
    return send(INPUT, body + data, command=command)


def exec_ok(i):
    return bytes([0x80 | i])


def exec_fails(i):
    return bytes([0x90 | i])


def dies(i):
    return bytes([0xA0 | i])


def reads(i):
    """A part of its input; where there is none, it closes it."""
    return bytes([0xB0 | i])


def init():
    signal = struct.pack("<i", 15)
    yield "life", send(N_HELLO) + spawn() + exec_ok(0) + send(SIGNAL, signal) + send(N_KILL) + \
        dies(0) + send(ACK) + send(ACK)
    yield "exec_fails", spawn() + exec_fails(0) + dies(0) + spawn() + dies(1)
    yield "twice", spawn() + spawn() + exec_ok(0) + spawn(2) + exec_ok(1)
    yield "attach", spawn() + send(ATTACH) + exec_ok(0) + send(ATTACH) + dies(0) + send(ATTACH) + \
        send(ACK) + send(ATTACH)
    yield "input", spawn(flags=2) + inp(0, b"early") + exec_ok(0) + inp(0, b"hello") + \
        inp(0, b"hello") + inp(2, b"llo more", close=1) + inp(99, b"gap") + dies(0) + inp(0, b"x")
    yield "input_without_room", spawn(flags=2) + exec_ok(0) + inp(0, b"x" * 4000) + \
        inp(4000, b"y" * 200, close=1) + reads(0) * 5 + inp(4000, b"y" * 200, close=1) + inp(0, b"z")
    yield "input_to_nobody", spawn(flags=2) + exec_ok(0) + reads(0) + inp(0, b"x") + inp(0, b"", close=1)
    yield "input_sizes", spawn(flags=2) + exec_ok(0) + inp(0, b"abc", 2) + inp(0, b"abc", 1 << 31) + \
        inp((1 << 64) - 1, b"abc") + inp((1 << 64) - 1, b"") + inp(0, b"abc", (1 << 32) - 1) + \
        exactly(send(INPUT, b"\0" * 15)) + exactly(send(INPUT)) + inp(0, b"", 1) + inp(0, b"a", 0)
    yield "resize", spawn(flags=3) + exec_ok(0) + send(RESIZE, struct.pack("<HH", 50, 132)) + \
        exactly(send(RESIZE, b"\1" * 3)) + spawn(2) + exec_ok(1) + send(RESIZE, b"\1" * 4, command=2)
    yield "terminal", spawn(flags=3) + exec_ok(0) + inp(0, b"stty\n") + reads(0) + reads(0) + \
        send(RESIZE, b"\1" * 4) + send(ATTACH) + dies(0) + spawn(2, flags=1) + dies(1) + exec_fails(1)
    yield "tokens", spawn() + exec_ok(0) + send(SIGNAL, signal, token=9) + \
        send(SIGNAL, signal, token=9) + send(MAKE_DIR, file(b"d"), token=9) + send(N_HELLO, token=9)
    yield "new_peer", spawn() + exec_ok(0) + bytes([NEW_PEER]) + send(ATTACH) + dies(0) + \
        bytes([NEW_PEER]) + send(ACK)
    yield "new_peer_while_starting", spawn() + bytes([NEW_PEER]) + send(ATTACH) + exec_fails(0) + \
        dies(0) + spawn(2) + bytes([NEW_PEER]) + exec_ok(1) + dies(1)
    yield "deaf", spawn() + bytes([DEAF]) + exec_ok(0) + dies(0) + bytes([HEARS]) + bytes([IDLE]) + \
        spawn(2) + bytes([DEAF]) + exec_fails(1) + dies(1) + bytes([NEW_PEER])
    yield "signals", spawn() + exec_ok(0) + b"".join(
        send(SIGNAL, struct.pack("<i", n)) for n in (0, 1, 64, 65, -1))
    yield "files", b"".join(
        send(op, file(path), fds) for op, fds, path in (
            (READ, 0, b"a"), (WRITE, 1, b"/a/../b"), (LIST, 1, b""), (GLOB, 1, b"*"), (STAT, 1, b"x" * 4096),
            (MAKE_DIR, 0, b"d"), (REMOVE, 0, b"d")))
    yield "move", send(MOVE, file(b"a") + struct.pack("<4096s", b"b"))
    yield "connect", send(CONNECT, struct.pack("<I", 8080))
    yield "too_many_fds", bytes([0x43]) + spawn()[1:] + bytes([0x40]) + spawn()[1:] + send(N_HELLO, fds=1)
    yield "unknown", send(0) + send(EXITED) + send(EXITED + 1) + send(N_HELLO, version=1)
    yield "sizes", exactly(send(N_HELLO))[:3] + b"\0" * 31 + exactly(send(N_HELLO, b"x")) + \
        exactly(send(SPAWN, b"\1" * 100, 1)) + b"".join(exactly(send(op, b"\1" * 5)) for op in range(1, 19))


STDOUT, STDERR, GAP, END, OPEN = 1, 2, 3, 4, 0x10
FILE = b"CNESTLOG" + struct.pack("<II", 3, 0) + bytes(40)


def frame(stream, offset, data=b"", end=None, check=None):
    body = struct.pack("<IIQQQ", stream, zlib.crc32(data) if check is None else check, offset,
                       offset + len(data) if end is None else end, 7)
    return struct.pack("<II", 0x4d524643, zlib.crc32(body)) + body + data


def archive(file, log_size, marks=()):
    """In one zstd frame: one block, not compressed."""
    block = struct.pack("<IBI", 0xfd2fb528, 0xa0, len(file)) + \
        struct.pack("<I", len(file) << 3 | 1)[:3] + file
    index = struct.pack("<QQIIIII", len(file), log_size, 128 << 10, 1, len(marks), 0, len(block))
    index += b"".join(struct.pack("<QQ", *mark) for mark in marks)
    return block + struct.pack("<II", 0x184d2a50, len(index) + 16) + index + b"CNCHGIDX" + \
        struct.pack("<II", len(index), zlib.crc32(index))


def log():
    two = FILE + frame(STDOUT, 0, b"one\ntwo\n") + frame(STDERR, 8, b"three\n")
    ended = two + frame(GAP, 14, end=1000, check=1) + frame(STDOUT, 1000, b"four") + frame(END, 1004)
    yield "empty", b"p" + FILE
    yield "ended", b"p" + ended
    yield "not_ended", b"p" + two
    yield "open", b"p" + two + frame(OPEN | STDOUT, 14, check=0) + b"being filled"
    yield "open_empty", b"p" + two + frame(OPEN | STDERR, 14, check=0)
    yield "gap_last", b"p" + two + frame(GAP, 14, end=99, check=0)
    yield "page", b"p" + FILE + frame(STDOUT, 0, b"x" * 3970) + bytes(30) + frame(STDOUT, 3970, b"y")
    yield "zeros", b"p" + two + bytes(100)
    yield "torn", b"p" + two[:-3]
    yield "damaged", b"p" + two[:100] + b"?" + two[101:]
    yield "archive", b"a" + archive(ended, 1004, ((0, 56),))
    yield "archive_torn", b"a" + archive(two, 14)[:-1]


def main(folder):
    for kind, seeds in (("sandboxd", sandboxd()), ("init", init()), ("log", log())):
        path = os.path.join(folder, kind)
        os.makedirs(path, exist_ok=True)
        for name, data in seeds:
            with open(os.path.join(path, name), "wb") as out:
                out.write(data)


if __name__ == "__main__":
    main(sys.argv[1])
