#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random namespace operations on a mount and on a folder of this machine, side by side.

    treecheck.py [--seed N] [--steps N] MOUNT-FOLDER REFERENCE-FOLDER

Both folders have to be empty. Each operation must end with the same errno on both, what it leaves
must look the same at once, and the trees are compared name by name at the end.
"""

import argparse
import errno
import os
import random
import stat
import sys

NAMES = [f'n{i}' for i in range(9)] + ['a' * 255, 'with blank', '\u00e4\u20ac\U0001f600', '.hidden']
SPECIAL = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR)


class Differs(Exception):
    pass


def attributes(st):
    """What two filesystems must agree on; of directories tmpfs counts the size its own way."""
    a = {'type': stat.S_IFMT(st.st_mode), 'mode': stat.S_IMODE(st.st_mode),
         'nlink': st.st_nlink, 'uid': st.st_uid, 'gid': st.st_gid}
    if not stat.S_ISDIR(st.st_mode):
        a['size'] = st.st_size
    if stat.S_ISCHR(st.st_mode):
        a['rdev'] = st.st_rdev
    return a


class Checker:
    def __init__(self, mount, reference, seed):
        self.roots = (mount, reference)
        self.r = random.Random(seed)
        self.dirs = ['']
        self.trail = []
        self.open = []  # (files of both sides, what was written there)
        self.counts = {}

    # -- choosing --------------------------------------------------------------------------

    def a_dir(self):
        return self.r.choice(self.dirs)

    def a_path(self):
        return os.path.join(self.a_dir(), self.r.choice(NAMES))

    # -- both sides ------------------------------------------------------------------------

    def both(self, what, action):
        """action(root) on either side; the same errno or the same value must come of it."""
        out = []
        for root in self.roots:
            try:
                out.append((0, action(root)))
            except OSError as e:
                out.append((e.errno, None))
        self.trail.append(f'{what}: {errno.errorcode.get(out[1][0], "ok")}')
        if out[0] != out[1]:
            raise Differs(f'{what}: the mount says {out[0]}, the reference {out[1]}')
        key = (what.split()[0], out[0][0])
        self.counts[key] = self.counts.get(key, 0) + 1
        return out[0][0] == 0

    def look(self, path):
        def action(root):
            p = os.path.join(root, path)
            st = os.lstat(p)
            target = os.readlink(p) if stat.S_ISLNK(st.st_mode) else None
            return attributes(st), target
        self.both(f'look {path[-40:]}', action)

    # -- operations ------------------------------------------------------------------------

    def do_create(self):
        path, flags = self.a_path(), os.O_CREAT | os.O_WRONLY
        flags |= self.r.choice((0, os.O_EXCL, os.O_TRUNC))
        mode = self.r.choice((0o600, 0o644, 0o4755, 0))
        data = self.r.randbytes(self.r.randrange(9000))

        def action(root):
            p = os.path.join(root, path)
            if os.path.exists(p) and stat.S_IFMT(os.stat(p).st_mode) in SPECIAL:
                return
            fd = os.open(p, flags, mode)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        self.both(f'create {path[-40:]} {flags:o} {mode:o}', action)
        self.look(path)

    def do_mkdir(self):
        path, mode = self.a_path(), self.r.choice((0o755, 0o700, 0o1777, 0o2755))
        if self.both(f'mkdir {path[-40:]}', lambda root: os.mkdir(os.path.join(root, path), mode)):
            if path.count('/') < 6:
                self.dirs.append(path)
        self.look(path)
        self.look(os.path.dirname(path) or '.')

    def do_unlink(self):
        path = self.a_path()
        self.both(f'unlink {path[-40:]}', lambda root: os.unlink(os.path.join(root, path)))
        self.look(path)

    def do_rmdir(self):
        path = self.a_dir() if self.r.random() < .3 else self.a_path()
        if not path:
            return
        if self.both(f'rmdir {path[-40:]}', lambda root: os.rmdir(os.path.join(root, path))):
            if path in self.dirs:
                self.dirs.remove(path)
        self.look(os.path.dirname(path) or '.')

    def do_rename(self):
        old = self.a_dir() if self.r.random() < .2 else self.a_path()
        new = self.a_path()
        if not old:
            return

        def action(root):
            os.rename(os.path.join(root, old), os.path.join(root, new))
        if self.both(f'rename {old[-40:]} {new[-40:]}', action) and old != new:
            prefix = old + '/'
            self.dirs = [d for d in self.dirs if d != new]
            self.dirs = [new + d[len(old):] if d == old or d.startswith(prefix) else d
                         for d in self.dirs]
        for p in (old, new, os.path.dirname(old) or '.', os.path.dirname(new) or '.'):
            self.look(p)

    def do_link(self):
        old, new = self.a_path(), self.a_path()
        self.both(f'link {old[-40:]} {new[-40:]}',
                  lambda root: os.link(os.path.join(root, old), os.path.join(root, new),
                                       follow_symlinks=False))
        self.look(old)
        self.look(new)

    def do_symlink(self):
        target = self.r.choice(NAMES) if self.r.random() < .7 else 'x/' * self.r.randrange(1, 2000)
        path = self.a_path()
        self.both(f'symlink {target[-20:]} {path[-40:]}',
                  lambda root: os.symlink(target, os.path.join(root, path)))
        self.look(path)

    def do_mknod(self):
        path, kind = self.a_path(), self.r.choice(SPECIAL)
        self.both(f'mknod {path[-40:]}',
                  lambda root: os.mknod(os.path.join(root, path), kind | 0o640, os.makedev(1, 3)))
        self.look(path)

    def do_chmod(self):
        path, mode = self.a_path(), self.r.randrange(0o10000)

        def action(root):
            p = os.path.join(root, path)
            if stat.S_ISLNK(os.lstat(p).st_mode):
                return
            os.chmod(p, mode)
        self.both(f'chmod {path[-40:]} {mode:o}', action)
        self.look(path)

    def do_chown(self):
        # not -1 twice: the FUSE protocol has no word for that, and set-id bits stay
        path, uid, gid = self.a_path(), self.r.choice((0, 1000)), self.r.choice((-1, 0, 1001))
        self.both(f'chown {path[-40:]} {uid} {gid}',
                  lambda root: os.chown(os.path.join(root, path), uid, gid, follow_symlinks=False))
        self.look(path)

    def do_utime(self):
        path, ns = self.a_path(), (self.r.randrange(1 << 61), self.r.randrange(1 << 61))

        def action(root):
            p = os.path.join(root, path)
            os.utime(p, ns=ns, follow_symlinks=False)
            st = os.lstat(p)
            return st.st_atime_ns, st.st_mtime_ns
        self.both(f'utime {path[-40:]} {ns}', action)

    def do_truncate(self):
        path, size = self.a_path(), self.r.randrange(20000)

        def action(root):
            p = os.path.join(root, path)
            if not stat.S_ISREG(os.lstat(p).st_mode):
                return
            os.truncate(p, size)
        self.both(f'truncate {path[-40:]} {size}', action)
        self.look(path)

    def do_read(self):
        path = self.a_path()

        def action(root):
            p = os.path.join(root, path)
            if not stat.S_ISREG(os.lstat(p).st_mode):
                return None
            with open(p, 'rb') as f:
                return f.read()
        self.both(f'read {path[-40:]}', action)

    def do_list(self):
        path = self.a_dir()
        self.both(f'list {path[-40:]}',
                  lambda root: sorted(os.listdir(os.path.join(root, path))))

    def do_hold(self):
        """Keep a file open, whatever happens to its name; look at it and let go later."""
        if len(self.open) >= 8:
            self._let_go(self.r.randrange(len(self.open)))
        path, files = self.a_path(), []

        def action(root):
            p = os.path.join(root, path)
            if not stat.S_ISREG(os.lstat(p).st_mode):
                return
            files.append(os.open(p, os.O_RDWR))
        self.both(f'hold {path[-40:]}', action)
        if len(files) == 2:
            self.open.append((path, files))

    def _let_go(self, i):
        path, files = self.open.pop(i)
        pair = dict(zip(self.roots, files))

        def action(root):
            fd = pair[root]
            st = os.fstat(fd)
            os.pwrite(fd, b'late', 100)
            data = os.pread(fd, 1 << 20, 0)
            os.close(fd)
            return attributes(st), data
        self.both(f'let-go {path[-40:]}', action)

    # -- the run ---------------------------------------------------------------------------

    def run(self, steps):
        ops = [(self.do_create, 22), (self.do_mkdir, 9), (self.do_unlink, 12), (self.do_rmdir, 5),
               (self.do_rename, 14), (self.do_link, 8), (self.do_symlink, 5), (self.do_mknod, 2),
               (self.do_chmod, 4), (self.do_chown, 3), (self.do_utime, 3), (self.do_truncate, 6),
               (self.do_read, 6), (self.do_list, 4), (self.do_hold, 4)]
        calls, weights = zip(*ops)
        for _ in range(steps):
            self.r.choices(calls, weights)[0]()
        while self.open:
            self._let_go(0)
        same_trees(*self.roots)


def walk(root):
    """path -> everything that can be seen of it"""
    seen = {}
    ids = {}
    for folder, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(dirs + files):
            p = os.path.join(folder, name)
            st = os.lstat(p)
            rel = os.path.relpath(p, root)
            a = attributes(st)
            # which names belong to one file
            a['first'] = ids.setdefault(st.st_ino, rel)
            if stat.S_ISLNK(st.st_mode):
                a['target'] = os.readlink(p)
            elif stat.S_ISREG(st.st_mode):
                with open(p, 'rb') as f:
                    a['data'] = f.read()
            seen[rel] = a
    return seen


def same_trees(mount, reference):
    a, b = walk(mount), walk(reference)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            raise Differs(f'{name}: the mount has {str(a.get(name))[:300]}, '
                          f'the reference {str(b.get(name))[:300]}')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--steps', type=int, default=1000)
    p.add_argument('--compare', action='store_true', help='compare only')
    p.add_argument('mount')
    p.add_argument('reference')
    a = p.parse_args()
    if a.compare:
        same_trees(a.mount, a.reference)
        return 0
    os.umask(0o022)
    c = Checker(a.mount, a.reference, a.seed)
    try:
        c.run(a.steps)
    except Differs as e:
        print(f'treecheck: seed {a.seed}, step {len(c.trail)}: {e}', file=sys.stderr)
        for line in c.trail[-25:]:
            print('  ' + line, file=sys.stderr)
        return 1
    ok = sum(n for (_, e), n in c.counts.items() if e == 0)
    print(f'treecheck: {ok} operations succeeded, {sum(c.counts.values()) - ok} failed alike')
    return 0


if __name__ == '__main__':
    sys.exit(main())
