#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Did the filesystem keep what it promised, over crashes that nobody was told of?

    crashcheck.py load --dir MOUNT-FOLDER --ledger FILE --stop FILE [--seed N] [--lossy]
    crashcheck.py verify --dir MOUNT-FOLDER --ledger FILE
    crashcheck.py selftest

load writes records of 4 KiB and makes, renames, links and removes names in a folder of its own,
until FILE exists. Before each operation a line "begun" goes into the ledger, which lies outside
of the mount, and after it a line "durable", once the filesystem has promised it. Each record says
in each of its 64 pieces whose it is, where it belongs and which version it is.

verify accepts for each record and each name the last durable state or one that was begun after
it, and nothing else: nothing lost, nothing old, nothing torn, nothing of another file.

An error of the filesystem ends load with 1. With --lossy the mount itself will crash: errors end
load with 0, and what was written without O_SYNC, O_DIRECT or fsync is not durable.
"""

import argparse
import errno
import mmap
import os
import random
import struct
import sys
import tempfile
import zlib

RECORD = 4096
PIECE = 64
HEAD = struct.Struct('<8sIIQ')  # magic, file, index, version
MAGIC = b'pwrecord'
NR_RECORDS = 96
NR_FILES = 4
NR_NAMES = 24
ABSENT = 0


# what the kernel says of a FUSE mount whose server has died; ECANCELED: the request was in a ring
MOUNT_IS_DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ECANCELED)


class Bad(Exception):
    pass


# ---- records ---------------------------------------------------------------------------------

def record(file, index, version):
    head = HEAD.pack(MAGIC, file, index, version)
    piece = head + zlib.crc32(head).to_bytes(4, 'little')
    rest = random.Random(f'{file}/{index}/{version}').randbytes(PIECE - len(piece))
    return (piece + rest) * (RECORD // PIECE)


def version_of(data, file, index):
    """The version in a record; 0 for a hole; Bad for anything that no single write made."""
    if data == bytes(len(data)):
        return ABSENT
    if len(data) != RECORD:
        raise Bad(f'file {file}, record {index}: only {len(data)} bytes')
    magic, f, i, version = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise Bad(f'file {file}, record {index}: not a record: {data[:32].hex()}')
    if (f, i) != (file, index):
        raise Bad(f'file {file}, record {index}: is record {i} of file {f}')
    wanted = record(f, i, version)
    if data != wanted:
        pieces = [n for n in range(RECORD // PIECE)
                  if data[n * PIECE:(n + 1) * PIECE] != wanted[n * PIECE:(n + 1) * PIECE]]
        raise Bad(f'file {file}, record {index}, version {version}: torn, pieces {pieces}')
    return version


# ---- the ledger ------------------------------------------------------------------------------

class Ledger:
    """Lines "b KEY STATE" and "d KEY STATE"; the machine stays up, so write(2) is enough."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def begun(self, *changes):
        self._add('b', changes)

    def durable(self, *changes):
        self._add('d', changes)

    def _add(self, kind, changes):
        os.write(self.fd, ''.join(f'{kind} {k} {v}\n' for k, v in changes).encode())


def allowed_states(path):
    """key -> the states that may be found there"""
    durable, later = {}, {}
    with open(path) as f:
        for line in f:
            kind, key, state = line.split()
            if kind == 'b':
                later.setdefault(key, []).append(state)
            else:
                # what was begun before this one is over: one writer per key, in order
                durable[key] = state
                waiting = later.get(key, [])
                later[key] = waiting[waiting.index(state) + 1:] if state in waiting else waiting
    out = {}
    for key in durable.keys() | later.keys():
        out[key] = {durable.get(key, str(ABSENT)), *later.get(key, [])}
    return out


# ---- load ------------------------------------------------------------------------------------

