#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Large folders, read as readdir(3) has it.

    folder.py fill|walk FOLDER COUNT     make COUNT names; find exactly those
    folder.py change FOLDER COUNT        names that come and go while it is read
    folder.py empty FOLDER
"""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
for call in (libc.readdir, libc.closedir, libc.rewinddir, libc.telldir, libc.seekdir):
    call.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.telldir.restype = ctypes.c_long


class Entry(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_uint64), ('off', ctypes.c_int64), ('reclen', ctypes.c_uint16),
                ('type', ctypes.c_uint8), ('name', ctypes.c_char * 256)]


class Folder:
    def __init__(self, path):
        self.dir = libc.opendir(path.encode())
        if not self.dir:
            raise OSError(ctypes.get_errno(), path)

    def next(self):
        ctypes.set_errno(0)
        p = libc.readdir(self.dir)
        if p:
            return ctypes.cast(p, ctypes.POINTER(Entry)).contents.name.decode()
        if ctypes.get_errno():
            raise OSError(ctypes.get_errno(), 'readdir')
        return None

    def rest(self):
        names = []
        while (name := self.next()) is not None:
            names.append(name)
        return names

    def tell(self):
        return libc.telldir(self.dir)

    def seek(self, where):
        libc.seekdir(self.dir, where)

    def rewind(self):
        libc.rewinddir(self.dir)

    def close(self):
        libc.closedir(self.dir)


def name_of(i):
    return f'{i:05}-' + 'x' * (i * 7 % 90)


def check(ok, text):
    if not ok:
        sys.exit('folder: ' + text)


def exactly(names, wanted, what):
    check(len(names) == len(set(names)), f'{what}: {len(names) - len(set(names))} names twice')
    found, wanted = set(names) - {'.', '..'}, set(wanted)
    check(found == wanted, f'{what}: {len(wanted - found)} names too few, {len(found - wanted)} '
                           f'too many: {sorted(wanted ^ found)[:5]}')


def fill(path, count):
    """Several at a time, so that the node can put several into one commit."""
    def make(i):
        kind = i % 100
        p = os.path.join(path, name_of(i))
        if kind == 1:
            os.mkdir(p)
        elif kind == 2:
            os.symlink('target', p)
        else:
            os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(count)))


def walk(path, count):
    wanted = [name_of(i) for i in range(count)]
    d = Folder(path)
    order = d.rest()
    exactly(order, wanted, 'whole')
    check(d.next() is None, 'a name after the end')
    d.rewind()
    marks = []
    for i in range(len(order)):
        if i % 611 == 0:
            marks.append((i, d.tell()))
        check(d.next() == order[i], f'second time: another order at {i}')
    marks.append((len(order), d.tell()))
    for i, mark in reversed(marks):
        d.seek(mark)
        wanted_next = order[i] if i < len(order) else None
        check(d.next() == wanted_next, f'seekdir to {i}: not {wanted_next}')
    d.seek(marks[3][1])
    check(d.rest() == order[marks[3][0]:], 'after seekdir: another order')
    # what a new open makes of an old place
    e = Folder(path)
    e.seek(marks[5][1])
    check(e.next() == order[marks[5][0]], 'seekdir in another open')
    e.close()
    d.close()
    with os.scandir(path) as it:
        kinds = {x.name: (x.is_dir(follow_symlinks=False), x.is_symlink()) for x in it}
    for i in range(0, count):
        check(kinds[name_of(i)] == (i % 100 == 1, i % 100 == 2), f'type of {name_of(i)}')
    sample = [name_of(i) for i in range(0, count, 997)]
    inodes = {os.lstat(os.path.join(path, n)).st_ino for n in sample}
    check(len(inodes) == len(sample), 'two names of one inode')


def change(path, count):
    """Names that stay are seen exactly once; those that come or go, at most once."""
    stay = [f'stay{i}' for i in range(count)]
    for i in range(count):
        os.close(os.open(os.path.join(path, stay[i]), os.O_CREAT | os.O_WRONLY))
        os.close(os.open(os.path.join(path, f'go{i}'), os.O_CREAT | os.O_WRONLY))
    d = Folder(path)
    seen, gone = [], 0
    while (name := d.next()) is not None:
        seen.append(name)
        if len(seen) % 5 == 0 and gone < count:
            os.unlink(os.path.join(path, f'go{gone}'))
            os.close(os.open(os.path.join(path, f'come{gone}'), os.O_CREAT | os.O_WRONLY))
            gone += 1
    d.close()
    check(len(seen) == len(set(seen)), 'a name was seen twice')
    check(set(stay) <= set(seen), f'names that stayed were not seen: {set(stay) - set(seen)}')
    exactly(os.listdir(path), stay + [f'go{i}' for i in range(gone, count)] +
            [f'come{i}' for i in range(gone)], 'at the end')
    # delete what was just read, as rm -r does
    d = Folder(path)
    while (name := d.next()) is not None:
        if name not in ('.', '..'):
            os.unlink(os.path.join(path, name))
    d.close()
    check(os.listdir(path) == [], 'not empty')


def empty(path):
    def remove(name):
        p = os.path.join(path, name)
        try:
            os.unlink(p)
        except IsADirectoryError:
            os.rmdir(p)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, os.listdir(path)))
    check(os.listdir(path) == [], 'not empty')


if __name__ == '__main__':
    {'fill': fill, 'walk': walk, 'change': change, 'empty': empty}[sys.argv[1]](
        sys.argv[2], *map(int, sys.argv[3:]))
