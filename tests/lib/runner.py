# SPDX-License-Identifier: Apache-2.0
"""Build pagewire in the ways its tests need, run the tests, print one line for each.

Started by tests/run. tests/README.md says how a test is registered and what a tier is.
"""

import argparse
import concurrent.futures
import fcntl
import fnmatch
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import builds  # noqa: E402
import host  # noqa: E402
import proc  # noqa: E402
import sweep  # noqa: E402
import vm  # noqa: E402

TIERS = ['unit', 'static', 'sim', 'fault', 'host', 'vm', 'vm-long']
SKIP_CODE = 77
# sanitizers and a machine shared with others: a test may take this many times its own limit
TIMEOUT_FACTOR = 4
STATIC_TIMEOUT = 900
TAIL_LINES = 40


def logs_of(tier):
    """vm and vm-long write into one folder: their guests are counted."""
    return os.path.join(builds.LOGS, tier.removesuffix('-long'))


class Test:
    """One line of the report. run(test) returns (status, note)."""

    def __init__(self, tier, name, run, needs=(), alone=False):
        self.tier = tier
        self.name = name
        self.run = run
        self.needs = needs
        self.alone = alone
        self.status = None

    @property
    def full_name(self):
        return f'{self.tier}/{self.name}'

    def log_path(self):
        return os.path.join(logs_of(self.tier), self.name + '.log')


class Report:
    def __init__(self):
        self.count = {'PASS': 0, 'FAIL': 0, 'SKIP': 0}
        self.ran = set()
        self.lock = threading.Lock()

    def add(self, tier, name, status, seconds, note='', log=None):
        with self.lock:
            self.count[status] += 1
            if status != 'SKIP':
                self.ran.add(tier)
            print(f'{status}  {tier}/{name}  ({seconds:.1f})', flush=True)
            for line in filter(None, note.splitlines()):
                print(f'      {line}')
            if status == 'FAIL' and log:
                self.tail(log)
            sys.stdout.flush()

    @staticmethod
    def tail(log):
        try:
            with open(log, errors='replace') as f:
                lines = f.read().splitlines()
        except OSError:
            return
        print(f'      last lines of {os.path.relpath(log, builds.ROOT)}:')
        for line in lines[-TAIL_LINES:]:
            print(f'      | {line[:400]}')


def run_program(test, t, first=(), extra=(), prefix=()):
    """Run one program of the build, as meson describes it; first and extra go around its words."""
    cmd = list(prefix) + t['cmd'][:1] + list(first) + t['cmd'][1:] + list(extra)
    full = builds.test_env()
    full.update(t.get('env') or {})
    limit = t['timeout'] * TIMEOUT_FACTOR if t['timeout'] > 0 else None
    rc = proc.run(cmd, test.log_path(), env=full, cwd=t.get('workdir'), timeout=limit)
    return verdict(rc)


def verdict(rc):
    if rc == 0:
        return 'PASS', ''
    if rc == SKIP_CODE:
        return 'SKIP', ''
    return 'FAIL', proc.describe(rc)


def skip_reason(test):
    """What a test said last before it skipped."""
    try:
        with open(test.log_path(), errors='replace') as f:
            lines = f.read().strip().splitlines()
        return lines[-1][:200] if lines else ''
    except OSError:
        return ''


