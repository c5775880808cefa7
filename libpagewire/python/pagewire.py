# SPDX-License-Identifier: Apache-2.0
"""Buffers that travel between a program and a pagewire mount without being copied.

    import pagewire

    with pagewire.open('/mnt/data') as mount:
        with mount.alloc(1 << 30) as buf:
            n = buf.pread(fd, offset, length=1 << 20)  # the file's bytes are in buf[:n]
            array = numpy.frombuffer(buf, dtype='f4')  # no copy, either

A buffer is a mmap.mmap: whatever takes a writable buffer takes it (numpy.frombuffer, os.preadv,
os.pwritev, readinto, struct). Slices are views, not copies. Errors are OSError, whose text says
what to do. See libpagewire(3).
"""

import collections
import ctypes
import errno
import fcntl
import mmap
import os
import threading
import time
import weakref

__all__ = ['Buffer', 'Info', 'Mount', 'open']

_OPTIONAL = 1
_HUGE = {False: (0, 4096), None: (0, 4096),
         '2M': (os.MFD_HUGETLB | os.MFD_HUGE_2MB, 2 << 20),
         '1G': (os.MFD_HUGETLB | os.MFD_HUGE_1GB, 1 << 30)}
_HUGE[True] = _HUGE['2M']
_NOREG = 4
# not for user space, and yet what drivers answer; os.strerror() does not know it
_KERNEL_ENOTSUPP = 524

Info = collections.namedtuple('Info', 'registers in_kernel max_regions max_bytes max_io plain_io '
                                      'fsid transport why')
Info.__doc__ = """What Mount.info() says.

registers: the mount knows the buffers; else they are plain memory (optional=True)
in_kernel: the kernel finds them by itself: os.preadv and the like copy nothing with O_DIRECT
max_regions, max_bytes: of one process
max_io: bytes that one request moves; longer calls are several requests
plain_io: calls of Buffer.pread() and Buffer.pwrite() that had to copy
fsid, transport: of the mount, text
why: what it said when it last refused memory
"""


class _Info(ctypes.Structure):
    _fields_ = [('size', ctypes.c_uint32), ('version', ctypes.c_uint32),
                ('features', ctypes.c_uint32), ('max_regions', ctypes.c_uint32),
                ('max_bytes', ctypes.c_uint64), ('max_io', ctypes.c_uint64),
                ('plain_io', ctypes.c_uint64), ('fsid', ctypes.c_char * 40),
                ('transport', ctypes.c_char * 16), ('why', ctypes.c_char * 200)]


def _load():
    # the name, so that LD_LIBRARY_PATH and the linker's cache are searched as for any program
    try:
        lib = ctypes.CDLL('libpagewire.so.0')
    except OSError as e:
        raise ImportError(f'{e}: install libpagewire, run ldconfig when it is in /usr/local/lib, '
                          'or name its folder in LD_LIBRARY_PATH') from None
    p, off_t = ctypes.c_void_p, ctypes.c_int64
    for name, ret, *args in (
            ('pw_open', ctypes.c_int, ctypes.POINTER(p), ctypes.c_char_p, ctypes.c_uint),
            ('pw_close', None, p),
            ('pw_get_info', ctypes.c_int, p, ctypes.POINTER(_Info)),
            ('pw_import', ctypes.c_int, p, ctypes.c_int, off_t, ctypes.c_size_t, ctypes.c_uint,
             ctypes.POINTER(p)),
            ('pw_release', ctypes.c_int, p, ctypes.c_int),
            ('pw_pread', ctypes.c_ssize_t, ctypes.c_int, p, ctypes.c_size_t, ctypes.c_size_t,
             off_t),
            ('pw_pwrite', ctypes.c_ssize_t, ctypes.c_int, p, ctypes.c_size_t, ctypes.c_size_t,
             off_t)):
        function = getattr(lib, name)
        function.restype, function.argtypes = ret, args
    return lib


_lib = _load()


