# SPDX-License-Identifier: Apache-2.0
"""Start and end what is measured: the node, the client, the null FUSE server.

Every program ends by an unmount first and SIGTERM after it. SIGKILL is never used on a FUSE
server: on some kernels it can leave requests that hang every sync(2) of the machine.
"""

import json
import os
import signal
import socket
import subprocess
import time

START_SECONDS = 20
END_SECONDS = 20
TICKS = os.sysconf('SC_CLK_TCK')


class Error(Exception):
    """Something could not be started."""


def cpu_seconds(pid):
    """User and system time of a process so far, all threads."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def is_mounted(path):
    path = os.path.realpath(path)
    with open('/proc/self/mounts', encoding='utf-8') as f:
        return any(line.split()[1] == path for line in f)


def unmount(path):
    if not is_mounted(path):
        return
    for cmd in (['umount', path], ['umount', '-l', path]):
        if subprocess.run(cmd, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def has_ring():
    """True when this kernel offers FUSE-over-io_uring."""
    try:
        with open('/sys/module/fuse/parameters/enable_uring', encoding='ascii') as f:
            return f.read().strip() == 'Y'
    except OSError:
        return False


class Program:
    """One started program whose output goes to a log file."""

    def __init__(self, name, cmd, work):
        self.name = name
        self.log = os.path.join(work, name + '.log')
        with open(self.log, 'wb') as out:
            self.process = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def cpu(self):
        return cpu_seconds(self.pid)

    def output(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def wait_for(self, ready):
        """Wait until ready() is true; an early end or a timeout is an Error with the log."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Error(f'{self.name} did not start:\n{self.output()}')
            time.sleep(0.05)

    def end(self):
        """SIGTERM and wait; a program that stays is reported, not killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            print(f'{self.name}: pid {self.pid} did not end after SIGTERM')


class NullServer:
    """The floor of the FUSE layer."""

    def __init__(self, build, work, size_mib, ring):
        self.dir = os.path.join(work, 'null')
        os.makedirs(self.dir)
        cmd = [os.path.join(build, 'tests/perf/null_ring'), '--size-mib', str(size_mib)]
        self.program = Program('null', cmd + ([] if ring else ['--dev']) + [self.dir], work)
        self.program.wait_for(lambda: 'serving' in self.program.output())

    def end(self):
        unmount(self.dir)
        self.program.end()


class Mount:
    """One client."""

    def __init__(self, name, cmd, directory, work):
        self.dir = directory
        os.makedirs(directory)
        self.program = Program(name, cmd, work)
        try:
            self.program.wait_for(lambda: is_mounted(directory))
        except Error:
            self.end()
            raise

    def end(self):
        unmount(self.dir)
        self.program.end()


class Pagewire:
    """One node and its mounts; with @hosts on two of them, RDMA in between."""

    def __init__(self, options, work, ring, hosts=None):
        self.options = options
        self.build = options.build
        self.work = work
        self.node_dir = os.path.join(work, 'node')
        self.port = free_port()
        self.address = hosts.addr['a'] if hosts else '127.0.0.1'
        self.at = hosts.words if hosts else lambda _: []
        self.key = os.path.join(work, 'key') if hosts else None
        self.mounts = []
        os.makedirs(self.node_dir)
        if self.key:
            with open(os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600), 'wb') as f:
                f.write(os.urandom(32))
        self.node = self.start_node()
        try:
            self.node.wait_for(lambda: 'listening on' in self.node.output())
            self.mount = self.add_mount('client', 'on' if ring else 'off')
        except Error:
            self.end()
            raise
        self.dir = self.mount.dir

    def start_node(self):
        o, config = self.options, os.path.join(self.work, 'node.conf')
        with open(config, 'w', encoding='utf-8') as f:
            f.write(f'[node]\ndir={self.node_dir}\nlisten={self.address}:{self.port}\n'
                    f'transport={o.transport}\npoll_us={o.poll_us}\n'
                    f'store={o.store}\ndurability={o.durability}\n'
                    f'memory={2 * o.size_mib + 64}MiB\n'
                    + (f'key_file={self.key}\n' if self.key else ''))
        return Program('node', [*self.at('a'), os.path.join(self.build, 'pagewire-node'),
                                '-c', config], self.work)

    def add_mount(self, name, ring):
        """One more mount of the same files; @ring: on or off."""
        o, directory = self.options, os.path.join(self.work, 'mount-' + name)
        options = (f'io_uring={ring},transport={o.transport},poll_us={o.poll_us}'
                   + (f',key_file={self.key}' if self.key else ''))
        mount = Mount(name, [*self.at('b'), os.path.join(self.build, 'pagewire-client'),
                             f'{self.address}:{self.port}:/', directory, '-f', '-o', options],
                      directory, self.work)
        self.mounts.append(mount)
        return mount

    def end(self):
        for mount in reversed(self.mounts):
            mount.end()
        self.node.end()

    def cpu_of(self, mount):
        return {'client': mount.program.cpu(), 'node': self.node.cpu()}

    def cpu(self):
        return self.cpu_of(self.mount)

    def stats(self):
        return self.stats_of(self.mount)

    def stats_of(self, mount):
        """Counters of both sides; a side that cannot be asked is left out."""
        try:
            p = subprocess.run([os.path.join(self.build, 'pagewire'), 'stats', '--json'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, timeout=10, check=False)
            doc = json.loads(p.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return {}
        sides = {'client': (doc.get('mounts', []), mount.dir),
                 'node': (doc.get('nodes', []), self.node_dir)}
        return {side: entry['counters'] for side, (entries, path) in sides.items()
                for entry in entries if entry.get('dir') == path and 'counters' in entry}
