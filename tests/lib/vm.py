# SPDX-License-Identifier: Apache-2.0
"""Tests in a virtual machine: our kernel, this machine's files, one boot for all tests.

The guest runs tests/vm/lib/guest.py, which runs the tests one after the other, as the host tier
does, and adds a line to a file for each one that is over. A guest that ends too early costs the
test that it was running; the next test boots again.
"""

import atexit
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
# host tests as they are: one host and TCP, but the FUSE ring of our kernel
HOST_TESTS = ('data-append.sh', 'data-copies.sh')
# All the others run between two hosts, with RDMA and nothing else between them (PW_HOSTS), as
# over-rdma-NAME. Not these:
NOT_OVER_RDMA = {
    'install-tree.sh': 'needs no node and no mount',
    'kernel-build.sh': 'needs no node and no mount',
    'vm-run.sh': 'needs no node and no mount',
    'cli-config.sh': 'needs no node and no mount',
    'cli-errors.sh': 'most of it happens before a connection; rdma-errors.sh has the rest',
    'cli-version.sh': 'plays a peer with TCP sockets; rdma-errors.sh has the same',
    'rails-failover.sh': 'makes two hosts of its own',
    'quickstart.sh': 'sets up this machine, on which there is no device',
    'quickstart-clone.sh': 'sets up this machine, on which there is no device',
}
# Which of them need a mount through /dev/fuse beside the one over the FUSE ring: where data lies is
# another matter there, and RDMA has to reach it. To the others it is only the same thing once more.
BOTH_PATHS = ('data-', 'two-mounts')
# Of these it is known that they are quick, scaled down as they are. The others are in the tier
# vm-long, a new one too until somebody has measured it there.
OVER_RDMA = ('away-node.sh', 'cli-hang.sh', 'cli-mount.sh', 'crash-client.sh', 'data-append.sh',
             'data-copies.sh', 'names-folder.sh', 'names-removed.sh', 'names-rights.sh',
             'names-setid.sh', 'names-tree.sh', 'node-restart.sh', 'programs-sqlite.sh',
             'programs-tools.sh', 'regions-gpu.sh', 'regions-io.sh', 'regions-python.sh',
             'rot-flip.sh', 'rot-index.sh', 'two-mounts.sh')
MEMORY = '4G'
DISK = '16G'

_image = None
# of each tier
_plan = {}
_guests = {}


def scripts(long=False):
    """[(name, path, environment)]: tests/vm/*.sh, then host tests; or those of the tier vm-long."""
    if not os.path.isdir(HERE):
        return []
    rdma = [('over-rdma-' + n, p, over_rdma(n)) for n, p in host.scripts()
            if n not in NOT_OVER_RDMA and (n in OVER_RDMA) != long]
    if long:
        return rdma
    own = [(n, os.path.join(HERE, n), {}) for n in sorted(os.listdir(HERE))
           if n.endswith('.sh') and os.access(os.path.join(HERE, n), os.X_OK)]
    return own + [('host-' + n, p, {}) for n, p in host.scripts() if n in HOST_TESTS] + rdma


def over_rdma(name):
    """The environment of a host test between two hosts."""
    env = {'PW_HOSTS': 'rxe'}
    if not name.startswith(BOTH_PATHS):
        env['PW_PATHS'] = 'ring'
    return env


def possible():
    return os.uname().machine == 'x86_64'


def plan(tier, names):
    """The tests of this run, in their order: what a guest is given to do."""
    known = {s[0]: s for s in scripts(tier == 'vm-long')}
    _plan[tier] = [known[n] for n in names if n in known]
    _guests[tier] = []


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
    todo, guests = _plan[test.tier], _guests[test.tier]
    guest = guests[-1] if guests else None
    if guest is None or (guest.ended() and test.name not in guest.results()):
        if len(guests) == MAX_BOOTS:
            return 'FAIL', f'{MAX_BOOTS} guests ended before their time: no further one'
        at = [s[0] for s in todo].index(test.name)
        guest = Guest(todo[at:], sum(len(g) for g in _guests.values()))
        guests.append(guest)
    r = guest.wait_for(test.name)
    if r is None:
        return 'FAIL', f'the guest ended: {guest.how_it_ended()}'
    path = next(s[1] for s in todo if s[0] == test.name)
    if r['status'] == 'SKIP' and os.environ.get('CI') == 'true' and not host.wants_debug(path):
        return 'FAIL', 'skipped, but the guest has all that a test can want\n' + r['note']
    return r['status'], r['note']


def run_end(test):
    """The last test, 'guest': each guest ended by itself, and its kernel never complained."""
    guests = _guests[test.tier]
    if not guests:
        return 'SKIP', 'no guest ran'
    bad = []
    for g in guests:
        if g.wait() != 0:
            bad.append(g.how_it_ended())
    with open(test.log_path(), 'w') as f:
        for g in guests:
            f.write(g.output())
    return ('FAIL', '\n'.join(bad)) if bad else ('PASS', '')


class Guest:
    def __init__(self, scripts, number):
        os.makedirs(SHARE, exist_ok=True)
        self.folder = os.path.join(SHARE, f'guest-{number}')
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, 'output')
        self._results = os.path.join(self.folder, 'results')
        limit = BOOT_S + host.TIME_FACTOR_TCG * sum(host.timeout_s(p) for _, p, _ in scripts)
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
