# SPDX-License-Identifier: Apache-2.0
"""The build directories that the tests run from: build-tests/{release,asan,tsan,fuzz}."""

import glob
import json
import os
import shutil
import subprocess
import threading
import time

import proc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOP = os.environ.get('PW_TEST_BUILDS') or os.path.join(ROOT, 'build-tests')
LOGS = os.path.join(TOP, 'logs')
JOBS = len(os.sched_getaffinity(0))
SETUP_LIMIT = 300
COMPILE_LIMIT = 1800

# what a program ends with when a sanitizer found something
SANITIZER_EXIT = 99

_made = []


class Build:
    def __init__(self, name, options, cc=None):
        self.name = name
        self.options = options
        self.cc = cc
        self.dir = os.path.join(TOP, name)
        self.log = os.path.join(LOGS, 'build', name + '.log')
        self.ok = True
        self.compiled = False
        self.seconds = 0.0
        self._tests = None
        # held by who compiles
        self.lock = threading.Lock()

    def _env(self):
        env = dict(os.environ)
        for k in ('CFLAGS', 'LDFLAGS', 'CPPFLAGS', 'DESTDIR'):
            env.pop(k, None)
        env['CC'] = self.cc or os.environ.get('CC') or 'gcc'
        if shutil.which('ccache') and not env['CC'].startswith('ccache '):
            env['CC'] = 'ccache ' + env['CC']
            # an object serves every clone; its debug information names the one it is from
            env.setdefault('CCACHE_NOHASHDIR', '1')
        return env

    def _run(self, cmd, limit):
        start = time.monotonic()
        rc = proc.run(cmd, self.log, env=self._env(), cwd=ROOT, timeout=limit, append=True)
        self.seconds += time.monotonic() - start
        return rc == 0

    def _setup(self):
        os.makedirs(os.path.dirname(self.log), exist_ok=True)
        open(self.log, 'w').close()
        _made.append(self)
        wanted = json.dumps([self.options, self._env()['CC']])
        stamp = os.path.join(self.dir, 'pw-options')
        usable = os.path.exists(os.path.join(self.dir, 'build.ninja'))
        if usable:
            try:
                with open(stamp) as f:
                    usable = f.read() == wanted
            except OSError:
                usable = False
        if not usable:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.ok = self._run(['meson', 'setup', self.dir, ROOT] + self.options, SETUP_LIMIT)
        else:
            # files may have come or gone since
            self.ok = self._run(['meson', 'setup', '--reconfigure', self.dir, ROOT], SETUP_LIMIT)
        if self.ok:
            with open(stamp, 'w') as f:
                f.write(wanted)

    def tests(self):
        """name -> {cmd, env, timeout, workdir, suites, parallel}; configures when needed."""
        if self._tests is not None:
            return self._tests
        self._tests = {}
        self._setup()
        if not self.ok:
            return self._tests
        r = subprocess.run(['meson', 'introspect', '--tests', self.dir], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, env=self._env())
        if r.returncode != 0:
            self.ok = False
            with open(self.log, 'a') as f:
                f.write(r.stderr + r.stdout)
            return self._tests
        for t in json.loads(r.stdout):
            self._tests[t['name']] = {
                'cmd': t['cmd'],
                'env': t.get('env'),
                'timeout': t.get('timeout') or 30,
                'workdir': t.get('workdir'),
                'parallel': t.get('is_parallel', True),
                'suites': {s.split(':')[-1] for s in t.get('suite', [])},
            }
        return self._tests

    def compile(self):
        self.tests()
        if not self.ok or self.compiled:
            return
        self.compiled = True
        before = self.seconds
        self.ok = self._run(['ninja', '-C', self.dir, '-j', str(JOBS)], COMPILE_LIMIT)
        print(f'built {self.name} ({self.seconds - before:.1f})', flush=True)

    def possible(self):
        return True


class FuzzBuild(Build):
    """libFuzzer needs clang and its runtime library; without them the asan build replays files."""

    def possible(self):
        return bool(shutil.which(self.cc)) and bool(
            glob.glob('/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a') or
            glob.glob('/usr/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a'))


def made():
    """The builds that were configured in this run."""
    return _made


def test_env():
    """Environment of every test: sanitizers end a program with one known code."""
    env = dict(os.environ)
    for k in ('PW_FAULT', 'MALLOC_PERTURB_', 'LD_PRELOAD'):
        env.pop(k, None)
    env['LC_ALL'] = 'C.UTF-8'
    code = f'exitcode={SANITIZER_EXIT}'
    env['ASAN_OPTIONS'] = f'{code}:detect_leaks=1:detect_stack_use_after_return=1:' \
                          'strict_string_checks=1:allocator_may_return_null=1'
    env['UBSAN_OPTIONS'] = f'{code}:halt_on_error=1:print_stacktrace=1'
    env['TSAN_OPTIONS'] = f'{code}:halt_on_error=1:second_deadlock_stack=1'
    env['PW_SOURCE'] = ROOT
    return env


def no_aslr():
    """TSan does not know the address layouts of newer kernels: run without randomization."""
    cmd = ['setarch', os.uname().machine, '-R']
    if not shutil.which('setarch'):
        return []
    r = subprocess.run(cmd + ['true'], stdin=subprocess.DEVNULL, capture_output=True)
    return cmd if r.returncode == 0 else []


_SANITIZE = ['-Db_lundef=false', '-Doptimization=1', '-Dfault=true']

release = Build('release', ['--buildtype=debugoptimized', '-Dstrict=true'])
asan = Build('asan', ['--buildtype=debugoptimized', '-Db_sanitize=address,undefined'] + _SANITIZE)
tsan = Build('tsan', ['--buildtype=debugoptimized', '-Db_sanitize=thread'] + _SANITIZE)
fuzz = FuzzBuild('fuzz', ['--buildtype=debugoptimized', '-Db_sanitize=address,undefined',
                          '-Db_lundef=false', '-Doptimization=1', '-Dfuzz=true'], cc='clang')
