# SPDX-License-Identifier: Apache-2.0
"""The table of registered memory: the same loop (region_io) from memory of a region, from other
memory over the same mount, and from other memory over a mount on /dev/fuse, beside the wire."""

import collections
import contextlib
import json
import os
import subprocess
import tempfile

import report
import rows
import stack

Row = collections.namedtuple('Row', 'name write block depth')

ROWS = [Row(f'{op} {name} qd{depth}', op == 'write', block, depth)
        for name, block, depth in (('4k', 4096, 1), ('4k', 4096, 16), ('64k', 1 << 16, 16),
                                   ('1M', 1 << 20, 1), ('1M', 1 << 20, 16), ('4M', 4 << 20, 4))
        for op in ('write', 'read')]
TARGETS = ('reg', 'pool', 'dev', 'wire')
ADD_BYTES = 1 << 30
# fio as it is: memory that nobody knows, memory of its own that is registered while it starts, and
# the preloaded allocator
FIO = {'malloc': ('malloc', False), 'mmapshared': ('mmapshared', True),
       'mmaphuge': ('mmaphuge', True), 'preload': ('malloc', False)}
FIO_DEPTH = 16
FIO_BYTES = 64 << 20


def busy_seconds():
    """All CPUs of the machine, but for idle, waiting for I/O, and what its host stole."""
    with open('/proc/stat', encoding='ascii') as f:
        user, nice, system, _, _, irq, softirq = (int(v) for v in f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / stack.TICKS


@contextlib.contextmanager
def huge_pages(nr):
    """So many more than there are, and as before afterwards."""
    with open('/proc/sys/vm/nr_hugepages', 'r+', encoding='ascii') as f:
        before = int(f.read())
        f.seek(0)
        f.write(str(before + nr))
        f.flush()
        try:
            yield
        finally:
            f.seek(0)
            f.write(str(before))


def region_io(build, path, args):
    p = subprocess.run([os.path.join(build, 'tests/perf/region_io'), '--json', *args, path],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       check=False, timeout=300)
    if p.returncode:
        return {'error': p.stderr.decode(errors='replace').strip()}
    return json.loads(p.stdout)


class Regions:
    """@bench has a mount over the ring; a second one over /dev/fuse is made here."""

    def __init__(self, bench):
        self.bench = bench
        self.options = bench.options
        self.pagewire = bench.pagewire
        self.dev = bench.pagewire.add_mount('dev', 'off')

    def measure(self, row, target):
        mount = self.dev if target == 'dev' else self.pagewire.mount
        args = ['--block', str(row.block), '--depth', str(row.depth),
                '--seconds', str(self.options.seconds), '--size-mib', str(self.options.size_mib)]
        args += [] if row.write else ['--read']
        args += [] if target == 'reg' else ['--plain']
        return self.counted(mount, lambda: region_io(self.options.build,
                                                     os.path.join(mount.dir, 'f'), args))

    def counted(self, mount, job):
        """What @job() says, with the counters and CPU seconds that it took."""
        cpu, busy = self.pagewire.cpu_of(mount), busy_seconds()
        before = self.pagewire.stats_of(mount)
        result = job()
        if 'error' in result:
            return result
        result['cpu'] = {k: v - cpu[k] for k, v in self.pagewire.cpu_of(mount).items()}
        result['cpu']['app'] = result['app_cpu_s']
        result['cpu']['rest'] = busy_seconds() - busy - sum(result['cpu'].values())
        after = self.pagewire.stats_of(mount)
        result['counters'] = {side: {k: after[side][k] - before.get(side, {}).get(k, 0)
                                     for k in ('copied_bytes', 'payload_bytes')
                                     if k in after[side]} for side in after}
        return result

    def wire(self, row):
        """What the two devices, or a socket, move by themselves."""
        seconds = int(max(self.options.seconds, 1))
        if self.bench.hosts and row.block == 4096 and row.depth == 1:
            return self.bench.hosts.round_trip(row.block, self.bench.work)
        if row.depth == 1:
            return None
        if self.bench.hosts:
            program = 'ib_write_bw' if row.write else 'ib_read_bw'
            return self.bench.hosts.bandwidth(program, row.block, seconds, self.bench.work)
        p = subprocess.run([os.path.join(self.options.build, 'tests/perf/tcp_stream'), '--json',
                            '--seconds', str(seconds), '--block', str(row.block)],
                           stdout=subprocess.PIPE, check=True)
        return json.loads(p.stdout)

    def run(self, log):
        chosen = [r for r in ROWS
                  if not self.options.row or any(w in r.name for w in self.options.row)]
        samples = {row.name: [] for row in chosen}
        order = TARGETS
        for i in range(self.options.rounds):
            for row in chosen:
                log(f'round {i + 1}: regions, {row.name}')
                samples[row.name].append({
                    t: self.wire(row) if t == 'wire' else self.measure(row, t) for t in order})
            order = order[1:] + order[:1]
        return [dict(summarize(row, samples[row.name]), rounds=samples[row.name])
                for row in chosen]

    def fio(self, kind, rw):
        """One job of fio; its memory is registered between its mmap() and its first block."""
        memory, shared = FIO[kind]
        path = os.path.join(self.pagewire.dir, 'f')
        args = rows.fio_args(rows.Row(kind, rw, 1 << 20, FIO_DEPTH, True, False), path,
                             self.options.size_mib, self.options.seconds, False)
        env = dict(os.environ)
        holder = None
        with tempfile.TemporaryDirectory(dir=self.bench.work) as meet:
            if shared:
                holder = subprocess.Popen(
                    [os.path.join(self.options.build, 'tests/perf/region_io'), '--add',
                     str(FIO_BYTES), '--hold', meet, path]
                    + (['--huge'] if memory == 'mmaphuge' else []), stdout=subprocess.PIPE)
                memory += ':' + holder.stdout.readline().decode().strip()
                args += [f'--exec_prerun=touch {meet}/go; until [ -e {meet}/done ]; do '
                         'sleep 0.02; done']
            if kind == 'preload':
                env['LD_PRELOAD'] = os.path.join(os.path.abspath(self.options.build),
                                                 'libpagewire/libpagewire-alloc.so')
                env['PAGEWIRE_ALLOC_MOUNT'] = self.pagewire.dir
            try:
                p = subprocess.run([*args, f'--mem={memory}'], stdin=subprocess.DEVNULL, env=env,
                                   cwd=self.bench.work, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, check=False, timeout=300)
            finally:
                if holder:
                    holder.terminate()
                    holder.wait()
        text = p.stdout.decode(errors='replace')
        return {'error': text.strip()[-300:]} if p.returncode else rows.parse_fio(text)

    def run_fio(self):
        with huge_pages(FIO_BYTES // (2 << 20)):
            found = {}
            for rw in ('write', 'read'):
                for kind in FIO:
                    found[f'{rw} 1M qd{FIO_DEPTH}, {kind}'] = self.counted(
                        self.pagewire.mount, lambda k=kind, r=rw: self.fio(k, r))
        return found

    def run_add(self):
        """How long a large region takes, and what of that the device alone would."""
        path = os.path.join(self.pagewire.dir, 'f')
        jobs = {'small pages': lambda: region_io(self.options.build, path,
                                                 ['--add', str(ADD_BYTES)]),
                'huge pages': lambda: region_io(self.options.build, path,
                                                ['--add', str(ADD_BYTES), '--huge'])}
        if self.bench.hosts:
            jobs['huge pages, ibv_reg_mr alone'] = self.reg_mr
        with huge_pages(ADD_BYTES // (2 << 20)):
            return {name: min((job() for _ in range(self.options.rounds)),
                              key=lambda r: r.get('add_ms', float('inf')))
                    for name, job in jobs.items()}

    def reg_mr(self):
        p = subprocess.run([*self.bench.hosts.words('b'),
                            os.path.join(self.options.build, 'tests/perf/reg_mr'),
                            self.bench.hosts.dev['b'], str(ADD_BYTES)],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, check=False, timeout=300)
        if p.returncode:
            return {'error': p.stderr.decode(errors='replace').strip()}
        return json.loads(p.stdout)


def summarize(row, rounds):
    out = {'row': row.name, 'targets': {}}
    for target in TARGETS:
        good = report.good(rounds, target)
        if not good:
            continue
        best = max(good, key=lambda r: r['mib_s'])
        entry = {'mib_s': best['mib_s'],
                 'p50_us': min((r['p50_us'] for r in good if 'p50_us' in r), default=None)}
        for side in ('client', 'node', 'app', 'rest'):
            entry['cpu_' + side] = report.cpu_per_gib_of(good, side)
        for side in ('client', 'node'):
            entry['copied_' + side] = report.copied_of(good, side)
        out['targets'][target] = entry
    out['errors'] = sorted({f'{t}: {r[t]["error"]}' for r in rounds for t in r
                            if r[t] and 'error' in r[t]})
    return out


def quotient(a, b):
    return a / b if a is not None and b else None


def print_table(summaries):
    print('registered memory: MiB/s (best), ratios, p50 in us, copies per byte, CPU s per GiB')
    lines = []
    for s in summaries:
        t = collections.defaultdict(dict, s['targets'])
        lines.append(
            [s['row']] +
            [report.number(t[k].get('mib_s'), 1) for k in TARGETS] +
            [report.number(quotient(t['reg'].get('mib_s'), t[k].get('mib_s')))
             for k in ('wire', 'pool')] +
            [report.number(t[k].get('p50_us'), 1) for k in ('reg', 'pool', 'wire')] +
            [report.number(t[k].get('copied_client')) for k in ('reg', 'pool', 'dev')] +
            [report.number(t[k].get('cpu_client')) for k in ('reg', 'pool', 'dev')] +
            [report.number(quotient(t['reg'].get('cpu_client'), t['pool'].get('cpu_client')))] +
            [report.number(t[k].get('cpu_rest')) for k in ('reg', 'pool')])
    report.print_table(['row', 'reg', 'pool', 'dev', 'wire', '/wire', '/pool', 'p50 reg', 'pool',
                        'wire', 'copies reg', 'pool', 'dev', 'client reg', 'pool', 'dev',
                        'reg/pool', 'rest reg', 'pool'], lines)
    for s in summaries:
        for error in s['errors']:
            print(f'{s["row"]}: {error}')


def print_fio(found):
    print('fio as it is: MiB/s, copies per byte, CPU s per GiB of the client')
    lines = []
    for name, r in found.items():
        if 'error' in r:
            print(f'{name}: {r["error"]}')
            continue
        lines.append([name, report.number(r['mib_s'], 1),
                      report.number(report.copied_of([r], 'client')),
                      report.number(report.cpu_per_gib_of([r], 'client'))])
    report.print_table(['fio', 'MiB/s', 'copies', 'client'], lines)


def print_add(best):
    for kind, r in best.items():
        text = (f'added in {r["add_ms"]:.1f} ms, released in {r["release_ms"]:.1f} ms'
                if 'add_ms' in r else r['error'])
        print(f'1 GiB, {kind}: {text}')
