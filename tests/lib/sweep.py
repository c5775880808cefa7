# SPDX-License-Identifier: Apache-2.0
"""Fault tier: let each numbered fault point of a program fail, one per run.

PW_FAULT=count makes the program print "fault points: N" on stderr when it ends; PW_FAULT=K makes
the Kth point fail. A program of the suite fault-sweep returns 0 when it lived through the fault,
also when the operation under test failed cleanly.
"""

import concurrent.futures
import os
import random
import re
import tempfile
import time

import builds
import proc

# for all programs of the tier together; a program gets its share
BUDGET_S = float(os.environ.get('PW_FAULT_BUDGET') or 60)
MIN_POINTS = 20
# True: anything but 0 is a failure (the contract above).
# False: only a signal, a sanitizer's report or a run that does not end.
STRICT = True


def failed(rc):
    if rc < 0 or rc == builds.SANITIZER_EXIT:
        return True
    return STRICT and rc != 0


def run(test, t):
    env = builds.test_env()
    env.update(t.get('env') or {})
    limit = max(20, t['timeout'])
    log = test.log_path()

    env['PW_FAULT'] = 'count'
    start = time.monotonic()
    rc = proc.run(t['cmd'], log, env=env, cwd=t['workdir'], timeout=limit)
    once_s = time.monotonic() - start
    if rc != 0:
        return 'FAIL', f'PW_FAULT=count: {proc.describe(rc)}'
    with open(log, errors='replace') as f:
        found = re.findall(r'^fault points: (\d+)', f.read(), re.M)
    if not found:
        return 'FAIL', 'it did not print "fault points: N"'
    total = int(found[-1])
    if total == 0:
        return 'FAIL', 'it passed no fault point'

    share = share_s()
    points = sample(total, once_s, share)
    bad = []
    # no program may eat the time of the others when its faulted runs are slow: it ends early, and
    # because the order is mixed, what it has done by then is still a sample of everything
    random.Random(1).shuffle(points)
    begin = time.monotonic()
    stop = begin + share
    done = 0
    with tempfile.TemporaryDirectory() as tmp, \
            concurrent.futures.ThreadPoolExecutor(builds.JOBS) as pool:
        def one(k):
            if time.monotonic() > stop and done >= MIN_POINTS:
                return k, None, ''
            mine = dict(env, PW_FAULT=str(k))
            path = os.path.join(tmp, str(k))
            rc = proc.run(t['cmd'], path, env=mine, cwd=t['workdir'], timeout=limit)
            if not failed(rc):
                os.unlink(path)
                return k, rc, ''
            with open(path, errors='replace') as f:
                return k, rc, f.read()

        for k, rc, text in pool.map(one, points):
            done += rc is not None
            if rc is not None and failed(rc):
                bad.append((k, f'PW_FAULT={k}: {proc.describe(rc)}'))
                with open(log, 'a') as f:
                    f.write(f'\n=== PW_FAULT={k}: {proc.describe(rc)}\n{text[-20000:]}')
    spend(time.monotonic() - begin)
    note = f'{done} of {total} fault points'
    if done < total:
        note += ' (a sample, for time: PW_FAULT_BUDGET=SECONDS asks for more)'
    if bad:
        note += '\n' + '\n'.join(text for _, text in sorted(bad)[:10])
        if len(bad) > 10:
            note += f'\nand {len(bad) - 10} more'
        return 'FAIL', note
    return 'PASS', note


_spent_s = 0.0
_programs_done = 0


def share_s():
    """What is left of the budget, for each program that is still to come."""
    programs = sum('fault-sweep' in t['suites'] for t in builds.asan.tests().values())
    return max(0.0, BUDGET_S - _spent_s) / max(1, programs - _programs_done)


def spend(seconds):
    global _spent_s, _programs_done
    _spent_s += seconds
    _programs_done += 1


def sample(total, once_s, share):
    """All points, or an even sample of them with the first and the last one."""
    room = int(share * builds.JOBS / max(once_s, 0.005))
    n = max(MIN_POINTS, room)
    if n >= total:
        return list(range(1, total + 1))
    return sorted({1 + round(i * (total - 1) / (n - 1)) for i in range(n)})
