#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""append.py write FILE WRITER COUNT | append.py check FILE WRITERS COUNT

Records of very different lengths, each with its writer, number, length and checksum.
"""

import os
import random
import struct
import sys
import zlib

HEAD = struct.Struct('<4sIIII')
LENGTHS = (20, 21, 100, 4075, 4096, 5000, 70000)


def record(writer, number):
    r = random.Random(f'{writer}/{number}')
    body = r.randbytes(r.choice(LENGTHS) - HEAD.size)
    return HEAD.pack(b'REC\n', writer, number, len(body), zlib.crc32(body)) + body


def write(path, writer, count):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for n in range(count):
        data = record(writer, n)
        if os.write(fd, data) != len(data):
            sys.exit(f'append: record {n} of writer {writer} was written in part')
        if n % 40 == 7:
            os.fsync(fd)
    os.close(fd)


def check(path, writers, count):
    with open(path, 'rb') as f:
        data = f.read()
    following, off = [0] * writers, 0
    while off < len(data):
        magic, writer, number, length, crc = HEAD.unpack_from(data, off)
        end = off + HEAD.size + length
        if magic != b'REC\n' or zlib.crc32(data[off + HEAD.size:end]) != crc:
            sys.exit(f'append: {path}: no record at {off}')
        if number != following[writer]:
            sys.exit(f'append: {path}: writer {writer} has record {number} at {off}, '
                     f'{following[writer]} is due')
        following[writer] += 1
        off = end
    if following != [count] * writers:
        sys.exit(f'append: {path}: records found {following}, written {count} each')


if __name__ == '__main__':
    {'write': write, 'check': check}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
