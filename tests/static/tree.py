# SPDX-License-Identifier: Apache-2.0
"""What the static checks share: the files of the tree, suppressions, a cache of results."""

import concurrent.futures
import contextlib
import fnmatch
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = int(os.environ.get('PW_JOBS') or len(os.sched_getaffinity(0)))
CACHE = os.environ.get('PW_CACHE') or os.path.join(ROOT, 'build-tests', 'cache')
# results by content, for all clones of this user
RESULTS = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'),
                       'pagewire', 'static')
FORGET_S = 30 * 24 * 3600
BUILD = os.environ.get('PW_BUILD') or os.path.join(ROOT, 'build-tests', 'release')
SKIP = 77

# code that came from elsewhere under its own licence and form: path pattern -> reason
FOREIGN = {
    'LICENSE': 'the licence text itself',
    'client_fs/fuse_uapi.h': "the kernel's own header, dual GPL-2.0 and BSD-2-Clause, unchanged",
    'kernel/*.patch': 'kernel patches follow the kernel',
    'kernel/*/*.patch': 'kernel patches follow the kernel',
}


def files(*patterns):
    """Paths of our files (relative to the root), tracked or not, that match a pattern."""
    r = subprocess.run(['git', '-c', 'safe.directory=*', '-C', ROOT, 'ls-files', '-z', '--cached',
                        '--others', '--exclude-standard'],
                       stdin=subprocess.DEVNULL, capture_output=True) \
        if shutil.which('git') else None
    if r is not None and r.returncode == 0:
        names = {n for n in os.fsdecode(r.stdout).split('\0') if n}
    else:  # a source archive
        names = set()
        for d, subdirs, found in os.walk(ROOT):
            subdirs[:] = [s for s in subdirs if s not in ('.git', '__pycache__') and
                          not (d == ROOT and s.startswith('build'))]
            names |= {os.path.relpath(os.path.join(d, n), ROOT) for n in found}
    out = []
    for n in sorted(names):
        p = os.path.join(ROOT, n)
        if not os.path.isfile(p) or os.path.islink(p):
            continue
        if any(fnmatch.fnmatch(n, f) for f in FOREIGN):
            continue
        if not patterns or any(fnmatch.fnmatch(os.path.basename(n), f) for f in patterns):
            out.append(n)
    return out


def read(name):
    """The text of a file; None when it is not text."""
    with open(os.path.join(ROOT, name), 'rb') as f:
        data = f.read()
    if b'\0' in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def first_line(name):
    with open(os.path.join(ROOT, name), 'rb') as f:
        return f.readline(200).decode(errors='replace')


def shell_scripts():
    out = []
    for n in files():
        if n.endswith('.sh'):
            out.append(n)
        elif '.' not in os.path.basename(n)[1:]:
            line = first_line(n)
            if line.startswith('#!') and any(w in line for w in ('/sh', '/bash', ' bash', ' sh')):
                out.append(n)
    return out


def python_scripts():
    return [n for n in files() if n.endswith('.py') or
            ('.' not in os.path.basename(n)[1:] and first_line(n).startswith('#!') and
             'python' in first_line(n))]


def finish(problems, what):
    """End the check: print each problem, or what was looked at."""
    for p in problems:
        print(p)
    if problems:
        print(f'{len(problems)} found')
        sys.exit(1)
    print(f'{what}: nothing found')
    sys.exit(0)


def skip(why):
    print(why)
    sys.exit(SKIP)


class Suppressions:
    """Lines 'PATH-PATTERN CHECK-PATTERN REASON...'; a line without a reason is an error."""

    def __init__(self, name):
        self.rules = []
        self.errors = []
        path = os.path.join(ROOT, 'tests/static', name)
        if not os.path.exists(path):
            return
        with open(path) as f:
            for i, line in enumerate(f, 1):
                if line.startswith('#') or not line.strip():
                    continue
                words = line.split(None, 2)
                if len(words) < 3:
                    self.errors.append(f'tests/static/{name}:{i}: no reason given')
                    continue
                self.rules.append([words[0], words[1], 0, i])
        self.name = name

    def match(self, path, check):
        for r in self.rules:
            if fnmatch.fnmatch(path, r[0]) and fnmatch.fnmatch(check, r[1]):
                r[2] += 1
                return True
        return False

    def unused(self):
        for path, check, used, line in self.rules:
            if not used:
                print(f'note: tests/static/{self.name}:{line} matched nothing: {path} {check}')


def compile_commands():
    """[(file, argv, directory)] of our C files, one per file, from the release build."""
    path = os.path.join(BUILD, 'compile_commands.json')
    if not os.path.exists(path):
        skip(f'no {path}: build first')
    with open(path) as f:
        entries = json.load(f)
    out = {}
    for e in entries:
        full = os.path.realpath(os.path.join(e['directory'], e['file']))
        name = os.path.relpath(full, os.path.realpath(ROOT))
        if name.startswith('..') or not name.endswith('.c'):
            continue
        argv = shlex.split(e['command'])
        if os.path.basename(argv[0]) == 'ccache':
            argv = argv[1:]
        out.setdefault(name, (name, argv, e['directory']))
    return [out[n] for n in sorted(out)]


def without_output(argv):
    """A compile command without its -o, -c, -M..., -Werror and the file itself."""
    out = []
    skip_next = False
    for a in argv[:-1]:
        if skip_next:
            skip_next = False
        elif a in ('-o', '-MF', '-MQ', '-MT'):
            skip_next = True
        elif a not in ('-c', '-MD', '-MMD') and not a.startswith('-Werror'):
            out.append(a)
    return out


def forget_old(kind):
    """What no run has asked for in a month."""
    folder = os.path.join(RESULTS, kind)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        # another run may have been here first
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_mtime < time.time() - FORGET_S:
                os.unlink(path)


def cached(kind, key_parts, produce):
    """produce() -> JSON value, kept by the hash of key_parts. It must not name this clone."""
    h = hashlib.sha256()
    for k in key_parts:
        k = k if isinstance(k, bytes) else k.encode()
        h.update(len(k).to_bytes(8, 'little') + k)
    path = os.path.join(RESULTS, kind, h.hexdigest())
    try:
        os.utime(path)
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        pass
    value = produce()
    if value is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        tmp = f'{path}.{os.getpid()}'
        with open(tmp, 'w') as f:
            json.dump(value, f)
        os.replace(tmp, path)
    return value


def preprocessed(argv, directory, source):
    """The whole input of the compiler, as the key of a cache: the same in every clone."""
    # -g puts the working directory in
    r = subprocess.run([a for a in argv if a != '-g'] + ['-E', source], cwd=directory,
                       stdin=subprocess.DEVNULL, capture_output=True)
    # of what cannot be compiled the messages are wanted, not the key: it is like no other
    return r.stdout if r.returncode == 0 else os.urandom(16)


def version(tool):
    return subprocess.run([tool, '--version'], stdin=subprocess.DEVNULL,
                          capture_output=True).stdout


def in_parallel(func, items):
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(func, items))
