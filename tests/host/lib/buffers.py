#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""buffers.py DIR [CASE|hold|unmappable]: the Python module on a folder, of a mount or not.

"ok NAME" for each. Each case makes what it needs, checks the data and leaves nothing.
PAGEWIRE_TEST_MOUNT=1: DIR has to be of a pagewire mount; else it must not be.
"""

import ctypes
import errno
import gc
import importlib
import mmap
import os
import random
import sys
import threading

import pagewire

DIR = sys.argv[1]
ON_MOUNT = os.environ.get('PAGEWIRE_TEST_MOUNT') == '1'
MIB = 1 << 20


def data(length, seed=1):
    return random.Random(seed).randbytes(length)


def fresh(flags=0):
    name = os.path.join(DIR, 'python')
    if os.path.exists(name):
        os.unlink(name)
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)


def content(fd):
    with open(f'/proc/self/fd/{fd}', 'rb') as f:
        return f.read()


def fails(code, function, *args, text='', **kwargs):
    try:
        function(*args, **kwargs)
    except OSError as e:
        assert e.errno == code, f'{e}: wanted {errno.errorcode[code]}'
        assert text in str(e), f'"{e}" does not say "{text}"'
        return
    raise AssertionError(f'no error, wanted {errno.errorcode[code]}')


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f'no {kind.__name__}')


def case_open():
    with pagewire.open(DIR, optional=True) as m:
        i = m.info()
        assert i.registers == ON_MOUNT, i
        assert not ON_MOUNT or (len(i.fsid) == 36 and i.max_io >= 4096 and i.max_regions), i
    raises(ValueError, m.info)
    raises(ValueError, m.alloc, 4096)
    m.close()
    fails(errno.ENOENT, pagewire.open, '/tmp/there is no such file', optional=True)
    fails(errno.EOPNOTSUPP, pagewire.open, '/proc', text='optional=True')
    if ON_MOUNT:
        pagewire.open(os.fsencode(DIR)).close()


def case_move():
    """pread() and pwrite() of a buffer: neither offsets nor lengths aligned."""
    want = data(3 * MIB + 777)
    fd = fresh()
    with pagewire.open(DIR, optional=True) as m, m.alloc(4 * MIB) as b:
        b[13:13 + len(want)] = want
        assert b.pwrite(fd, 4099, len(want), 13) == len(want)
        assert content(fd) == bytes(4099) + want
        b[:] = b'\xee' * len(b)
        assert b.pread(fd, 4099, len(want), 7) == len(want)
        assert b[7:7 + len(want)] == want and b[6] == 0xee and b[7 + len(want)] == 0xee
        assert b.pread(fd, 4099 + len(want) - 5) == 5  # the file ends there
        assert b.pread(fd, 4099 + len(want)) == 0
        with open(os.path.join(DIR, 'python'), 'rb') as f:
            assert b.pread(f, 4099, 9) == 9 and bytes(b[:9]) == want[:9]
        for args in ((0, 1, len(b)), (0, -1), (0, 1, -1), (-1, 1)):
            raises(ValueError, b.pread, fd, *args)
        assert m.info().plain_io == 0 or not ON_MOUNT, m.info()
        rd = os.open(os.path.join(DIR, 'python'), os.O_RDONLY | os.O_CLOEXEC)
        fails(errno.EBADF, b.pwrite, rd, 0, 10)
        os.close(rd)
    os.close(fd)


def case_plain():
    """Calls that know nothing of us, with and without O_DIRECT."""
    want = data(2 * MIB, 2)
    with pagewire.open(DIR, optional=True) as m, m.alloc(2 * MIB) as b:
        for flags in (0, os.O_DIRECT):
            try:
                fd = fresh(flags)
            except OSError as e:
                if flags and not ON_MOUNT and e.errno == errno.EINVAL:
                    continue  # a filesystem without O_DIRECT
                raise
            b[:] = want
            assert os.pwritev(fd, [b[MIB:], b[:MIB]], 4096) == len(b)
            b[:] = bytes(len(b))
            assert os.preadv(fd, [b[:MIB], b[MIB:]], 4096) == len(b)
            assert bytes(b[:MIB]) == want[MIB:] and bytes(b[MIB:]) == want[:MIB]
            os.close(fd)
        with open(os.path.join(DIR, 'python'), 'rb', buffering=0) as f:
            f.seek(4096)
            assert f.readinto(b[:4096]) == 4096 and bytes(b[:4096]) == want[MIB:MIB + 4096]
            f.seek(4096)
            assert f.readinto(b) == len(b)


def case_numpy():
    numpy = importlib.import_module('numpy')
    want = numpy.frombuffer(data(MIB, 3), dtype='u4')
    fd = fresh()
    with pagewire.open(DIR, optional=True) as m:
        b = m.alloc(MIB)
        a = numpy.frombuffer(b, dtype='u4')
        assert a.flags.writeable and not a.flags.owndata
        a[:] = want
        assert b.pwrite(fd, 0) == MIB
        a[:] = 0
        assert os.preadv(fd, [a], 0) == MIB
        assert (a == want).all()
        b.close()
        # the array outlives the region: memory like any other
        a += 1
        assert (a == want + 1).all()
        raises(ValueError, b.pread, fd, 0)
    assert (a == want + 1).all()
    os.close(fd)


def case_lifetime():
    fd = fresh()
    with pagewire.open(DIR, optional=True) as m:
        for _ in range(100):  # more than there may be at once: each goes with its last reference
            b = m.alloc(4096)
            b.pwrite(fd, 0)
        view = m.alloc(MIB)[10:20]
        gc.collect()
        view[:] = b'0123456789'
        assert bytes(view) == b'0123456789'
        b.close()
        b.close()
        raises(ValueError, b.pwrite, fd, 0)
    os.close(fd)


def case_threads():
    """A buffer that is closed while threads use it: every call works or says that it is closed."""
    fd = fresh()
    os.ftruncate(fd, MIB)
    m = pagewire.open(DIR, optional=True)
    for _ in range(10):
        b = m.alloc(MIB)
        started = threading.Barrier(5)
        odd = []

        def work():
            started.wait()
            try:
                while True:
                    assert b.pread(fd, 0) == MIB
            except ValueError:
                pass
            except BaseException as e:  # for the main thread to tell
                odd.append(e)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        started.wait()
        b.close()
        for t in threads:
            t.join()
        assert not odd, odd
    m.close()
    os.close(fd)


def case_fork():
    fd = fresh()
    m = pagewire.open(DIR, optional=True)
    b = m.alloc(8192)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            b[:4] = b'from'  # the memory is shared
            b.pwrite(fd, 0, 4)
            fails(errno.EPERM, m.alloc, 4096, text='in the child')
            with pagewire.open(DIR, optional=True) as own, own.alloc(4096) as c:
                assert c.pread(fd, 0) == 4 and bytes(c[:4]) == b'from'
            b.close()
            m.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    # what the child has closed is there for the parent
    assert bytes(b[:4]) == b'from' and b.pread(fd, 0, 4, 4096) == 4
    m.close()
    os.close(fd)


def case_import():
    fcntl = importlib.import_module('fcntl')
    fd = os.memfd_create('test', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, MIB)
    file = fresh()
    with pagewire.open(DIR, optional=True) as m:
        if ON_MOUNT:
            fails(errno.EPERM, m.import_fd, fd, text='F_ADD_SEALS')
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        own = mmap.mmap(fd, MIB)
        b = m.import_fd(fd, 4096)
        assert len(b) == MIB - 4096
        own[4096 + 10:4096 + 15] = b'hello'
        assert b.pwrite(file, 0, 5, 10) == 5
        assert content(file) == b'hello'
        if ON_MOUNT:
            fails(errno.EPERM, m.import_fd, fd)
    os.close(fd)
    os.close(file)


def case_refused():
    with pagewire.open(DIR, optional=True) as m:
        raises(ValueError, m.alloc, 0)
        raises(ValueError, m.alloc, 4096, huge='3M')
        fails(errno.ENOMEM, m.alloc, 1 << 45, huge=True, text='nr_hugepages')
        memory = m.alloc(4096, register=False)
        memory.close()
        if ON_MOUNT:
            all_of_them = [m.alloc(4096) for _ in range(m.info().max_regions)]
            fails(errno.ENOSPC, m.alloc, 4096, text='fewer')
            all_of_them.pop().close()
            m.alloc(4096).close()


def hold():
    """A buffer that has moved 1 MiB, until stdin ends."""
    fd = fresh()
    with pagewire.open(DIR) as m, m.alloc(4 * MIB) as b:
        assert b.pwrite(fd, 0, MIB) == MIB
        print('holding', flush=True)
        sys.stdin.read()
    os.close(fd)


def unmappable():
    """With unmappable.so preloaded: text that says what it is, from Python and from the library."""
    fd = os.memfd_create('dmabuf', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 7 * 4096)
    with pagewire.open(DIR, optional=True) as m:
        try:
            m.import_fd(fd)
            raise AssertionError('it is mapped')
        except OSError as e:
            assert e.errno == errno.EOPNOTSUPP and 'lets nobody map it' in e.strerror, e
        region = ctypes.c_void_p()
        err = pagewire._lib.pw_import(m._session(), fd, 0, 7 * 4096, 0, ctypes.byref(region))
        assert err == -errno.EOPNOTSUPP, err
        e = m._refusal(-err, 7 * 4096)
        assert e.errno == errno.EOPNOTSUPP and 'lets nobody map it' in e.strerror, e
        with m.alloc(8192) as b:  # others go on
            b[:3] = b'abc'
    os.close(fd)
    e = pagewire._error(524, 'x')
    assert 'Unknown' not in str(e), e
    print('ok unmappable', flush=True)


if sys.argv[2:] == ['hold']:
    hold()
elif sys.argv[2:] == ['unmappable']:
    unmappable()
else:
    for case in [n for n in globals() if n.startswith('case_')]:
        if len(sys.argv) == 2 or case[5:] in sys.argv[2:]:
            globals()[case]()
            gc.collect()
            print('ok', case[5:], flush=True)
