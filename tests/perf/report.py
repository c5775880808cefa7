# SPDX-License-Identifier: Apache-2.0
"""Turn the rounds of one run into ratios and print them."""

import statistics

FLOORS = ['raw', 'null', 'tcp']  # the last one is the wire: tcp or rdma
NO_VALUE = '-'


def good(rounds, target):
    return [r[target] for r in rounds if r.get(target) and 'error' not in r[target]]


def values(rounds, target, key):
    return [sample[key] for sample in good(rounds, target) if sample.get(key)]


def ratio_pair(pairs):
    """(ratio of the bests, median of the ratios of each round)."""
    pairs = [(a, b) for a, b in pairs if a and b]
    if not pairs:
        return None
    best = max(a for a, _ in pairs) / max(b for _, b in pairs)
    return best, statistics.median(a / b for a, b in pairs)


def speed_pairs(rounds, floor):
    for r in rounds:
        ours, theirs = r.get('pagewire'), r.get(floor)
        if ours and theirs and 'error' not in ours and 'error' not in theirs:
            yield ours['per_s'], theirs['per_s']


def latency_ratio(rounds):
    """p50 over the sum of the two floors under it: one round trip, one null request."""
    found = []
    for r in rounds:
        parts = [(r.get(t) or {}).get('p50_us') for t in ('pagewire', FLOORS[2], 'null')]
        if all(parts):
            found.append((parts[0], parts[1] + parts[2]))
    if not found:
        return None
    best = min(a for a, _ in found) / min(b for _, b in found)
    return best, statistics.median(a / b for a, b in found)


def copied_of(samples, side):
    """Bytes that the CPU of one side moved for each payload byte."""
    moved = payload = 0
    for sample in samples:
        counters = sample.get('counters', {}).get(side)
        if counters and 'copied_bytes' in counters:
            moved += counters['copied_bytes']
            payload += counters.get('payload_bytes') or sample['mib'] * (1 << 20)
    return moved / payload if payload else None


def cpu_per_gib_of(samples, side):
    found = [s['cpu'][side] / s['mib'] * 1024 for s in samples if s.get('cpu') and s['mib']]
    return statistics.median(found) if found else None


def summarize(row, rounds):
    out = {'row': row.name, 'targets': {}, 'ratios': {}}
    for target in ['pagewire'] + FLOORS:
        speeds = values(rounds, target, 'mib_s')
        if speeds:
            p50 = values(rounds, target, 'p50_us')
            p99 = values(rounds, target, 'p99_us')
            out['targets'][target] = {
                'mib_s_best': max(speeds), 'mib_s_median': statistics.median(speeds),
                'per_s_best': max(values(rounds, target, 'per_s')),
                'p50_us_best': min(p50) if p50 else None,
                'p99_us_median': statistics.median(p99) if p99 else None,
            }
    for floor in FLOORS:
        out['ratios'][floor] = ratio_pair(speed_pairs(rounds, floor))
    out['ratios']['p50'] = latency_ratio(rounds) if row.depth == 1 and row.direct else None
    ours = good(rounds, 'pagewire')
    out['copied'] = {side: copied_of(ours, side) for side in ('client', 'node')}
    out['cpu_s_per_gib'] = {side: cpu_per_gib_of(ours, side)
                            for side in ('client', 'node', 'app')}
    out['errors'] = sorted({f'{t}: {r[t]["error"]}' for r in rounds for t in r
                            if r[t] and 'error' in r[t]})
    return out


def number(value, digits=2):
    return NO_VALUE if value is None else f'{value:.{digits}f}'


def pair(value):
    return NO_VALUE if value is None else f'{value[0]:.2f} {value[1]:.2f}'


def print_table(head, lines):
    widths = [max(len(str(line[i])) for line in [head] + lines) for i in range(len(head))]
    for line in [head] + lines:
        cells = [str(c).ljust(w) if i == 0 else str(c).rjust(w)
                 for i, (c, w) in enumerate(zip(line, widths))]
        print('  '.join(cells).rstrip())
    print(flush=True)


def print_data(summaries):
    print('throughput, best and median of the rounds, MiB/s')
    lines = []
    for s in summaries:
        line = [s['row']]
        for target in ['pagewire'] + FLOORS:
            t = s['targets'].get(target)
            line.append(f'{t["mib_s_best"]:.0f} {t["mib_s_median"]:.0f}' if t else NO_VALUE)
        lines.append(line)
    print_table(['row', 'pagewire'] + FLOORS, lines)

    print('p50 of one operation, best of the rounds, us')
    lines = []
    for s in summaries:
        line = [s['row']]
        for target in ['pagewire'] + FLOORS:
            line.append(number((s['targets'].get(target) or {}).get('p50_us_best'), 1))
        lines.append(line)
    print_table(['row', 'pagewire'] + FLOORS, lines)

    if any('pagewire' in s['targets'] for s in summaries):
        print_ratios(summaries)
    for s in summaries:
        for error in s['errors']:
            print(f'{s["row"]}: {error}')


def print_ratios(summaries):
    print('ratios in this run (best/best, median of rounds), copies per byte, CPU seconds per GiB')
    lines = []
    for s in summaries:
        cpu = s['cpu_s_per_gib']
        lines.append([s['row']] + [pair(s['ratios'][f]) for f in FLOORS] +
                     [pair(s['ratios']['p50']), number(s['copied']['client']),
                      number(s['copied']['node']), number(cpu['client']), number(cpu['node']),
                      number(cpu['app'])])
    print_table(['row'] + ['/' + f for f in FLOORS] + [f'p50/({FLOORS[2]}+null)', 'copies client',
                 'copies node', 'cpu client', 'cpu node', 'cpu app'], lines)


def summarize_meta(rounds):
    """rounds: {(target, procs): [result of metabench, ...]} -> best of each phase."""
    out = []
    for phase in ('create', 'stat', 'readdir', 'rename', 'unlink'):
        for procs in sorted({p for _, p in rounds}):
            line = {'phase': phase, 'procs': procs}
            for target in ('pagewire', 'raw'):
                found = [r[phase] for r in rounds.get((target, procs), []) if phase in r]
                if found:
                    line[target] = {'best': max(found), 'median': statistics.median(found)}
            out.append(line)
    return out


def print_meta(lines):
    print('metadata, operations per second, best and median of the rounds')
    table = []
    for line in lines:
        ours, raw = line.get('pagewire'), line.get('raw')
        cells = [f'{v["best"]:.0f} {v["median"]:.0f}' if v else NO_VALUE for v in (ours, raw)]
        ratio = number(ours['best'] / raw['best']) if ours and raw else NO_VALUE
        table.append([f'{line["phase"]}, {line["procs"]} processes'] + cells + [ratio])
    print_table(['operation', 'pagewire', 'raw', '/raw'], table)
