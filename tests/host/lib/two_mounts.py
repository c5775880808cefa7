#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""two_mounts.py A B: one folder of one filesystem on two mounts; A changes, B looks."""

import errno
import mmap
import os
import sys
import threading
import time

A, B = sys.argv[1:3]


def scaled(n):
    """Where CPUs are emulated, less of the same: n is a multiple of 10."""
    return n // min(10, int(os.environ.get('PW_SCALE') or 1))


def same(got, wanted, what):
    if got != wanted:
        sys.exit(f'two_mounts: {what}: wanted {str(wanted)[:100]}, got {str(got)[:100]}')


def soon(call, wanted, what, limit=5):
    """What is kept for a second (names, attributes) may be late, but not for ever."""
    end = time.monotonic() + limit
    while True:
        try:
            got = call()
        except OSError as e:
            got = e.errno
        if got == wanted:
            return
        if time.monotonic() > end:
            same(got, wanted, f'{what}, after {limit} s')
        time.sleep(0.02)


def put(path, data, flags=0):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    os.write(fd, data)
    os.close(fd)


def get(path):
    with open(path, 'rb') as f:
        return f.read()


def check_close_to_open():
    """A new open sees what was closed before it, also where pages of the old content are kept."""
    for i in range(scaled(60)):
        data = (b'%d ' % i) * (1 + i * 997 % 30000)
        put(A + '/f', data, os.O_TRUNC if i % 3 else 0)
        if i % 3 == 0:
            os.truncate(A + '/f', len(data))
        same(get(B + '/f'), data, f'round {i}')
        same(os.stat(B + '/f').st_size, len(data), f'size in round {i}')
    # the same length, a byte in the middle
    put(A + '/f', b'x' * 100000, os.O_TRUNC)
    same(get(B + '/f'), b'x' * 100000, 'before the byte')
    fd = os.open(A + '/f', os.O_WRONLY)
    os.pwrite(fd, b'y', 70000)
    os.close(fd)
    same(get(B + '/f')[69999:70002], b'xyx', 'after the byte')
    # from here to there and back
    for i in range(scaled(20)):
        put((A, B)[i % 2] + '/f', b'%03d' % i, os.O_TRUNC)
        same(get((B, A)[i % 2] + '/f'), b'%03d' % i, f'ping-pong {i}')


def check_open_direct():
    """O_DIRECT reads see a write of the other mount at once, without any close."""
    w = os.open(A + '/d', os.O_RDWR | os.O_CREAT)
    os.pwrite(w, bytes(4096), 0)
    r = os.open(B + '/d', os.O_RDONLY | os.O_DIRECT)
    m = mmap.mmap(-1, 4096)
    for i in range(scaled(50)):
        data = bytes([i + 1]) * 4096
        os.pwrite(w, data, 0)
        same(os.preadv(r, [m], 0), 4096, 'length')
        same(m[:], data, f'direct read {i}')
    os.close(w)
    os.close(r)


def check_mapping():
    put(A + '/m', b'm' * 8192)
    with open(B + '/m', 'rb') as f, mmap.mmap(f.fileno(), 8192, prot=mmap.PROT_READ) as m:
        same(m[5000], ord('m'), 'mapped')
    fd = os.open(A + '/m', os.O_RDWR)
    with mmap.mmap(fd, 8192) as m:
        m[5000] = ord('n')
        m.flush()
    os.close(fd)
    same(get(B + '/m')[5000], ord('n'), 'written through a mapping')


def check_stays_open():
    """What is read through one descriptor for long, or a mapping, follows by itself, if late."""
    put(A + '/s', b'1' * 8192)
    fd = os.open(B + '/s', os.O_RDONLY)
    with mmap.mmap(fd, 8192, prot=mmap.PROT_READ) as m:
        same(m[5000], ord('1'), 'mapped at first')
        w = os.open(A + '/s', os.O_WRONLY)
        for c in b'23':
            os.pwrite(w, bytes([c]) * 8192, 0)
            soon(lambda c=c: os.pread(fd, 1, 5000), bytes([c]), 'a file that stays open', 20)
            same(m[5000], c, 'its mapping')
        os.close(w)
    os.close(fd)


