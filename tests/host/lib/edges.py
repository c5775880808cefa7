#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads and writes where something ends: blocks, segments, chunks, requests, files, offsets.

    edges.py FOLDER [SKIP...]     all checks but SKIP, in files of their own in FOLDER
"""

import errno
import fcntl
import mmap
import os
import sys

BLOCK, SEGMENT, MAX_IO, CHUNK = 4096, 65536, 1 << 20, 4 << 20
BORDERS = (BLOCK, SEGMENT, MAX_IO, CHUNK, 3 * CHUNK)
MAX_FILE = 1 << 54
PERIOD = bytes(i * 7 % 251 + 1 for i in range(251))


def pattern(off, length):
    start = off % 251
    return (PERIOD * (length // 251 + 2))[start:start + length]


def memory(length, shift=0):
    return memoryview(mmap.mmap(-1, length + shift + BLOCK))[shift:shift + length]


def same(got, wanted, what):
    if got != wanted:
        if isinstance(got, bytes) and len(got) == len(wanted):
            i = next(i for i in range(len(got)) if got[i] != wanted[i])
            raise AssertionError(f'{what}: byte {i} of {len(got)}: '
                                 f'wanted {wanted[i]}, got {got[i]}')
        raise AssertionError(f'{what}: wanted {str(wanted)[:80]}, got {str(got)[:80]}')


def fails(code, call, *args):
    try:
        call(*args)
    except OSError as e:
        same(errno.errorcode[e.errno], errno.errorcode[code], call.__name__)
        return
    raise AssertionError(f'{call.__name__}{args}: should have failed')


class File:
    """A file, read through the page cache and past it."""

    def __init__(self, path, flags=0):
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | flags, 0o644)
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
        os.close(self.direct)
        os.unlink(self.path)

    def write(self, data, off, direct=False):
        if not direct:
            return os.pwrite(self.fd, data, off)
        m = memory(len(data))
        m[:] = data
        return os.pwritev(self.direct, [m], off)

    def check(self, off, wanted, what):
        """off..off+len(wanted) holds exactly this, seen both ways."""
        same(os.pread(self.fd, len(wanted), off), wanted, f'{what}, page cache, at {off}')
        start = off - off % BLOCK
        end = -(-(off + len(wanted)) // BLOCK) * BLOCK
        m = memory(end - start)
        n = os.preadv(self.direct, [m], start)
        got = bytes(m[off - start:min(n, off - start + len(wanted))])
        same(got, wanted, f'{what}, direct, at {off}')

    def size(self, wanted):
        same(os.fstat(self.fd).st_size, wanted, 'size')


def check_single_bytes(folder):
    for border in BORDERS:
        for direct in (False, True):
            with File(folder + '/single') as f:
                for off in (border + 1, border - 1, border):
                    same(f.write(b'#', off, direct), 1, 'written')
                f.size(border + 2)
                f.check(border - 10, bytes(9) + b'###', f'border {border}')
                f.check(0, bytes(9), 'the hole before it')


def check_across(folder):
    for border in BORDERS:
        for before, after in ((1, 1), (3, 5), (5000, 5000), (BLOCK, 1), (1, BLOCK), (70000, 70000)):
            before = min(before, border)
            for direct in (False, True):
                with File(folder + '/across') as f:
                    f.write(b'\xff' * (before + after + 20), border - min(before + 10, border),
                            direct)
                    f.write(pattern(0, before + after), border - before, direct)
                    f.check(border - before, pattern(0, before + after), f'across {border}')


def check_truncate(folder):
    for border in BORDERS:
        for cut in (border - 1, border, border + 1, border - 1000, border + 100):
            with File(folder + '/cut') as f:
                f.write(pattern(0, 2 * BLOCK), border - BLOCK)
                os.ftruncate(f.fd, cut)
                f.size(cut)
                os.ftruncate(f.fd, border + 3 * BLOCK)
                f.size(border + 3 * BLOCK)
                kept = max(0, cut - (border - BLOCK))
                f.check(border - BLOCK, pattern(0, kept) + bytes(2 * BLOCK - kept), f'cut at {cut}')
                f.check(border + BLOCK, bytes(2 * BLOCK), 'new end')


def check_gap(folder):
    """What a write far behind a shortened end uncovers is zero."""
    for cut, again in ((100, 200), (100, BLOCK + 10), (BLOCK - 1, 2 * BLOCK), (5, 2 * CHUNK + 5)):
        for direct in (False, True):
            with File(folder + '/gap') as f:
                f.write(pattern(0, 3 * BLOCK), 0, direct)
                os.ftruncate(f.fd, cut)
                f.write(b'end', again, direct)
                f.size(again + 3)
                f.check(0, pattern(0, cut) + bytes(min(again, 3 * BLOCK) - cut), f'gap after {cut}')
                f.check(again - 50, bytes(min(50, again - cut)).rjust(50, b'\0')
                        if again - cut >= 50 else pattern(again - 50, 50), 'before the end')
                f.check(again, b'end', 'end')


def check_sparse(folder):
    far = (5 << 30, (1 << 32) - 2, 1 << 40, MAX_FILE - 10)
    with File(folder + '/sparse') as f:
        for off in far:
            f.write(b'0123456789', off, off % BLOCK == 0)
        f.size(MAX_FILE)
        for off in far:
            f.check(off, b'0123456789', 'far')
            f.check(off - 5000, bytes(5000), 'hole before it')
        if os.fstat(f.fd).st_blocks * 512 > 1 << 20:
            raise AssertionError(f'{os.fstat(f.fd).st_blocks} blocks for four short records')
        os.ftruncate(f.fd, 6 << 30)
        f.check(5 << 30, b'0123456789', 'kept')
        os.ftruncate(f.fd, 1 << 40)
        f.check((1 << 40) - 100, bytes(100), 'beyond the cut')


def check_limit(folder):
    """No call makes a file longer than it can be, or changes it while it fails."""
    with File(folder + '/limit') as f:
        f.write(b'kept', 0)
        for size in (MAX_FILE + 1, MAX_FILE + BLOCK, MAX_FILE * 2, (1 << 63) - 1):
            fails(errno.EFBIG, os.ftruncate, f.fd, size)
            fails(errno.EFBIG, os.truncate, folder + '/limit', size)
        # a write over the limit may end there, as on a local filesystem; none begins behind it
        for off in (MAX_FILE, MAX_FILE + 1, MAX_FILE + BLOCK, 1 << 62):
            fails(errno.EFBIG, os.pwrite, f.fd, b'xx', off)
            fails(errno.EFBIG, os.posix_fallocate, f.fd, off, 5)
            fails(errno.EFBIG, os.pwritev, f.direct, [memory(BLOCK)],
                  (off + BLOCK - 1) // BLOCK * BLOCK)
        f.size(4)
        os.ftruncate(f.fd, MAX_FILE)
        f.size(MAX_FILE)
        f.check(0, b'kept', 'at the limit')
        same(os.pread(f.fd, 100, MAX_FILE - 10), bytes(10), 'read over the end')
        same(os.pread(f.fd, 100, MAX_FILE), b'', 'read at the end')
        fd = os.open(folder + '/limit', os.O_WRONLY | os.O_APPEND)
        fails(errno.EFBIG, os.write, fd, b'x')
        os.close(fd)
        f.size(MAX_FILE)
        os.ftruncate(f.fd, 4)
        f.check(0, b'kept', 'short again')


def check_unaligned_direct(folder):
    """FUSE asks nothing of O_DIRECT: any address, offset and length has to work."""
    with File(folder + '/unaligned') as f:
        for shift, off, length in ((1, 0, BLOCK), (0, 1, BLOCK), (0, 0, 1), (511, 513, 70001),
                                   (8, CHUNK - 13, 100), (2, MAX_IO - 1, 2 * MAX_IO + 2)):
            m = memory(length, shift)
            m[:] = pattern(off, length)
            same(os.pwritev(f.direct, [m], off), length, 'written')
            f.check(off, pattern(off, length), f'unaligned {shift}/{off}/{length}')
            m[:] = bytes(length)
            same(os.preadv(f.direct, [m], off), length, 'read')
            same(bytes(m), pattern(off, length), 'read back')


def check_large(folder):
    data = pattern(3, 9 << 20)
    for direct in (False, True):
        with File(folder + '/large') as f:
            same(f.write(data, 12345 if not direct else 0, direct), len(data), 'written')
            f.check(12345 if not direct else 0, data, 'large')


def check_map(folder):
    with File(folder + '/map') as f:
        f.write(pattern(0, 10000), 0)
        with mmap.mmap(f.fd, 10000) as m:
            same(m[:], pattern(0, 10000), 'mapped')
            m[4090:4100] = b'0123456789'
            m.flush()
            f.check(4090, b'0123456789', 'written through the mapping')
            f.write(b'direct', 8192, True)
            f.check(8192, b'direct', 'past the mapping')
            same(m[8192:8198], b'direct', 'the mapping after a direct write')
        with mmap.mmap(f.fd, 10000, flags=mmap.MAP_PRIVATE) as m:
            m[:4] = b'mine'
        f.check(0, pattern(0, 4), 'private mapping')
        # a mapping that is never flushed by hand, and whose file is closed before it
        other = os.open(f.path, os.O_RDWR)
        m = mmap.mmap(other, 10000)
        os.close(other)
        m[5000:5004] = b'late'
        m.close()
        f.check(5000, b'late', 'after the last descriptor was closed')
        f.size(10000)


def check_flags(folder):
    path = folder + '/flags'
    with File(path) as f:
        f.write(pattern(0, 100), 0)
        for flag in (os.O_SYNC, os.O_DSYNC, os.O_APPEND | os.O_SYNC):
            fd = os.open(path, os.O_WRONLY | flag)
            os.write(fd, b'sync')
            os.close(fd)
        f.size(104)
        f.check(0, b'sync' + pattern(4, 96) + b'sync', 'flags')
        ro = os.open(path, os.O_RDONLY)
        fails(errno.EBADF, os.write, ro, b'x')
        same(os.pread(ro, 10, 104), b'', 'read at the end')
        same(os.pread(ro, 10, 1 << 40), b'', 'read behind the end')
        os.close(ro)
        fails(errno.EEXIST, os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        fails(errno.EISDIR, os.open, folder, os.O_WRONLY)
        fails(errno.ENOTDIR, os.open, path + '/x', os.O_RDONLY)
        fails(errno.ENAMETOOLONG, os.open, folder + '/' + 'x' * 256, os.O_CREAT | os.O_WRONLY)
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        f.size(0)
        f.check(0, b'', 'truncated by open')
        same(os.write(f.fd, b''), 0, 'nothing written')
    d = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(d)
    os.close(d)


def check_copies(folder):
    with File(folder + '/from') as a, File(folder + '/to') as b:
        data = pattern(9, 300000)
        a.write(data, 0)
        left, off = len(data), 0
        while left:
            n = os.sendfile(b.fd, a.fd, off, left)
            off, left = off + n, left - n
        b.check(0, data, 'sendfile')
        os.ftruncate(b.fd, 0)
        n = os.copy_file_range(a.fd, b.fd, 100000, 5, 7)
        b.check(7, data[5:5 + n], 'copy_file_range')
        r, w = os.pipe()
        fcntl.fcntl(w, fcntl.F_SETPIPE_SZ, 1 << 20)
        n = os.splice(a.fd, w, 65536, 3)
        same(os.read(r, n), data[3:3 + n], 'splice out')
        os.write(w, data[:5000])
        same(os.splice(r, b.fd, 5000, None, 1 << 20), 5000, 'splice in')
        b.check(1 << 20, data[:5000], 'splice in')
        vec = [bytearray(1), bytearray(4096), bytearray(70000)]
        same(os.preadv(a.fd, vec, 11), 74097, 'readv')
        same(b''.join(vec), data[11:11 + 74097], 'readv')
        same(os.pwritev(b.fd, vec, 99), 74097, 'writev')
        b.check(99, data[11:11 + 74097], 'writev')
        os.close(r)
        os.close(w)


def check_allocate(folder):
    with File(folder + '/allocate') as f:
        f.write(b'kept', 0)
        os.posix_fallocate(f.fd, 0, 100000)  # the C library helps where the filesystem does not
        f.size(100000)
        f.check(0, b'kept' + bytes(1000), 'posix_fallocate')


def main():
    checks = [(n, c) for n, c in globals().items() if n.startswith('check_')]
    for name, check in checks:
        if name.removeprefix('check_') in sys.argv[2:]:
            continue
        try:
            check(sys.argv[1])
        except (AssertionError, OSError) as e:
            line = e.__traceback__
            while line.tb_next and line.tb_next.tb_frame.f_code.co_name.startswith('check_'):
                line = line.tb_next
            print(f'edges: {name}, line {line.tb_lineno}: {e}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
