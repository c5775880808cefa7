# SPDX-License-Identifier: Apache-2.0
"""The rows of the data table: what fio and tcp_stream are asked to do for each."""

import collections
import json
import os
import subprocess

Row = collections.namedtuple('Row', 'name rw bs depth direct fsync')

ROWS = [
    Row('seq write 1M qd1', 'write', 1 << 20, 1, True, False),
    Row('seq write 1M qd16', 'write', 1 << 20, 16, True, False),
    Row('seq read 1M qd1', 'read', 1 << 20, 1, True, False),
    Row('seq read 1M qd16', 'read', 1 << 20, 16, True, False),
    Row('rand write 4k qd1', 'randwrite', 4096, 1, True, False),
    Row('rand write 4k qd32', 'randwrite', 4096, 32, True, False),
    Row('rand read 4k qd1', 'randread', 4096, 1, True, False),
    Row('rand read 4k qd32', 'randread', 4096, 32, True, False),
    Row('buffered write 1M', 'write', 1 << 20, 1, False, False),
    Row('buffered read 1M', 'read', 1 << 20, 1, False, False),
    Row('write 4k + fsync', 'randwrite', 4096, 1, False, True),
]


def is_write(row):
    return 'write' in row.rw


def fio_args(row, path, size_mib, seconds, dsync):
    """dsync: this target has to be told what the product promises by itself."""
    args = ['fio', '--name=row', f'--filename={path}', f'--size={size_mib}M', f'--rw={row.rw}',
            f'--bs={row.bs}', f'--direct={int(row.direct)}', '--output-format=json',
            '--fallocate=none', '--randrepeat=1', '--norandommap']
    if row.depth > 1:
        args += ['--ioengine=libaio', f'--iodepth={row.depth}']
    else:
        args += ['--ioengine=psync']
    if row.fsync:
        args += ['--fsync=1']
    elif dsync and is_write(row):
        args += ['--sync=dsync']
    # a second pass of a buffered read would measure the page cache
    if row.direct or is_write(row):
        args += ['--time_based', f'--runtime={seconds}']
    return args


def parse_fio(text):
    job = json.loads(text[text.index('{'):])['jobs'][0]
    side = job['read'] if job['read']['total_ios'] else job['write']
    # an fsync row is one operation: the write and the sync after it
    parts = [t.get('percentile', {}) for t in
             (side['clat_ns'], job.get('sync', {}).get('lat_ns', {}))]
    wall = job.get('job_runtime', side['runtime']) / 1e3
    return {
        'mib_s': side['bw_bytes'] / (1 << 20), 'per_s': side['iops'],
        'p50_us': sum(p.get('50.000000', 0) for p in parts) / 1e3,
        'p99_us': sum(p.get('99.000000', 0) for p in parts) / 1e3,
        'mib': side['io_bytes'] / (1 << 20),
        'app_cpu_s': (job['usr_cpu'] + job['sys_cpu']) / 100 * wall,
    }


def run_fio(row, path, size_mib, seconds, dsync):
    p = subprocess.run(fio_args(row, path, size_mib, seconds, dsync), stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                       timeout=seconds * 10 + 300)
    text = p.stdout.decode(errors='replace')
    if p.returncode:
        return {'error': text.strip()[-300:]}
    return parse_fio(text)


def prepare(path, size_mib):
    """Write the file once, so that no row pays for its blocks."""
    subprocess.run(['fio', '--name=prepare', f'--filename={path}', f'--size={size_mib}M',
                    '--rw=write', '--bs=1M', '--direct=1', '--fallocate=none', '--end_fsync=1'],
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def tcp_args(row):
    """The same bytes over a plain socket; None where depth one or a stream is no match."""
    if row.fsync or (row.bs == 4096 and row.depth > 1):
        return None
    if row.depth > 1 or not row.direct:
        return ['--block', str(row.bs)]
    return ['--rr', str(row.bs)] + ([] if is_write(row) else ['--read'])


def run_tcp(row, build, seconds):
    args = tcp_args(row)
    if not args:
        return None
    p = subprocess.run([os.path.join(build, 'tests/perf/tcp_stream'), '--json', '--seconds',
                        str(seconds)] + args, stdout=subprocess.PIPE, check=True)
    return json.loads(p.stdout)


def run_rdma(row, hosts, seconds, work):
    """The same bytes by perftest over the same two devices; None where it has no match."""
    if row.fsync or not row.direct:
        return None
    if row.bs == 4096 and row.depth == 1:
        return hosts.round_trip(row.bs, work)
    if row.depth == 1 or row.bs == 4096:
        return None
    program = 'ib_write_bw' if is_write(row) else 'ib_read_bw'
    return hosts.bandwidth(program, row.bs, int(max(seconds, 1)), work)


def run_metabench(build, path, procs, files):
    p = subprocess.run([os.path.join(build, 'tests/perf/metabench'), '--json', '--procs',
                        str(procs), '--files', str(files), path],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if p.returncode:
        return {'error': p.stderr.decode(errors='replace').strip()}
    return json.loads(p.stdout)
