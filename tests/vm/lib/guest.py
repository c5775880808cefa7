#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Inside the guest: run the tests of a plan, write down what became of each. See tests/lib/vm.py.

What the kernel prints while a test runs belongs to that test: a complaint fails it.
"""

import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../..'))
sys.path.insert(0, os.path.join(ROOT, 'tests/lib'))

# emulated CPUs: everything takes longer, what a test waits for too; and what it only repeats, it
# does not repeat as often
if os.environ.get('PW_VM_ACCEL') == 'tcg':
    os.environ.setdefault('PW_TIME_FACTOR', '5')
    os.environ.setdefault('PW_SCALE', '10')

import builds  # noqa: E402
import host  # noqa: E402
import runner  # noqa: E402

DISK = '/dev/vda'
SCRATCH = '/mnt/scratch'


class Kmsg:
    """The kernel's log from now on."""

    def __init__(self):
        self.fd = os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)
        with open(os.path.join(ROOT, 'tests/vm/complaints')) as f:
            self.bad = [re.compile(line.rstrip('\n')) for line in f
                        if not line.startswith('#')]

    def read(self):
        lines = []
        while True:
            try:
                head, _, text = os.read(self.fd, 8192).decode(errors='replace').partition(';')
            except BlockingIOError:
                return lines
            except BrokenPipeError:  # some were overwritten before they were read
                continue
            us = int(head.split(',')[2])
            lines.append(f'[{us // 1000000:5}.{us % 1000000:06}] ' + text.split('\n')[0])

    def complaints(self, lines):
        return [x for x in lines if any(b.search(x) for b in self.bad)]


def prepare_disk():
    """Tests get a real filesystem: files of the node want O_DIRECT, and more room than memory."""
    subprocess.run(['mkfs.ext4', '-q', '-E', 'lazy_itable_init=1,lazy_journal_init=1', DISK],
                   check=True, stdin=subprocess.DEVNULL)
    os.makedirs(SCRATCH, exist_ok=True)
    subprocess.run(['mount', DISK, SCRATCH], check=True, stdin=subprocess.DEVNULL)
    os.environ['TMPDIR'] = SCRATCH


def main(folder):
    with open(os.path.join(folder, 'plan')) as f:
        plan = json.load(f)
    prepare_disk()
    kmsg = Kmsg()
    with open(os.path.join(folder, 'results'), 'a') as results:
        for name, path, env in plan:
            test = runner.Test('vm', name, None)
            start = time.monotonic()
            status, note = host.run(test, path, runner.verdict, env)
            if status == 'SKIP' and not note:
                note = runner.skip_reason(test)
            lines = kmsg.read()
            bad = kmsg.complaints(lines)
            if bad:
                status = 'FAIL'
                note = '\n'.join(filter(None, [note, 'the kernel complained:'] + bad[:10]))
                with open(test.log_path(), 'a') as log:
                    log.write('\n--- kernel\n' + '\n'.join(lines) + '\n')
            seconds = time.monotonic() - start
            print(f'{status} {name} ({seconds:.1f})', flush=True)
            results.write(json.dumps({'name': name, 'status': status, 'note': note,
                                      'seconds': seconds}) + '\n')
            results.flush()
    print(f'{len(plan)} tests on Linux {os.uname().release}, {builds.JOBS} CPUs', flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