def _error(code, text):
    if code == _KERNEL_ENOTSUPP:
        code = errno.EOPNOTSUPP
    return OSError(code, f'{os.strerror(code)}: {text}' if text else os.strerror(code))


def _unmappable(code):
    return _error(code, 'the driver of this dma-buf lets nobody map it, so it cannot be a buffer')


def _milliseconds(timeout):
    return -1 if timeout is None else min(max(0, int(timeout * 1000)), 0x7fffffff)


class Buffer(mmap.mmap):
    """Memory that the program shares with a mount; made by Mount.alloc() or Mount.import_fd()."""

    def __new__(cls, mount, fd, offset, length, flags):
        try:
            self = super().__new__(cls, fd, length, mmap.MAP_SHARED,
                                   mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        except OSError as e:
            if e.errno in (_KERNEL_ENOTSUPP, errno.EOPNOTSUPP):
                raise _unmappable(e.errno) from None
            raise
        self.mount = mount
        self._handle = None
        self._users = 0
        self._idle = threading.Condition()
        region = ctypes.c_void_p()
        # it maps the memory once more: the mount forbids new mappings from then on
        err = _lib.pw_import(mount._session(), fd, offset, length, flags, ctypes.byref(region))
        if err:
            mmap.mmap.close(self)
            raise mount._refusal(-err, length)
        self._handle = region
        self.fd = os.dup(fd)
        return self

    def __getitem__(self, key):
        return memoryview(self)[key]

    def pread(self, fd, offset, length=None, at=0):
        """Read from file fd at offset into self[at:at + length]; return how many bytes."""
        return self._move(_lib.pw_pread, fd, offset, length, at)

    def pwrite(self, fd, offset, length=None, at=0):
        """Write self[at:at + length] to file fd at offset; return how many bytes."""
        return self._move(_lib.pw_pwrite, fd, offset, length, at)

    def _move(self, function, fd, offset, length, at):
        size = len(self)
        if length is None:
            length = size - at
        if not 0 <= at <= size or not 0 <= length <= size - at or offset < 0:
            raise ValueError(f'bytes {at}..{at + length} of a buffer of {size}, file offset '
                             f'{offset}: out of range')
        if not isinstance(fd, int):
            fd = fd.fileno()
        with self._idle:
            if self._handle is None:
                raise ValueError('the buffer is closed')
            self._users += 1
        try:
            while True:
                n = function(fd, self._handle, at, length, offset)
                if n != -errno.EINTR:  # else Python's signal handlers run, and it goes on
                    break
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()
        if n < 0:
            raise _error(-n, '')
        return n

    def close(self, timeout=None):
        """Take the buffer back from the mount, when no I/O uses it any more.

        After timeout seconds (None: for ever) it is OSError EBUSY, and can be called again. Views
        that are still there (numpy arrays, slices) stay valid, as memory like any other.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._idle:
            if self._handle is None:
                return
            if not self._idle.wait_for(lambda: not self._users, timeout):
                raise _error(errno.EBUSY, 'a thread is in pread() or pwrite(): close it later')
            handle, self._handle = self._handle, None
        left = None if end is None else end - time.monotonic()
        err = _lib.pw_release(handle, _milliseconds(left)) if self.mount._is_ours() else 0
        if err:
            self._handle = handle
            raise _error(-err, 'I/O is still under way: close it later')
        self._unmap()

    def _unmap(self):
        os.close(self.fd)
        self.fd = -1
        try:
            super().close()
        except BufferError:  # the last view does it
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, '_handle', None) is not None:
            try:
                self.close(1)
            except OSError:  # what is still under way ends with the mount object
                pass


class Mount:
    """A connection with the mount that a path belongs to."""

    def __init__(self, path, optional=False):
        self._pw = None
        self._pid = os.getpid()
        self._lock = threading.RLock()  # an alloc() or info() against close()
        self._buffers = weakref.WeakSet()
        pw = ctypes.c_void_p()
        err = _lib.pw_open(ctypes.byref(pw), os.fsencode(path), _OPTIONAL if optional else 0)
        if err:
            text = ''
            if err == -errno.EOPNOTSUPP:
                text = 'no pagewire here, or it is mounted with zc=off; with optional=True the ' \
                       'program works anywhere'
            elif err == -errno.EPROTONOSUPPORT:
                text = 'libpagewire and the client of the mount are of different versions: ' \
                       'install the same one, mount again'
            raise OSError(-err, f'{os.strerror(-err)}{": " if text else ""}{text}',
                          os.fspath(path))
        self._pw = pw

    def _is_ours(self):
        return self._pid == os.getpid()

    def _session(self):
        if self._pw is None:
            raise ValueError('the mount is closed')
        if not self._is_ours():
            raise _error(errno.EPERM, f'opened by process {self._pid} before it forked: call '
                                      'pagewire.open() in the child')
        return self._pw

    def _refusal(self, code, length):
        info = self.info()
        if code in (errno.ENOSPC, errno.EPERM, errno.EEXIST, errno.EINVAL) and info.why:
            return _error(code, info.why)
        if code == errno.ENOTCONN:
            return _error(code, 'the client of the mount has ended: mount again, then open again')
        if code == errno.EOPNOTSUPP:
            return _unmappable(code)
        return _error(code, f'a region of {length} bytes')

    def info(self):
        """An Info: what the mount can do, and what it said last."""
        i = _Info(size=ctypes.sizeof(_Info))
        with self._lock:
            if self._pw is None:
                raise ValueError('the mount is closed')
            _lib.pw_get_info(self._pw, ctypes.byref(i))
        return Info(bool(i.features & 1), bool(i.features & 2), i.max_regions, i.max_bytes,
                    i.max_io, i.plain_io, i.fsid.decode(), i.transport.decode(),
                    i.why.decode(errors='replace'))

    def alloc(self, length, huge=False, register=True):
        """A Buffer of length bytes, rounded up to whole pages.

        huge: pages of 2 MiB (True or '2M') or '1G', which the administrator has set aside
        register=False: memory only, the mount is not told
        """
        if huge not in _HUGE:
            raise ValueError(f'huge={huge!r}: False, True, "2M" or "1G"')
        if length <= 0:
            raise ValueError(f'a buffer of {length} bytes')
        flags, page = _HUGE[huge]
        length = -(-length // page) * page
        fd = -1
        try:
            fd = os.memfd_create('pagewire-region',
                                 os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
            os.ftruncate(fd, length)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            return self._buffer(fd, 0, length, 0 if register else _NOREG)
        except OSError as e:
            if flags and e.errno in (errno.ENOMEM, errno.ENODEV):
                raise _error(e.errno, f'{length // page} pages of {page >> 20} MiB are not set '
                                      'aside: /sys/kernel/mm/hugepages/hugepages-'
                                      f'{page >> 10}kB/nr_hugepages') from None
            raise
        finally:
            if fd >= 0:
                os.close(fd)

    def import_fd(self, fd, offset=0, length=None, register=True):
        """A Buffer out of a memfd, sealed with F_SEAL_SHRINK and F_SEAL_GROW; fd stays yours."""
        if length is None:
            length = os.fstat(fd).st_size - offset
        return self._buffer(fd, offset, length, 0 if register else _NOREG)

    def _buffer(self, fd, offset, length, flags):
        with self._lock:
            self._session()
            buf = Buffer(self, fd, offset, length, flags)
            self._buffers.add(buf)
        return buf

    def close(self):
        """Take every buffer back; wait for the I/O that uses them."""
        with self._lock:
            for buf in list(self._buffers):
                buf.close()
            pw, self._pw = self._pw, None
            # in a forked child the connection is the parent's
            if pw is not None and self._is_ours():
                _lib.pw_close(pw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, '_pw', None) is not None and self._is_ours():
            _lib.pw_close(self._pw)
            self._pw = None


def open(path, optional=False):
    """The Mount that path, any file or folder of it, belongs to.

    With optional=True it succeeds where there is no pagewire, too: buffers are plain memory then,
    and pread() and pwrite() copy.
    """
    return Mount(path, optional)
