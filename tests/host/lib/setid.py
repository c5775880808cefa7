#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who takes which bits: setid.py FOLDER REFERENCE, as root, two empty folders.

Every way to change owner, mode, size or contents of an object with set-id bits, by root, by its
owner in and out of its group, by another in its group, and by anybody: the error, and mode and
owner after it, have to be those of the reference, which is on a local filesystem.
"""

import errno
import itertools
import os
import stat
import sys

ANN, BOB, TEAM, CREW = 54321, 54322, 54400, 54401

CALLERS = {
    'root': (0, 0, []),
    'owner': (ANN, ANN, []),
    'owner in its group': (ANN, ANN, [TEAM]),
    'owner, its group is his first': (ANN, TEAM, []),
    'owner in both groups': (ANN, ANN, [TEAM, CREW]),
    'another': (BOB, BOB, []),
    'another in its group': (BOB, BOB, [TEAM]),
}
MODES = (0o6777, 0o2754, 0o2744)
# where CPUs are emulated: each tenth combination only
SCALE = int(os.environ.get('PW_SCALE') or 1)


def write(path, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.write(fd, b'xy')
    finally:
        os.close(fd)


def append(path):
    write(path, os.O_APPEND)


def on_fd(call):
    def run(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            call(fd)
        finally:
            os.close(fd)
    return run


CALLS = {
    'chown(-1, -1)': lambda p: os.chown(p, -1, -1),
    'fchown(-1, -1)': on_fd(lambda fd: os.fchown(fd, -1, -1)),
    'chown(owner, -1)': lambda p: os.chown(p, ANN, -1),
    'chown(-1, its group)': lambda p: os.chown(p, -1, TEAM),
    'chown(-1, another group)': lambda p: os.chown(p, -1, CREW),
    'chown(owner, another group)': lambda p: os.chown(p, ANN, CREW),
    'chown(another, -1)': lambda p: os.chown(p, BOB, -1),
    'fchown(another, another group)': on_fd(lambda fd: os.fchown(fd, BOB, CREW)),
    'chmod(6755)': lambda p: os.chmod(p, 0o6755),
    'chmod(2744)': lambda p: os.chmod(p, 0o2744),
    'fchmod(6711)': on_fd(lambda fd: os.fchmod(fd, 0o6711)),
}
FILE_CALLS = {
    'write': write,
    'append': append,
    'open(O_TRUNC)': lambda p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
    'truncate(shorter)': lambda p: os.truncate(p, 1),
    'truncate(same)': lambda p: os.truncate(p, 4),
    'truncate(longer)': lambda p: os.truncate(p, 10),
}


def is_vague(mode, caller):
    """Set-gid without x for the group is no right, and who is in the group FUSE does not tell."""
    _, gid, groups = CALLERS[caller]
    return mode & 0o2010 == 0o2000 and caller != 'root' and TEAM not in (gid, *groups)


def outcome(caller, call, path):
    """In a process of that user: errno, then mode, owner and group after it."""
    uid, gid, groups = CALLERS[caller]
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            call(path)
            code = 0
        except OSError as e:
            code = e.errno
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    st = os.lstat(path)
    return (errno.errorcode.get(code, code), oct(stat.S_IMODE(st.st_mode)), st.st_uid, st.st_gid)


def make(path, is_dir, mode):
    if is_dir:
        os.mkdir(path)
    else:
        with open(path, 'w') as f:
            f.write('text')
    os.chown(path, ANN, TEAM)
    os.chmod(path, mode)


def main():
    os.umask(0)
    folders = sys.argv[1:]
    bad, nr, seen = 0, 0, 0
    for is_dir in (False, True):
        calls = CALLS if is_dir else {**CALLS, **FILE_CALLS}
        for (name, call), caller, mode in itertools.product(calls.items(), CALLERS, MODES):
            seen += 1
            if is_vague(mode, caller) or seen % SCALE:
                continue
            got = []
            for folder in folders:
                path = folder + '/x'
                make(path, is_dir, mode)
                got.append(outcome(caller, call, path))
                (os.rmdir if is_dir else os.unlink)(path)
            nr += 1
            if got[0] != got[1]:
                bad += 1
                print(f'setid: {"folder" if is_dir else "file"} {mode:o}, {name} by {caller}: '
                      f'{got[0]}, a local filesystem: {got[1]}', file=sys.stderr)
    print(f'{nr} combinations, {bad} differ')
    sys.exit(bad != 0)


if __name__ == '__main__':
    main()