def check_names():
    same(os.path.exists(B + '/later'), False, 'not yet')
    put(A + '/later', b'')
    soon(lambda: os.path.exists(B + '/later'), True, 'a name that was not there')
    os.rename(A + '/later', A + '/moved')
    soon(lambda: os.path.exists(B + '/later'), False, 'the old name')
    soon(lambda: os.path.exists(B + '/moved'), True, 'the new name')
    put(A + '/other', b'other')
    soon(lambda: get(B + '/other'), b'other', 'other')
    os.rename(A + '/other', A + '/moved')
    soon(lambda: get(B + '/moved'), b'other', 'renamed over it')
    os.unlink(A + '/moved')
    soon(lambda: os.path.exists(B + '/moved'), False, 'unlinked')
    os.makedirs(A + '/d1/d2')
    soon(lambda: os.path.isdir(B + '/d1/d2'), True, 'folders')
    same(sorted(os.listdir(B + '/d1')), ['d2'], 'list')
    os.rmdir(A + '/d1/d2')
    soon(lambda: os.listdir(B + '/d1'), [], 'list after rmdir')
    os.chmod(A + '/d1', 0o700)
    soon(lambda: os.stat(B + '/d1').st_mode & 0o7777, 0o700, 'chmod')
    os.rmdir(A + '/d1')
    # a new file under the name of an old one is another file
    put(A + '/again', b'old')
    soon(lambda: os.path.exists(B + '/again'), True, 'again')
    old = os.open(B + '/again', os.O_RDONLY)
    os.unlink(A + '/again')
    put(A + '/again', b'new')
    soon(lambda: get(B + '/again'), b'new', 'the new file')
    same(os.pread(old, 10, 0), b'old', 'the old file')
    os.close(old)


def check_unlinked():
    """Removed by one, still open at the other."""
    put(A + '/u', b'u' * 100000)
    fd = os.open(B + '/u', os.O_RDWR)
    os.unlink(A + '/u')
    same(os.pread(fd, 10, 99990), b'u' * 10, 'read')
    os.pwrite(fd, b'more', 100000)
    same(os.pread(fd, 14, 99990), b'u' * 10 + b'more', 'written')
    same(os.fstat(fd).st_size, 100004, 'size')
    os.ftruncate(fd, 5)
    same(os.pread(fd, 10, 0), b'uuuuu', 'truncated')
    os.close(fd)


def race(count, attempt):
    """attempt(mount, i) from both at once: the results, [(of A, of B)]"""
    out = [[None, None] for _ in range(count)]
    gate = threading.Barrier(2)

    def run(side, mount):
        for i in range(count):
            gate.wait(60)
            try:
                attempt(mount, i)
                out[i][side] = 0
            except OSError as e:
                out[i][side] = e.errno
    threads = [threading.Thread(target=run, args=x) for x in enumerate((A, B))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def exactly_one(results, loser, what):
    for i, r in enumerate(results):
        if None in r or sorted(r) != sorted([0, loser]):
            sys.exit(f'two_mounts: {what} {i}: {[errno.errorcode.get(x, x) for x in r]}')


def check_races():
    os.mkdir(A + '/race')
    soon(lambda: os.path.isdir(B + '/race'), True, 'race')
    exactly_one(race(scaled(60), lambda m, i: os.close(os.open(
        f'{m}/race/x{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY))), errno.EEXIST, 'O_EXCL')
    exactly_one(race(scaled(40), lambda m, i: os.mkdir(f'{m}/race/d{i}')), errno.EEXIST, 'mkdir')
    exactly_one(race(scaled(40), lambda m, i: os.rmdir(f'{m}/race/d{i}')), errno.ENOENT, 'rmdir')
    # to names of their own: with the name of the winner a kernel that still has the old one
    # cached sees two names of one file, and a rename that has nothing to do
    exactly_one(race(scaled(40), lambda m, i: os.rename(
        f'{m}/race/x{i}', f'{m}/race/y{m == A}{i}')), errno.ENOENT, 'rename')
    exactly_one(race(scaled(20), lambda m, i: os.unlink(
        f'{m}/race/x{scaled(40) + i}')), errno.ENOENT, 'unlink')
    exactly_one(race(scaled(40), lambda m, i: os.symlink(
        'x', f'{m}/race/s{i}')), errno.EEXIST, 'symlink')
    # two folders into each other: exactly one of them, and never a loop
    for i in range(scaled(20)):
        os.makedirs(f'{A}/race/l{i}/a')
        os.makedirs(f'{A}/race/l{i}/b')
        soon(lambda i=i: os.path.isdir(f'{B}/race/l{i}/b'), True, 'folders')

    def into_each_other(m, i):
        mine, its = ('a', 'b') if m == A else ('b', 'a')
        os.rename(f'{m}/race/l{i}/{mine}', f'{m}/race/l{i}/{its}/{mine}')
    for i, r in enumerate(race(scaled(20), into_each_other)):
        same(r.count(0), 1, f'folders into each other {i}: {r}')
    both = set(os.listdir(A + '/race'))
    soon(lambda: set(os.listdir(B + '/race')), both, 'the list of the other')


def main():
    for name, check in list(globals().items()):
        if name.startswith('check_'):
            check()


if __name__ == '__main__':
    main()