def program_tests(tiers):
    """The tests that meson knows, each from the build that its suite asks for."""
    out = []
    seen = set()

    def add(tier, name, suites, build, alone=False, **how):
        if (tier, name) in seen:
            return
        seen.add((tier, name))
        out.append(Test(tier, name, how.pop('run'), needs=(build,), alone=alone))

    def plain(build, name, **how):
        return lambda test: run_program(test, build.tests()[name], **how)

    if 'unit' in tiers:
        have_fuzz = builds.fuzz.possible()
        for name, t in builds.asan.tests().items():
            if 'unit' in t['suites']:
                add('unit', name, t, builds.asan, alone=not t['parallel'],
                    run=plain(builds.asan, name))
            elif 'fuzz' in t['suites'] and not have_fuzz:
                add('unit', name, t, builds.asan, run=plain(builds.asan, name))
        for name, t in builds.tsan.tests().items():
            if 'tsan' in t['suites']:
                add('unit', 'tsan-' + name, t, builds.tsan,
                    run=plain(builds.tsan, name, prefix=builds.no_aslr()))
        if have_fuzz:
            for name, t in builds.fuzz.tests().items():
                if 'fuzz' in t['suites']:
                    art = os.path.join(builds.LOGS, 'unit', name + '-')
                    # new inputs are written to the first folder: never into the source tree
                    corpus = os.path.join(builds.TOP, 'corpus', name)
                    os.makedirs(corpus, exist_ok=True)
                    add('unit', name, t, builds.fuzz,
                        run=plain(builds.fuzz, name, first=(corpus,), extra=(
                            '-runs=20000', '-max_total_time=10', '-print_final_stats=1',
                            '-artifact_prefix=' + art)))
    if 'sim' in tiers:
        for name, t in builds.asan.tests().items():
            if 'sim' in t['suites'] and 'asan' in t['suites']:
                add('sim', name, t, builds.asan, run=plain(builds.asan, name))
        for name, t in builds.release.tests().items():
            if 'sim' in t['suites']:
                add('sim', name, t, builds.release, run=plain(builds.release, name))
    if 'fault' in tiers:
        for name, t in builds.asan.tests().items():
            if 'fault-sweep' in t['suites']:
                add('fault', name, t, builds.asan, alone=True,
                    run=lambda test, n=name: sweep.run(test, builds.asan.tests()[n]))
    return out


def static_tests():
    folder = os.path.join(builds.ROOT, 'tests/static')
    out = []

    def run(path):
        def inner(test):
            env = builds.test_env()
            env['PW_JOBS'] = str(builds.JOBS)
            env['PW_BUILD'] = builds.release.dir
            env['PW_CACHE'] = os.path.join(builds.TOP, 'cache')
            return verdict(proc.run([path], test.log_path(), env=env, cwd=builds.ROOT,
                                    timeout=STATIC_TIMEOUT))
        return inner

    if not os.path.isdir(folder):
        return out
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            with open(path, errors='replace') as f:
                needs = (builds.release,) if 'PW_BUILD' in f.read() else ()
            # each one that is slow uses all CPUs itself
            out.append(Test('static', name, run(path), needs=needs, alone=bool(needs)))
    return out


def vm_tests(tier):
    scripts = vm.scripts(tier == 'vm-long')
    if not scripts:
        return []
    out = [Test(tier, 'kernel', lambda test: vm.run_kernel(test, verdict), alone=True)]
    for name, path, _ in scripts:
        with open(path, errors='replace') as f:
            asan = 'PW_BUILD_ASAN' in f.read()
        out.append(Test(tier, name, lambda test: vm.run(test, verdict),
                        needs=(builds.release, builds.asan) if asan else (builds.release,),
                        alone=True))
    return out + [Test(tier, 'guest', vm.run_end, alone=True)]


def all_tests(tiers):
    out = program_tests(tiers)
    if 'static' in tiers:
        out += static_tests()
    if 'host' in tiers:
        out += [Test('host', name, lambda test, p=path: host.run(test, p, verdict),
                     needs=(builds.release, builds.asan), alone=True)
                for name, path in host.scripts()]
    for tier in ('vm', 'vm-long'):
        if tier in tiers:
            out += vm_tests(tier)
    return out


def wanted(test, names):
    if not names:
        return True
    return any(fnmatch.fnmatchcase(test.full_name, n) or fnmatch.fnmatchcase(test.name, n) or
               fnmatch.fnmatchcase(test.name.removesuffix('.sh'), n) for n in names)


def run_one(test, report):
    for build in test.needs:
        if not build.ok:
            report.add(test.tier, test.name, 'FAIL', 0, f'build {build.name} failed')
            return
    log = test.log_path()
    os.makedirs(os.path.dirname(log), exist_ok=True)
    start = time.monotonic()
    try:
        test.status, note = test.run(test)
    except Exception as e:  # a test must not end the run
        test.status, note = 'FAIL', f'the runner failed: {type(e).__name__}: {e}'
    if test.status == 'SKIP' and not note:
        note = skip_reason(test)
    report.add(test.tier, test.name, test.status, time.monotonic() - start, note, log)


