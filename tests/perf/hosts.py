# SPDX-License-Identifier: Apache-2.0
"""Two hosts in this machine for --transport rdma: network namespaces, a veth pair, a software RDMA
device at each end, and the programs that say what the devices themselves can move."""

import os
import subprocess
import time

import stack

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
MTU = 9000  # 4 KiB packets and their headers
PORT = 18515


def run(*cmd):
    p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    if p.returncode:
        raise stack.Error(f'{" ".join(cmd)}:\n{p.stdout.decode(errors="replace")}')
    return p.stdout.decode(errors='replace')


class Hosts:
    """`a` is the node's host, `b` the client's."""

    def __init__(self, provider):
        self.provider = provider
        self.made = []
        self.ns = {h: f'pwperf{os.getpid()}{h}' for h in 'ab'}
        self.addr = {'a': '10.78.0.1', 'b': '10.78.0.2'}
        self.link = {h: f'pwp{os.getpid() % 100000}{h}' for h in 'ab'}
        self.dev = {h: f'{provider}_perf_{h}' for h in 'ab'}
        try:
            self.make()
        except stack.Error:
            self.end()
            raise

    def make(self):
        for host in 'ab':
            run('ip', 'netns', 'add', self.ns[host])
            self.made.append(host)
        run('ip', 'link', 'add', self.link['a'], 'netns', self.ns['a'], 'mtu', str(MTU), 'type',
            'veth', 'peer', 'name', self.link['b'], 'netns', self.ns['b'], 'mtu', str(MTU))
        for host in 'ab':
            self.on(host, 'ip', 'addr', 'add', self.addr[host] + '/24', 'dev', self.link[host])
            self.on(host, 'ip', 'link', 'set', self.link[host], 'up')
        for host in 'ab':
            self.on(host, os.path.join(ROOT, 'deploy/softroce.sh'), 'up', self.link[host],
                    '--provider', self.provider, '--name', self.dev[host])

    def words(self, host):
        """What stands before a command that runs there: its pid is the command's."""
        return ['nsenter', f'--net=/run/netns/{self.ns[host]}', '--']

    def on(self, host, *cmd):
        return run(*self.words(host), *cmd)

    def end(self):
        for host in reversed(self.made):
            try:
                self.on(host, os.path.join(ROOT, 'deploy/softroce.sh'), 'down', self.link[host],
                        '--provider', self.provider)
            except stack.Error as e:
                print(e)
        for host in self.made:
            run('ip', 'netns', 'del', self.ns[host])

    def perftest(self, program, args, work):
        """The server on a, the client on b. Return: the client's lines, split."""
        args = [*args, '-F', '-p', str(PORT)]
        server = stack.Program('perftest', [*self.words('a'), program, '-d', self.dev['a'], *args],
                               work)
        try:
            server.wait_for(lambda: f':{PORT}' in self.on('a', 'ss', '-Hltn'))
            text = self.on('b', program, '-d', self.dev['b'], *args, self.addr['a'])
        finally:
            end = time.monotonic() + stack.END_SECONDS
            while server.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            server.end()
        return [line.split() for line in text.splitlines()]

    def bandwidth(self, program, size, seconds, work):
        for words in self.perftest(program, ['-s', str(size), '-D', str(seconds)], work):
            if len(words) >= 4 and words[0] == str(size):
                mib_s = float(words[3])
                return {'mib_s': mib_s, 'per_s': mib_s * (1 << 20) / size}
        raise stack.Error(f'{program} printed no result')

    def round_trip(self, size, work):
        """ib_send_lat's typical time is half of one."""
        for words in self.perftest('ib_send_lat', ['-s', str(size), '-n', '1000'], work):
            if len(words) >= 5 and words[0] == str(size):
                p50 = 2 * float(words[4])
                return {'p50_us': p50, 'per_s': 1e6 / p50, 'mib_s': size / p50 * 1e6 / (1 << 20)}
        raise stack.Error('ib_send_lat printed no result')
