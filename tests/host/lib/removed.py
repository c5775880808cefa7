#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Held, and removed: removed.py MOUNT OTHER-MOUNT, two mounts of one filesystem, the same folder.

What a program holds in its hand stays, also when its last name goes: fstat works and says that
there is no name, a folder is empty. By which handle it is held, and who removes it, is all the
same, but for a handle that only names (O_PATH) of what another machine removes.
"""

import errno
import os
import stat
import sys
import time

HERE, THERE = sys.argv[1:]


def same(got, wanted, what):
    if got != wanted:
        sys.exit(f'removed: {what}: wanted {wanted}, got {got}')


def soon(call, what):
    """Until the call says yes; what is waited for is in what."""
    end = time.monotonic() + 60
    while not call():
        if time.monotonic() > end:
            sys.exit(f'removed: not after a minute: {what}')
        time.sleep(0.02)


def code(call):
    try:
        call()
        return 0
    except OSError as e:
        return e.errno


def is_alive(fd, mode, what):
    """Attributes of an inode without a name, as they were."""
    st = os.fstat(fd)
    same(st.st_nlink, 0, f'{what}: links')
    same(oct(st.st_mode), oct(mode), f'{what}: mode')
    same((st.st_uid, st.st_gid), (54321, 54400), f'{what}: owner')


def is_empty(fd, what):
    same(os.listdir(fd), [], f'{what}: names')
    same(code(lambda: os.open('new', os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd)), errno.ENOENT,
         f'{what}: a new name')
    same(code(lambda: os.stat('none', dir_fd=fd)), errno.ENOENT, f'{what}: a name')


def make(name, kind):
    path = f'{HERE}/{name}'
    if kind == 'dir':
        os.mkdir(path)
    elif kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'link':
        os.symlink('nowhere', path)
    else:
        with open(path, 'w') as f:
            f.write('some text')
    os.chown(path, 54321, 54400, follow_symlinks=False)
    if kind != 'link':
        os.chmod(path, 0o751)
    return path


MODES = {'dir': stat.S_IFDIR | 0o751, 'fifo': stat.S_IFIFO | 0o751, 'file': stat.S_IFREG | 0o751,
         'link': stat.S_IFLNK | 0o777}


def node_forgets(name):
    """The other mount holds the same by name only: it hears when the node has it no more."""
    fd = os.open(f'{THERE}/{name}', os.O_PATH | os.O_NOFOLLOW)
    return fd, lambda: code(lambda: os.fstat(fd)) == errno.ESTALE


def check_removed_here():
    for kind, mode in MODES.items():
        path = make(kind, kind)
        witness, gone = node_forgets(kind)
        held = [os.open(path, os.O_PATH | os.O_NOFOLLOW)]
        if kind == 'dir':
            held.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        if kind == 'fifo':
            held.append(os.open(path, os.O_RDWR))
        (os.rmdir if kind == 'dir' else os.unlink)(path)
        for fd in held:
            is_alive(fd, mode, f'{kind}, just removed')
        soon(gone, f'the node forgets the {kind}')
        for fd in held:
            is_alive(fd, mode, f'{kind}, removed')
        if kind == 'dir':
            is_empty(held[1], 'removed')
        if kind == 'fifo':
            os.write(held[1], b'still a pipe')
            same(os.read(held[1], 20), b'still a pipe', 'through the pipe')
        # ESTALE of the witness is the proof that the node has it no more
        for fd in held + [witness]:
            os.close(fd)


def check_replaced_here():
    for kind in ('file', 'dir'):
        path, new = make(kind, kind), make('new', kind)
        _, gone = witness = node_forgets(kind)
        fd = os.open(path, os.O_PATH)
        os.rename(new, path)
        soon(gone, f'the node forgets the {kind}')
        is_alive(fd, MODES[kind], f'{kind}, replaced')
        same(os.stat(path).st_ino != os.fstat(fd).st_ino, True, 'another inode')
        os.close(fd)
        os.close(witness[0])
        (os.rmdir if kind == 'dir' else os.unlink)(path)


def check_folder_of_a_process():
    path = make('here', 'dir')
    _, gone = witness = node_forgets('here')
    back = os.open('.', os.O_PATH)
    os.chdir(path)
    os.rmdir(path)
    soon(gone, 'the node forgets the folder')
    same(os.stat('.').st_nlink, 0, 'links of the working folder')
    same(os.listdir('.'), [], 'names in the working folder')
    same(code(os.getcwd), errno.ENOENT, 'name of the working folder')
    same(code(lambda: os.mkdir('sub')), errno.ENOENT, 'mkdir in it')
    os.fchdir(back)
    os.close(back)
    os.close(witness[0])


def check_removed_there():
    path = make('shared', 'dir')
    same(os.path.isdir(f'{THERE}/shared'), True, 'shared')
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    name = os.open(path, os.O_PATH)
    os.rmdir(f'{THERE}/shared')
    soon(lambda: os.fstat(fd).st_nlink == 0, 'the removal is seen')
    is_alive(fd, MODES['dir'], 'removed there')
    same(os.listdir(fd), [], 'removed there: names')
    same(code(lambda: os.stat('none', dir_fd=fd)) in (errno.ENOENT, errno.ESTALE), True,
         'removed there: a name')
    # the same inode: while it is open, the bare name is kept as well
    is_alive(name, MODES['dir'], 'removed there, by name')
    os.close(fd)
    soon(lambda: code(lambda: os.fstat(name)) == errno.ESTALE, 'by name only: not any more')
    os.close(name)


def main():
    os.umask(0o022)
    for name, check in list(globals().items()):
        if name.startswith('check_'):
            check()


if __name__ == '__main__':
    main()