def compile_builds(tests, report):
    """The builds that these tests need. Two lanes may ask for the same one."""
    for b in dict.fromkeys(b for t in tests for b in t.needs):
        with b.lock:
            if b.ok and not b.compiled:
                b.compile()
                if not b.ok:
                    report.add('build', b.name, 'FAIL', b.seconds, '', b.log)


def run_tier(tests, report):
    """Tests that may share the CPUs first, then the others one by one."""
    compile_builds(tests, report)
    together = [t for t in tests if not t.alone]
    with concurrent.futures.ThreadPoolExecutor(builds.JOBS) as pool:
        for f in [pool.submit(run_one, t, report) for t in together]:
            f.result()
    for t in tests:
        if t.alone:
            run_one(t, report)


def run_lane(tiers, tests, report):
    for tier in tiers:
        run_tier([t for t in tests if t.tier == tier], report)


def run_lanes(tiers, tests, report):
    """The tiers one after the other, but for those of the guest, which go on beside them: emulated
    CPUs and the tests on this machine both wait more than they compute."""
    in_guest = [t for t in tiers if t.startswith('vm')]
    here = [t for t in tiers if t not in in_guest]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for f in [pool.submit(run_lane, lane, tests, report) for lane in (in_guest, here)]:
            f.result()


def parse(argv):
    p = argparse.ArgumentParser(prog='tests/run')
    p.add_argument('--tier', action='append', default=[], metavar='TIER',
                   help='one of ' + ', '.join(TIERS) + ', or all of these (default); '
                   'may be repeated')
    p.add_argument('--list', action='store_true', help='print the names of the tests and stop')
    p.add_argument('--jobs', type=int, default=0, help='CPUs to use (default: all)')
    p.add_argument('names', nargs='*', metavar='NAME',
                   help='only tests of this name, "tier/name" or pattern')
    args = p.parse_args(argv)
    tiers = [w for t in args.tier for w in t.split(',')] or ['all']
    for t in tiers:
        if t not in TIERS + ['all']:
            p.error(f'unknown tier "{t}"')
    args.tiers = [t for t in TIERS if t in tiers or 'all' in tiers]
    return args


def ci_gaps(tiers, report):
    """In CI a tier that did not run is a failure."""
    for tier in tiers:
        if tier not in report.ran:
            report.add(tier, 'tier', 'FAIL', 0, f'no test of the {tier} tier ran')


def main(argv):
    args = parse(argv)
    if args.jobs > 0:
        builds.JOBS = args.jobs
    os.makedirs(builds.LOGS, exist_ok=True)
    # two runs in one tree would build over each other
    lock = open(os.path.join(builds.TOP, 'lock'), 'w')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('waiting for another tests/run in this tree', file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)

    report = Report()
    tests = [t for t in all_tests(args.tiers) if wanted(t, args.names)]
    if args.list:
        for b in builds.made():
            if not b.ok:
                print(f'build {b.name} cannot be configured, its tests are not listed',
                      file=sys.stderr)
        for t in tests:
            print(t.full_name)
        return 0

    for tier in ('vm', 'vm-long'):
        vm.plan(tier, [t.name for t in tests if t.tier == tier])
    for tier in args.tiers:
        shutil.rmtree(logs_of(tier), ignore_errors=True)
    for b in builds.made():
        if not b.ok:
            report.add('build', b.name, 'FAIL', b.seconds, '', b.log)
    for tier in args.tiers:
        if not args.names and not any(t.tier == tier for t in tests):
            print(f'no tests in tier {tier}', flush=True)
    run_lanes(args.tiers, tests, report)

    if os.environ.get('CI') == 'true' and not args.names:
        ci_gaps(args.tiers, report)
    c = report.count
    bad = c['FAIL'] > 0
    if args.names and not tests:
        print('no test has such a name', file=sys.stderr)
        bad = True
    print(f"{c['PASS']} passed, {c['FAIL']} failed, {c['SKIP']} skipped", flush=True)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
