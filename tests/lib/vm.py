# SPDX-License-Identifier: Apache-2.0
"""Tests in a virtual machine: our kernel, this machine's files, one boot for all tests.

The guest runs tests/vm/lib/guest.py, which runs the tests one after the other, as the host tier
does, and adds a line to a file for each one that is over. A guest that ends too early costs the
test that it was running; the next test boots again.
"""

import atexit
import fnmatch
import json
import os
import subprocess
import time

import builds
import host
import proc

HERE = os.path.join(builds.ROOT, 'tests/vm')
SHARE = os.path.join(builds.LOGS, 'vm')
KERNEL_LIMIT = 3600
BOOT_S = 120
# where a test that lasts has its limit, no matter how many there are
GUEST_LIMIT = 3600
MAX_BOOTS = 4
# the host tests that meet the kernel most; all of them would take too long on emulated CPUs
HOST_TESTS = ('data-append.sh', 'data-copies.sh', 'names-tree.sh')
MEMORY = '4G'
DISK = '16G'

_image = None
_plan = []
_guests = []


def scripts():
    """[(name, path)]: tests/vm/*.sh, then the host tests that the guest runs too."""
    if not os.path.isdir(HERE):
        return []
    own = [(n, os.path.join(HERE, n)) for n in sorted(os.listdir(HERE))
           if n.endswith('.sh') and os.access(os.path.join(HERE, n), os.X_OK)]
    return own + [('host-' + n, p) for n, p in host.scripts()
                  if any(fnmatch.fnmatchcase(n, h) for h in HOST_TESTS)]


def possible():
    return os.uname().machine == 'x86_64'


def plan(names):
    """The tests of this run, in their order: what a guest is given to do."""
    paths = dict(scripts())
    _plan[:] = [(n, paths[n]) for n in names if n in paths]


def run_kernel(test, verdict):
    """The test 'kernel': kernel/build makes an image, or has one; PW_VM_KERNEL names another."""
    global _image
    if not possible():
        return 'SKIP', 'only x86-64 has a kernel configuration'
    if os.environ.get('PW_VM_KERNEL'):
        _image = os.environ['PW_VM_KERNEL']
        return 'SKIP', 'PW_VM_KERNEL names another kernel'
    log = test.log_path()
    with open(log, 'wb') as err:
        p = subprocess.Popen([os.path.join(builds.ROOT, 'kernel/build')], stdout=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, stderr=err, start_new_session=True)
        try:
            out, _ = p.communicate(timeout=KERNEL_LIMIT)
        except subprocess.TimeoutExpired:
            proc.end_group(p)
            return 'FAIL', proc.describe(proc.TIMED_OUT)
    if p.returncode == 0:
        _image = out.decode().strip().splitlines()[-1]
    return verdict(p.returncode)


def run(test, verdict):
    """One script of the plan, in the guest that runs now or in a new one."""
    if not possible():
        return 'SKIP', 'only x86-64 has a kernel configuration'
    if not _image:
        _, note = run_kernel(test, verdict)
        if not _image:
            return 'FAIL', f'no kernel: {note}'
    guest = _guests[-1] if _guests else None
    if guest is None or (guest.ended() and test.name not in guest.results()):
        if len(_guests) == MAX_BOOTS:
            return 'FAIL', f'{MAX_BOOTS} guests ended before their time: no further one'
        at = [n for n, _ in _plan].index(test.name)
        guest = Guest(_plan[at:], len(_guests))
        _guests.append(guest)
    r = guest.wait_for(test.name)
    if r is None:
        return 'FAIL', f'the guest ended: {guest.how_it_ended()}'
    if r['status'] == 'SKIP' and os.environ.get('CI') == 'true':
        return 'FAIL', 'skipped, but the guest has all that a test can want\n' + r['note']
    return r['status'], r['note']


def run_end(test):
    """The last test, 'guest': each guest ended by itself, and its kernel never complained."""
    if not _guests:
        return 'SKIP', 'no guest ran'
    bad = []
    for g in _guests:
        if g.wait() != 0:
            bad.append(g.how_it_ended())
    with open(test.log_path(), 'w') as f:
        for g in _guests:
            f.write(g.output())
    return ('FAIL', '\n'.join(bad)) if bad else ('PASS', '')


class Guest:
    def __init__(self, scripts, number):
        os.makedirs(SHARE, exist_ok=True)
        self.folder = os.path.join(SHARE, f'guest-{number}')
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, 'output')
        self._results = os.path.join(self.folder, 'results')
        limit = BOOT_S + host.TIME_FACTOR_TCG * sum(host.timeout_s(p) for _, p in scripts)
        with open(os.path.join(self.folder, 'plan'), 'w') as f:
            json.dump(scripts, f)
        guest = os.path.join(HERE, 'lib/guest.py')
        env = builds.test_env()
        cmd = [os.path.join(HERE, 'run'), '--kernel', _image, '--mem', MEMORY, '--disk', DISK,
               '--timeout', str(min(limit, GUEST_LIMIT)), '--share', SHARE,
               '--console', os.path.join(self.folder, 'console'),
               f"PW_TEST_BUILDS='{builds.TOP}' /usr/bin/python3 '{guest}' '{self.folder}'"]
        with open(self.log, 'wb') as out:
            self.process = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=env, cwd=builds.ROOT,
                                            start_new_session=True)
        atexit.register(proc.end_group, self.process)

    def ended(self):
        return self.process.poll() is not None

    def wait(self):
        return self.process.wait()

    def results(self):
        try:
            with open(self._results) as f:
                lines = f.read().split('\n')[:-1]
        except OSError:
            return {}
        return {r['name']: r for r in map(json.loads, lines)}

    def wait_for(self, name):
        while True:
            ended = self.ended()
            r = self.results().get(name)
            if r is not None or ended:
                return r
            time.sleep(0.1)

    def output(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def how_it_ended(self):
        return proc.describe(self.wait()) + '\n' + '\n'.join(self.output().splitlines()[-40:])