class Load:
    def __init__(self, a):
        self.dir, self.stop, self.lossy = a.dir, a.stop, a.lossy
        self.r = random.Random(a.seed)
        self.ledger = Ledger(a.ledger)
        self.version = 0
        self.counts = {}
        self.state = {}  # key -> what we know to be there
        self.lag = {}  # buffered, not yet promised
        self.names = os.path.join(a.dir, 'names')
        os.makedirs(self.names, exist_ok=True)
        self.fds, self.direct = [], []
        for f in range(NR_FILES):
            path = os.path.join(self.dir, f'data{f}')
            self.fds.append(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644))
            self.direct.append(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
        self.page = mmap.mmap(-1, 16 * RECORD)

    def next_version(self):
        self.version += 1
        return self.version

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- records ---------------------------------------------------------------------------

    def _new_records(self, file, first, nr):
        version = self.next_version()
        changes = [(f'r/{file}/{first + i}', version) for i in range(nr)]
        data = b''.join(record(file, first + i, version) for i in range(nr))
        self.ledger.begun(*changes)
        return changes, data

    def _promised(self, changes):
        self.ledger.durable(*changes)
        self.state.update(changes)

    def write_direct(self):
        file, nr = self.r.randrange(NR_FILES), self.r.choice((1, 1, 1, 4, 16))
        first = self.r.randrange(NR_RECORDS - nr + 1)
        self._settle(file)
        changes, data = self._new_records(file, first, nr)
        self.page[:len(data)] = data
        with memoryview(self.page) as view:
            n = os.pwritev(self.direct[file], [view[:len(data)]], first * RECORD)
        if n != len(data):
            raise Bad(f'short write of {n} bytes')
        self._promised(changes)
        self.count('direct')

    def write_buffered(self):
        file = self.r.randrange(NR_FILES)
        for _ in range(self.r.randrange(1, 6)):
            first = self.r.randrange(NR_RECORDS)
            changes, data = self._new_records(file, first, 1)
            os.pwrite(self.fds[file], data, first * RECORD)
            # known here at once; promised at the fsync, or when the mount cannot lose it
            self.lag.setdefault(file, []).extend(changes)
            self.state.update(changes)
        if not self.lossy or self.r.random() < .5:
            self._settle(file)
        self.count('buffered')

    def _settle(self, file):
        """What was written through the page cache becomes durable."""
        if file not in self.lag:
            return
        os.fsync(self.fds[file])
        changes = self.lag.pop(file)
        self.ledger.durable(*changes)

    def write_sync(self):
        """O_SYNC and a file that is longer or shorter for a while."""
        file, version = self.r.randrange(NR_FILES), self.next_version()
        self._settle(file)
        index = self.r.randrange(NR_RECORDS)
        change = (f'r/{file}/{index}', version)
        self.ledger.begun(change)
        fd = os.open(os.path.join(self.dir, f'data{file}'), os.O_WRONLY | os.O_SYNC | os.O_CLOEXEC)
        try:
            os.pwrite(fd, record(file, index, version), index * RECORD)
        finally:
            os.close(fd)
        self._promised([change])
        self.count('sync')

    def truncate(self):
        """Cut the tail off, and make the file as long as before: the tail is zero."""
        file = self.r.randrange(NR_FILES)
        self._settle(file)
        keep = self.r.randrange(NR_RECORDS)
        changes = [(f'r/{file}/{i}', ABSENT) for i in range(keep, NR_RECORDS)]
        self.ledger.begun(*changes)
        os.ftruncate(self.fds[file], keep * RECORD)
        os.ftruncate(self.fds[file], NR_RECORDS * RECORD)
        os.fsync(self.fds[file])
        self._promised(changes)
        self.count('truncate')

    def read(self):
        file, index = self.r.randrange(NR_FILES), self.r.randrange(NR_RECORDS)
        if self.r.random() < .5:
            data = os.pread(self.fds[file], RECORD, index * RECORD)
        else:
            self._settle(file)
            with memoryview(self.page) as view:
                n = os.preadv(self.direct[file], [view[:RECORD]], index * RECORD)
            data = self.page[:n]
        found = version_of(data, file, index)
        wanted = self.state.get(f'r/{file}/{index}', ABSENT)
        if found != wanted:
            raise Bad(f'file {file}, record {index}: read version {found}, wrote {wanted}')
        self.count('read')

    # -- names -----------------------------------------------------------------------------
    # The state of a name is the number of the file that it names, which is in its content.

    def _path(self, name):
        return os.path.join(self.names, f'n{name}')

    def _names(self, present):
        found = [n for n in range(NR_NAMES) if bool(self.state.get(f'n/{n}', ABSENT)) == present]
        return self.r.choice(found) if found else None

    def _change(self, changes, action):
        self.ledger.begun(*changes)
        action()
        self._promised(changes)

    def create(self):
        name, id_ = self._names(False), self.next_version()
        if name is None:
            return self.unlink()

        def action():
            fd = os.open(self._path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, str(id_).encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        # between its name and its content the file may be found empty: state -1
        self.ledger.begun((f'n/{name}', -1))
        self._change([(f'n/{name}', id_)], action)
        self.count('create')

    def unlink(self):
        name = self._names(True)
        if name is None:
            return self.create()
        self._change([(f'n/{name}', ABSENT)], lambda: os.unlink(self._path(name)))
        self.count('unlink')

    def rename(self):
        old, new = self._names(True), self.r.randrange(NR_NAMES)
        if old is None or old == new:
            return
        id_ = self.state[f'n/{old}']
        if self.state.get(f'n/{new}') == id_:
            return  # two links to one file: rename does nothing
        self._change([(f'n/{old}', ABSENT), (f'n/{new}', id_)],
                     lambda: os.rename(self._path(old), self._path(new)))
        self.count('rename')

    def link(self):
        old, new = self._names(True), self._names(False)
        if old is None or new is None:
            return
        id_ = self.state[f'n/{old}']
        self._change([(f'n/{new}', id_)], lambda: os.link(self._path(old), self._path(new)))
        links = sum(1 for n in range(NR_NAMES) if self.state.get(f'n/{n}') == id_)
        found = os.stat(self._path(new)).st_nlink
        if found != links and not self.lossy:
            raise Bad(f'name {new}: {found} links, made {links}')
        self.count('link')

    def folder(self):
        """mkdir, a name in it, rmdir: each has to succeed exactly once."""
        path = os.path.join(self.names, f'd{self.next_version()}')
        os.mkdir(path)
        os.symlink('../n0', path + '/s')
        if os.readlink(path + '/s') != '../n0':
            raise Bad('symlink: another target')
        os.chmod(path, 0o700)
        os.unlink(path + '/s')
        os.rmdir(path)
        if os.path.lexists(path):
            raise Bad('rmdir: still there')
        self.count('folder')

    def list(self):
        found = {n for n in os.listdir(self.names) if n[0] == 'n'}
        wanted = {f'n{n}' for n in range(NR_NAMES) if self.state.get(f'n/{n}', ABSENT)}
        if found != wanted:
            raise Bad(f'names: found {sorted(found - wanted)} too many, '
                      f'{sorted(wanted - found)} too few')
        self.count('list')

    def run(self):
        ops = [(self.write_direct, 28), (self.write_buffered, 12), (self.write_sync, 8),
               (self.truncate, 2), (self.read, 16), (self.create, 12), (self.unlink, 6),
               (self.rename, 8), (self.link, 4), (self.folder, 3), (self.list, 4)]
        calls, weights = zip(*ops)
        while not os.path.exists(self.stop):
            self.r.choices(calls, weights)[0]()
        for f in list(self.lag):
            self._settle(f)


def load(a):
    lo = None
    try:
        lo = Load(a)
        lo.run()
    except OSError as e:
        if not a.lossy or e.errno not in MOUNT_IS_DEAD:
            print(f'crashcheck: the filesystem said {e}', file=sys.stderr)
            return 1
    except Bad as e:
        print(f'crashcheck: {e}', file=sys.stderr)
        return 1
    if lo:
        print('crashcheck: ' + ', '.join(f'{n} {w}' for w, n in sorted(lo.counts.items())))
    return 0


# ---- verify ----------------------------------------------------------------------------------

def found_record(folder, key):
    _, file, index = key.split('/')
    with open(os.path.join(folder, f'data{file}'), 'rb', buffering=0) as f:
        data = os.pread(f.fileno(), RECORD, int(index) * RECORD)
    return version_of(data, int(file), int(index))


def found_name(folder, key):
    try:
        with open(os.path.join(folder, 'names', 'n' + key.split('/')[1]), 'rb') as f:
            data = f.read()
    except FileNotFoundError:
        return ABSENT
    return int(data) if data else -1


def problems(folder, ledger):
    out = []
    states = allowed_states(ledger)
    for key in sorted(states):
        try:
            found = (found_record if key[0] == 'r' else found_name)(folder, key)
        except (Bad, OSError, ValueError) as e:
            out.append(f'{key}: {e}')
            continue
        if str(found) not in states[key]:
            out.append(f'{key}: found {found}, allowed {sorted(states[key], key=int)}')
    listed = {n for n in os.listdir(os.path.join(folder, 'names')) if n[0] == 'n'}
    for name in listed:
        if f'n/{name[1:]}' not in states:
            out.append(f'{name}: a name that nobody made')
    return out, len(states)


def verify(a):
    bad, nr = problems(a.dir, a.ledger)
    for line in bad[:40]:
        print('crashcheck: ' + line, file=sys.stderr)
    if not bad:
        print(f'crashcheck: {nr} records and names are right')
    return 1 if bad else 0


# ---- the checker itself ----------------------------------------------------------------------

def selftest(_):
    """Plain files that were damaged on purpose must be found out, sound ones must not."""
    with tempfile.TemporaryDirectory() as tmp:
        folder, ledger, stop = (os.path.join(tmp, n) for n in ('d', 'ledger', 'stop'))
        os.mkdir(folder)
        a = argparse.Namespace(dir=folder, ledger=ledger, stop=stop, lossy=False, seed=1)
        lo = Load(a)
        for call in ([lo.write_direct, lo.write_buffered, lo.create, lo.rename, lo.link] * 40):
            call()
        for f in list(lo.lag):
            lo._settle(f)
        assert not problems(folder, ledger)[0], problems(folder, ledger)[0]
        key = next(k for k in sorted(lo.state) if k.startswith('r/0/') and lo.state[k] > 1)
        index = int(key.split('/')[2])
        good = os.pread(lo.fds[0], RECORD, index * RECORD)
        name = lo._path(lo._names(True))

        def put(data):
            os.pwrite(lo.fds[0], data, index * RECORD)

        def found(damage, repair):
            damage()
            assert problems(folder, ledger)[0], 'damage was not found'
            repair()
            assert not problems(folder, ledger)[0], 'repaired, and still found'

        found(lambda: put(good[:100] + b'x' + good[101:]), lambda: put(good))
        found(lambda: put(bytes(RECORD)), lambda: put(good))
        found(lambda: put(record(0, index, lo.state[key] - 1)), lambda: put(good))
        found(lambda: put(record(1, index, lo.state[key])), lambda: put(good))
        found(lambda: put(good[:512] + record(0, index, 1)[512:]), lambda: put(good))
        found(lambda: os.rename(name, tmp + '/away'), lambda: os.rename(tmp + '/away', name))
        found(lambda: os.link(name, lo.names + '/n99'), lambda: os.unlink(lo.names + '/n99'))
        # begun and not durable: both are right
        lo.ledger.begun((key, 999999))
        assert not problems(folder, ledger)[0]
        put(record(0, index, 999999))
        assert not problems(folder, ledger)[0]
        lo.ledger.durable((key, 999999))
        found(lambda: put(good), lambda: put(record(0, index, 999999)))
    print('crashcheck: selftest passed')
    return 0


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(required=True)
    for name, call in (('load', load), ('verify', verify), ('selftest', selftest)):
        s = sub.add_parser(name)
        s.set_defaults(call=call)
        if name == 'selftest':
            continue
        s.add_argument('--dir', required=True)
        s.add_argument('--ledger', required=True)
        if name == 'load':
            s.add_argument('--stop', required=True)
            s.add_argument('--seed', type=int, default=1)
            s.add_argument('--lossy', action='store_true')
    a = p.parse_args()
    return a.call(a)


if __name__ == '__main__':
    sys.exit(main())
