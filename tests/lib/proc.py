# SPDX-License-Identifier: Apache-2.0
"""Run one program with a time limit; find and end what it left behind, and nothing else."""

import os
import signal
import subprocess
import time

TIMED_OUT = -1000


def run(cmd, log, env=None, cwd=None, timeout=None, append=False):
    """Run cmd in a session of its own without stdin, output to log.

    Returns its exit code, -signal, or TIMED_OUT.
    """
    with open(log, 'ab' if append else 'wb') as out:
        out.write(('$ ' + ' '.join(cmd) + '\n').encode())
        out.flush()
        try:
            p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 env=env, cwd=cwd, start_new_session=True)
        except OSError as e:
            out.write(f'cannot start: {e}\n'.encode())
            return 127
        try:
            return p.wait(timeout)
        except subprocess.TimeoutExpired:
            out.write(f'\nended by the runner after {timeout} s\n'.encode())
            # first its own way out: a shell test runs its cleanups
            _signal_group(p.pid, signal.SIGTERM)
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                pass
            return TIMED_OUT
        finally:
            if p.poll() is None:
                _signal_group(p.pid, signal.SIGKILL)
                p.wait()


def _signal_group(pgid, sig):
    """The group is the one that run() made: its leader is our child and not yet reaped."""
    try:
        os.killpg(pgid, sig)
    except (ProcessLookupError, PermissionError):
        pass


def end_group(p):
    """End a child that runs in a session of its own, when it still runs; first politely."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if p.poll() is not None:
            return
        _signal_group(p.pid, sig)
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            pass


def describe(rc):
    if rc == TIMED_OUT:
        return 'time limit'
    if rc < 0:
        try:
            return f'signal {signal.Signals(-rc).name}'
        except ValueError:
            return f'signal {-rc}'
    return f'exit {rc}'


def with_mark(mark):
    """Processes that carry mark in their environment: they descend from one test.

    Returns [(pid, start time, command line)], without zombies.
    """
    out = []
    needle = mark.encode()
    for d in os.listdir('/proc'):
        if not d.isdigit() or int(d) == os.getpid():
            continue
        try:
            with open(f'/proc/{d}/environ', 'rb') as f:
                if needle not in f.read().split(b'\0'):
                    continue
            start = start_time(int(d))
            with open(f'/proc/{d}/cmdline', 'rb') as f:
                cmd = f.read().replace(b'\0', b' ').decode(errors='replace').strip()
        except OSError:
            continue
        if start is not None:
            out.append((int(d), start, cmd))
    return out


def start_time(pid):
    """With the pid this names a process for good; None for a zombie or no process."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rsplit(')', 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in 'ZX' else fields[19]


def end(pid, start):
    if start_time(pid) != start:
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(100):
        if start_time(pid) != start:
            return
        time.sleep(0.05)
