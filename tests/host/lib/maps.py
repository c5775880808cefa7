#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""maps.py FILE: writes through shared maps, two processes at once, read back otherwise."""

import mmap
import os
import random
import sys

SIZE = 3 << 20
HALF = SIZE // 2


def content(half):
    return random.Random(half).randbytes(HALF)


def child(path, half):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, SIZE) as m:
        data = content(half)
        order = list(range(0, HALF, 10000))
        random.Random(half).shuffle(order)
        for off in order:
            end = min(off + 10000, HALF)
            m[half * HALF + off:half * HALF + end] = data[off:end]
        if half:
            m.flush()
    os.close(fd)


def main():
    path = sys.argv[1]
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.ftruncate(fd, SIZE)
    pids = []
    for half in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(path, half)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    if [os.waitpid(p, 0)[1] for p in pids] != [0, 0]:
        sys.exit('maps: a writer failed')
    os.fsync(fd)
    wanted = content(0) + content(1)
    page = mmap.mmap(-1, SIZE)
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    if os.preadv(direct, [page], 0) != SIZE or page[:] != wanted:
        sys.exit('maps: read past the page cache: other bytes')
    if os.pread(fd, SIZE, 0) != wanted:
        sys.exit('maps: read: other bytes')
    # a write(2) is seen in a map that is there, and the other way round
    with mmap.mmap(fd, SIZE) as m:
        os.pwrite(fd, b'written', 5000)
        if m[5000:5007] != b'written':
            sys.exit('maps: a write is not seen in the map')
        m[9000:9006] = b'mapped'
        if os.pread(fd, 6, 9000) != b'mapped':
            sys.exit('maps: a store is not seen by read')
    # private: nobody else sees it
    with mmap.mmap(fd, SIZE, flags=mmap.MAP_PRIVATE) as m:
        m[0:4] = b'mine'
        if os.pread(fd, 4, 0) != wanted[:4]:
            sys.exit('maps: a private map wrote')
    # behind the end of a file that was cut there is nothing
    os.ftruncate(fd, 5000)
    os.ftruncate(fd, SIZE)
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as m:
        if m[5000:] != bytes(SIZE - 5000):
            sys.exit('maps: old bytes behind the cut')


if __name__ == '__main__':
    main()
