# SPDX-License-Identifier: Apache-2.0
"""Host tests: shell scripts with real mounts, one after the other, as root.

After each one nothing of it may be left: no process, no mount, no changed ring switch. Processes
of a test are known by a mark in their environment, mounts by the test's own folder, so that
nothing of anybody else is ever touched.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import builds
import proc

DEFAULT_TIMEOUT = 120
# limits are for a machine of one's own, and the guest of the tier vm may run beside
BESIDE = 2
GRACE_S = 2.0
# of each log of a test that failed
LAST_LINES = 8
# emulated CPUs are slow: limits are multiplied by this, and what functions.sh waits for is too
TIME_FACTOR = int(os.environ.get('PW_TIME_FACTOR') or 1)
TIME_FACTOR_TCG = 5
RING = '/sys/module/fuse/parameters/enable_uring'

_machine_lock = None


def scripts():
    folder = os.path.join(builds.ROOT, 'tests/host')
    if not os.path.isdir(folder):
        return []
    return [(n, os.path.join(folder, n)) for n in sorted(os.listdir(folder))
            if n.endswith('.sh') and os.access(os.path.join(folder, n), os.X_OK)]


def run(test, path, verdict, more_env=None):
    if os.geteuid() != 0:
        return 'SKIP', 'needs root'
    _lock_machine()
    tmp = os.path.realpath(tempfile.mkdtemp(prefix='pw-'))
    value = uuid.uuid4().hex
    env = builds.test_env()
    env.update(PW_BUILD=builds.release.dir, PW_BUILD_ASAN=builds.asan.dir, TMPDIR=tmp,
               PW_TEST_MARK=value, **(more_env or {}))
    ring = _read(RING)
    rc = proc.run([path], test.log_path(), env=env, cwd=tmp,
                  timeout=timeout_s(path) * TIME_FACTOR * BESIDE)
    status, note = verdict(rc)
    left = _leftovers(tmp, 'PW_TEST_MARK=' + value)
    if ring is not None and _read(RING) != ring:
        left.append(f'{RING} was {ring} before, is {_read(RING)}')
        _write(RING, ring)
    if left:
        note = '\n'.join(filter(None, [note] + ['left over: ' + x for x in left]))
        status = 'FAIL'
    if status == 'FAIL':
        note = '\n'.join([note] + _keep_logs(tmp, test.log_path().removesuffix('.log')))
    if not _mounts(tmp):
        shutil.rmtree(tmp, ignore_errors=True)
    return status, note


def _lock_machine():
    """Host tests turn machine-wide switches: one runner at a time."""
    global _machine_lock
    if _machine_lock:
        return
    _machine_lock = open('/run/lock/pagewire-host-tests', 'w')
    try:
        fcntl.flock(_machine_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('waiting for the host tests of another tree', file=sys.stderr, flush=True)
        fcntl.flock(_machine_lock, fcntl.LOCK_EX)


def timeout_s(path):
    """The limit of a script on a machine of its own."""
    with open(path, errors='replace') as f:
        m = re.search(r'^# timeout: (\d+)', f.read(), re.M)
    return int(m.group(1)) if m else DEFAULT_TIMEOUT


def wants_debug(path):
    """Whether a script is for another kernel than the guest's, so that it skips there."""
    with open(path, errors='replace') as f:
        return re.search(r'^# kernel: debug$', f.read(), re.M) is not None


def _leftovers(tmp, mark):
    end = time.monotonic() + GRACE_S * TIME_FACTOR
    while time.monotonic() < end and (proc.with_mark(mark) or _mounts(tmp)):
        time.sleep(0.05)
    left = []
    procs = proc.with_mark(mark)
    mounts = _mounts(tmp)
    for pid, start, cmd in procs:
        left.append(f'process {pid}: {cmd[:120]}')
        proc.end(pid, start)
    # children that were started meanwhile
    for pid, start, _ in proc.with_mark(mark):
        proc.end(pid, start)
    for point, fstype in reversed(mounts):
        left.append(f'mount {fstype} {point}')
        subprocess.run(['umount', '-l', '-i', point], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30)
    return left


def _mounts(tmp):
    """[(mount point, type)] in the test's folder. Reads the kernel's list, touches no mount."""
    out = []
    with open('/proc/self/mountinfo') as f:
        for line in f:
            a, b = line.split(' - ', 1)
            point = re.sub(r'\\([0-7]{3})', lambda m: chr(int(m.group(1), 8)), a.split()[4])
            if point == tmp or point.startswith(tmp + '/'):
                out.append((point, b.split()[0]))
    return out


def _keep_logs(tmp, to):
    """Keeps logs and configurations that the test wrote at the top of its folder. Returns the end
    of each log: what a node or a mount said before a test hung."""
    said = []
    if _mounts(tmp):
        return said
    os.makedirs(to, exist_ok=True)
    for n in sorted(os.listdir(tmp)):
        p = os.path.join(tmp, n)
        if os.path.isfile(p) and os.path.getsize(p) < 16 << 20 and re.search(
                r'\.(log|ini|json|txt)$', n):
            shutil.copy(p, to)
            if n.endswith('.log'):
                with open(p, errors='replace') as f:
                    said += [f'{n}: {line.rstrip()}' for line in f.readlines()[-LAST_LINES:]]
    return said


def _read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return None


def _write(path, value):
    try:
        with open(path, 'w') as f:
            f.write(value)
    except OSError:
        pass
