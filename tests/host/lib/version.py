#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A peer of a later version of the protocol.

    version.py node PORT-FILE MIN MAX    listens, refuses every HELLO: we speak MIN to MAX
    version.py client PORT MIN MAX       says HELLO with these versions, prints the answer
"""

import os
import socket
import struct
import sys

MAGIC, HELLO, REJECT = 0x31575750, 1, 5
VERSION = 24  # status
HEAD = struct.Struct('<IBBHIIQQ')
BYTES = 128


def command(kind, status, body):
    head = HEAD.pack(MAGIC, kind, 0, 0, 0, status, 0, 0)
    return (head + body).ljust(BYTES, b'\0')


def receive(s):
    data = b''
    while len(data) < BYTES:
        more = s.recv(BYTES - len(data))
        if not more:
            sys.exit(f'version: the end after {len(data)} bytes')
        data += more
    return HEAD.unpack_from(data), data[HEAD.size:]


def node(port_file, low, high):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        with open(port_file + '.new', 'w') as f:
            f.write(str(listener.getsockname()[1]))
        os.rename(port_file + '.new', port_file)
        while True:
            s, _ = listener.accept()
            with s:
                head, _ = receive(s)
                if head[1] != HELLO:
                    sys.exit(f'version: message {head[1]} came first')
                s.sendall(command(REJECT, VERSION, struct.pack('<II', high, low)))


def client(port, low, high):
    with socket.create_connection(('127.0.0.1', port), 20) as s:
        hello = os.urandom(16) + bytes(16) + os.urandom(32) + struct.pack('<II', high, low)
        s.sendall(command(HELLO, 0, hello))
        head, body = receive(s)
        newest, oldest = struct.unpack_from('<II', body)
        print(f'type {head[1]} status {head[5]} versions {oldest} to {newest}')
        if s.recv(1):
            sys.exit('version: more after it')


if __name__ == '__main__':
    what, where = sys.argv[1], sys.argv[2]
    numbers = [int(n) for n in sys.argv[3:5]]
    if what == 'node':
        node(where, *numbers)
    else:
        client(int(where), *numbers)
