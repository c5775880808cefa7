#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What users may do, and what it leaves: rights.py FOLDER, as root, in an empty folder."""

import errno
import os
import stat
import sys
import time
import traceback

ANN, BOB, TEAM = 54321, 54322, 54400


def as_user(uid, gid, call, groups=()):
    """call() in a process of that user; its errno, or 0."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            call()
            code = 0
        except OSError as e:
            code = e.errno
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ann(call, groups=()):
    return as_user(ANN, ANN, call, groups)


def bob(call, groups=()):
    return as_user(BOB, BOB, call, groups)


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError(f'{what}: wanted {wanted}, got {got}')


def ends(code, wanted, what):
    same(errno.errorcode.get(code, code), errno.errorcode.get(wanted, wanted), what)


def make(path, mode=0o666, data=b'data'):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    os.write(fd, data)
    os.close(fd)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner_of(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def check_owner_and_umask():
    os.mkdir('open')
    os.chmod('open', 0o777)

    def create():
        os.umask(0o027)
        make('open/f')
        os.mkdir('open/d', 0o777)
        os.symlink('x', 'open/l')
        os.mkfifo('open/p', 0o666)
    ends(ann(create), 0, 'create')
    for name, mode in (('f', 0o640), ('d', 0o750), ('p', 0o640)):
        same(owner_of('open/' + name), (ANN, ANN), 'owner of ' + name)
        same(mode_of('open/' + name), mode, 'mode of ' + name)
    same(owner_of('open/l'), (ANN, ANN), 'owner of l')


def check_access():
    make('root644', 0o644)
    make('root600', 0o600)
    ends(ann(lambda: open('root644').close()), 0, 'read 0644')
    ends(ann(lambda: open('root644', 'r+').close()), errno.EACCES, 'write 0644')
    ends(ann(lambda: open('root600').close()), errno.EACCES, 'read 0600')
    ends(ann(lambda: os.chmod('root644', 0o666)), errno.EPERM, 'chmod')
    ends(ann(lambda: os.chown('root644', ANN, -1)), errno.EPERM, 'chown')
    ends(ann(lambda: os.utime('root644', (1, 1))), errno.EPERM, 'utime')
    ends(ann(lambda: os.truncate('root644', 0)), errno.EACCES, 'truncate')
    ends(ann(lambda: make('new')), errno.EACCES, 'create in a folder of root')
    ends(ann(lambda: os.unlink('root644')), errno.EACCES, 'unlink in a folder of root')
    ends(ann(lambda: os.rename('root644', 'y')), errno.EACCES, 'rename in a folder of root')
    os.mkdir('closed', 0o700)
    make('closed/f')
    ends(ann(lambda: os.stat('closed/f')), errno.EACCES, 'stat below 0700')
    ends(ann(lambda: os.listdir('closed')), errno.EACCES, 'list 0700')
    os.chmod('closed', 0o711)
    ends(ann(lambda: os.stat('closed/f')), 0, 'stat below 0711')
    ends(ann(lambda: os.listdir('closed')), errno.EACCES, 'list 0711')
    # what was opened before the mode changed stays open
    make('kept', 0o644)

    def keep():
        f = open('kept')
        os.write(w1, b'x')
        os.read(r2, 1)
        same(f.read(), 'data', 'read of an open file')
    r1, w1 = os.pipe()
    r2, w2 = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(ann(keep))
    os.read(r1, 1)
    os.chmod('kept', 0)
    os.write(w2, b'x')
    same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, 'read after chmod 0')
    ends(ann(lambda: open('kept').close()), errno.EACCES, 'open after chmod 0')
    same(os.access('kept', os.X_OK), False, 'root, no x anywhere')
    same(os.access('kept', os.R_OK | os.W_OK), True, 'root reads and writes')


def check_groups():
    make('team', 0o640)
    os.chown('team', 0, TEAM)
    ends(ann(lambda: open('team').close()), errno.EACCES, 'not in the group')
    ends(ann(lambda: open('team').close(), [TEAM]), 0, 'in the group')
    ends(as_user(ANN, TEAM, lambda: open('team').close()), 0, 'in it by gid')
    make('anns', 0o644)
    os.chown('anns', ANN, ANN)
    ends(ann(lambda: os.chown('anns', -1, TEAM), [TEAM]), 0, 'owner to an own group')
    same(owner_of('anns'), (ANN, TEAM), 'owner after it')
    ends(ann(lambda: os.chown('anns', -1, BOB)), errno.EPERM, 'owner to a foreign group')
    ends(ann(lambda: os.chown('anns', BOB, -1)), errno.EPERM, 'owner gives it away')
    ends(ann(lambda: os.chmod('anns', 0o2755)), 0, 'setgid by a non-member')
    same(mode_of('anns'), 0o755, 'setgid of a group that ann is not in')
    ends(ann(lambda: os.chmod('anns', 0o2755), [TEAM]), 0, 'setgid by a member')
    same(mode_of('anns'), 0o2755, 'setgid of an own group')


def check_sticky():
    os.mkdir('tmp')
    os.chmod('tmp', 0o1777)
    ends(ann(lambda: make('tmp/a')), 0, 'create')
    ends(bob(lambda: make('tmp/b')), 0, 'create')
    ends(bob(lambda: os.unlink('tmp/a')), errno.EPERM, "unlink another's")
    ends(bob(lambda: os.rename('tmp/a', 'tmp/c')), errno.EPERM, "rename another's")
    ends(bob(lambda: os.rename('tmp/b', 'tmp/a')), errno.EPERM, "rename over another's")
    ends(bob(lambda: os.rename('tmp/b', 'tmp/c')), 0, 'rename an own name')
    ends(ann(lambda: os.unlink('tmp/a')), 0, 'unlink an own name')
    ends(ann(lambda: os.mkdir('tmp/d')), 0, 'mkdir')
    ends(bob(lambda: os.rmdir('tmp/d')), errno.EPERM, "rmdir another's")


def check_setgid_folder():
    os.mkdir('shared')
    os.chown('shared', 0, TEAM)
    os.chmod('shared', 0o2777)

    def create():
        os.umask(0o022)
        make('shared/f')
        os.mkdir('shared/d')
        os.symlink('x', 'shared/l')
    ends(ann(create), 0, 'create')
    same(owner_of('shared/f'), (ANN, TEAM), 'group of a file')
    same(owner_of('shared/d'), (ANN, TEAM), 'group of a folder')
    same(owner_of('shared/l'), (ANN, TEAM), 'group of a link')
    same(mode_of('shared/d'), 0o2755, 'the bit is inherited')
    same(mode_of('shared/f'), 0o644, 'not by files')


def check_set_id_bits():
    """Who writes into a program or gives it away takes its special rights."""
    def fresh(mode=0o6777):
        if os.path.lexists('suid'):
            os.unlink('suid')
        make('suid')
        os.chown('suid', ANN, TEAM)
        os.chmod('suid', mode)

    def write():
        fd = os.open('suid', os.O_WRONLY)
        os.write(fd, b'x')
        os.close(fd)

    def write_direct():
        fd = os.open('suid', os.O_WRONLY | os.O_DIRECT)
        os.write(fd, b'x')
        os.close(fd)

    def append():
        fd = os.open('suid', os.O_WRONLY | os.O_APPEND)
        os.write(fd, b'x')
        os.close(fd)

    for call in (write, write_direct, append, lambda: os.truncate('suid', 1),
                 lambda: os.close(os.open('suid', os.O_WRONLY | os.O_TRUNC))):
        fresh()
        ends(bob(call), 0, 'write by another')
        same(mode_of('suid'), 0o777, 'after a write by another')
    fresh()
    write()
    same(mode_of('suid'), 0o6777, 'after a write by root')
    fresh()
    os.chown('suid', BOB, -1)
    same(mode_of('suid'), 0o777, 'after chown')
    fresh(0o2767)  # mandatory locking, not a right
    ends(bob(write), 0, 'write by another')
    same(mode_of('suid'), 0o2767, 'setgid without group x')


def check_times():
    make('times')
    ns = (1234567890123456789, 987654321987654321)
    os.utime('times', ns=ns)
    st = os.stat('times')
    same((st.st_atime_ns, st.st_mtime_ns), ns, 'nanoseconds')
    os.utime('times', ns=(-5 * 10**9 + 1, 2**33 * 10**9 + 7))
    st = os.stat('times')
    same((st.st_atime_ns, st.st_mtime_ns), (-5 * 10**9 + 1, 2**33 * 10**9 + 7), 'far times')

    def changed(what, call, path, mtime, ctime):
        before = os.stat(path)
        now = time.time_ns()
        call()
        after = os.stat(path)
        same(after.st_mtime_ns != before.st_mtime_ns, mtime, f'{what} moves mtime of {path}')
        same(after.st_ctime_ns != before.st_ctime_ns, ctime, f'{what} moves ctime of {path}')
        if ctime:
            same(abs(after.st_ctime_ns - now) < 10**11, True, f'{what}: ctime is now')

    changed('write', lambda: open('times', 'ab').write(b'x'), 'times', True, True)
    changed('truncate', lambda: os.truncate('times', 1), 'times', True, True)
    changed('chmod', lambda: os.chmod('times', 0o640), 'times', False, True)
    changed('chown', lambda: os.chown('times', ANN, ANN), 'times', False, True)
    changed('link', lambda: os.link('times', 'times2'), 'times', False, True)
    changed('rename', lambda: os.rename('times2', 'times3'), 'times', False, True)
    changed('unlink', lambda: os.unlink('times3'), 'times', False, True)
    changed('read', lambda: open('times', 'rb').read(), 'times', False, False)
    os.mkdir('when')
    changed('create', lambda: make('when/f'), 'when', True, True)
    changed('write', lambda: open('when/f', 'ab').write(b'x'), 'when', False, False)
    changed('mkdir', lambda: os.mkdir('when/d'), 'when', True, True)
    changed('rename', lambda: os.rename('when/f', 'when/g'), 'when', True, True)
    make('when/h')
    changed('rename over', lambda: os.rename('when/h', 'when/g'), 'when', True, True)
    changed('unlink', lambda: os.unlink('when/g'), 'when', True, True)
    changed('rmdir', lambda: os.rmdir('when/d'), 'when', True, True)
    os.utime('times')
    same(abs(os.stat('times').st_mtime_ns - time.time_ns()) < 10**11, True, 'touch')
    # a time that is set by its owner only, and "now" by everybody who may write
    os.chmod('times', 0o666)
    ends(bob(lambda: os.utime('times')), 0, 'touch by a writer')
    ends(bob(lambda: os.utime('times', (5, 5))), errno.EPERM, 'a time set by a writer')


def check_statfs():
    st = os.statvfs('.')
    same(st.f_namemax, 255, 'f_namemax')
    for ok in (st.f_blocks >= st.f_bfree >= st.f_bavail > 0, st.f_files >= st.f_ffree > 0,
               st.f_frsize > 0):
        same(ok, True, f'statvfs {st}')


def main():
    os.chdir(sys.argv[1])
    os.umask(0o022)
    for name, check in list(globals().items()):
        if name.startswith('check_'):
            try:
                check()
            except (AssertionError, OSError) as e:
                line = traceback.extract_tb(e.__traceback__)
                where = [x.lineno for x in line if x.name.startswith('check_')]
                print(f'rights: {name}, line {where}: {e}', file=sys.stderr)
                return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
