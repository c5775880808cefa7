#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bits that flip.

    flip.py STORE FILE/BLOCK            flip a bit of that block in the store's file
    flip.py bit FILE TEXT               a bit of TEXT, wherever it is in FILE; again: back
    flip.py make FILE NR                a file of NR blocks, each with its name and number in it
    flip.py check FILE NR [BAD...]      the blocks BAD give EIO, all others are right
    flip.py rewrite FILE BLOCK...       these blocks anew
"""

import errno
import mmap
import os
import random
import sys

BLOCK = 4096


def label(name, block):
    return f'<flip {name}/{block}>'.encode()


def content(name, block):
    text = label(name, block)
    return text + random.Random(text).randbytes(BLOCK - len(text))


def name_of(path):
    return os.path.basename(path)


def flip(store, where):
    """Somewhere in the block, in place, past the page cache of nobody: the node is down."""
    name, block = where.split('/')
    wanted = label(name, int(block))
    found = []
    with open(store, 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
        at = m.find(wanted)
        while at >= 0:
            found.append(at)
            at = m.find(wanted, at + 1)
        # copies that are free space may be there as well: all are damaged
        if not found:
            sys.exit(f'flip: {where} is not in the store')
        for at in found:
            m[at + random.randrange(BLOCK)] ^= 1 << random.randrange(8)
        m.flush()


def bit(path, text):
    """The lowest bit of its first byte."""
    with open(path, 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
        for wanted in (text, bytes([text[0] ^ 1]) + text[1:]):
            at = m.find(wanted)
            if at < 0:
                continue
            while at >= 0:
                m[at] ^= 1
                at = m.find(wanted, at + 1)
            m.flush()
            return
    sys.exit(f'flip: {text} is not in {path}')


def make(path, nr):
    with open(path, 'wb') as f:
        for i in range(nr):
            f.write(content(name_of(path), i))


def read_block(fd, i, memory):
    try:
        n = os.preadv(fd, [memory], i * BLOCK)
    except OSError as e:
        if e.errno != errno.EIO:
            sys.exit(f'flip: block {i}: {e}')
        return None
    return memory[:n]


def check(path, nr, *bad):
    """Block by block with and without the page cache, and in large pieces."""
    bad = {int(b) for b in bad}
    name = name_of(path)
    memory = mmap.mmap(-1, BLOCK)
    for flags in (os.O_DIRECT, 0):
        fd = os.open(path, os.O_RDONLY | flags)
        # what the page cache has is gone first, and nothing is read ahead
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for i in range(nr):
            data = read_block(fd, i, memory)
            if data is None and i not in bad:
                sys.exit(f'flip: {path}: block {i} is lost, flags {flags:o}')
            if data is not None and data != content(name, i):
                sys.exit(f'flip: {path}: WRONG DATA in block {i}, flags {flags:o}')
            if data is not None and i in bad:
                sys.exit(f'flip: {path}: block {i} was read, flags {flags:o}')
        os.close(fd)
    # programs that read ahead: right, or an error, and nothing else
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    step, off = 100 * BLOCK, 0
    while off < nr * BLOCK:
        try:
            data = os.pread(fd, step, off)
            first, last = off // BLOCK, (off + len(data)) // BLOCK
            if data != b''.join(content(name, i) for i in range(first, last)):
                sys.exit(f'flip: {path}: WRONG DATA in blocks {first} to {last - 1}')
        except OSError as e:
            if e.errno != errno.EIO or not any(off <= b * BLOCK < off + step for b in bad):
                sys.exit(f'flip: {path}: {step} bytes at {off}: {e}')
        off += step
    os.close(fd)


def rewrite(path, *blocks):
    fd = os.open(path, os.O_WRONLY)
    for b in blocks:
        os.pwrite(fd, content(name_of(path), int(b)), int(b) * BLOCK)
    os.fsync(fd)
    os.close(fd)


def main():
    what = sys.argv[1]
    if what == 'make':
        make(sys.argv[2], int(sys.argv[3]))
    elif what == 'check':
        check(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
    elif what == 'bit':
        bit(sys.argv[2], sys.argv[3].encode())
    elif what == 'rewrite':
        rewrite(*sys.argv[2:])
    else:
        flip(*sys.argv[1:])


if __name__ == '__main__':
    main()
