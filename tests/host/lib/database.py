#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""database.py FOLDER: SQLite in every journal mode, with two writers, a reader and a crash."""

import os
import signal
import sqlite3
import subprocess
import sys

MODES = ('delete', 'truncate', 'persist', 'wal')
COUNT = max(6, 60 // int(os.environ.get('PW_SCALE') or 1))


def connect(path, mode):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    got = db.execute(f'pragma journal_mode={mode}').fetchone()[0]
    if got != mode:
        sys.exit(f'database: {mode} became {got}')
    db.execute('pragma mmap_size=1048576')
    return db


def add(path, mode, who):
    """Each transaction moves a sum from one row to two others: the total stays."""
    db = connect(path, mode)
    for n in range(COUNT):
        db.execute('begin immediate')
        db.execute('insert into log values (?, ?, ?)', (who, n, os.urandom(3000)))
        db.execute('update sums set value = value - 2 where name = "bank"')
        db.execute('update sums set value = value + 1 where name != "bank"')
        db.execute('commit')
    db.close()


def hang(path, mode):
    """A transaction that does not end: told, and killed."""
    db = connect(path, mode)
    db.execute('pragma cache_size=5')  # so that some of it is in the file already
    db.execute('begin immediate')
    for n in range(200):
        db.execute('insert into log values ("nobody", ?, ?)', (n, os.urandom(3000)))
    db.execute('update sums set value = 12345')
    print('ready', flush=True)
    signal.pause()


def run(*args, **kw):
    return subprocess.Popen([sys.executable, __file__, *args], **kw)


def check(path, mode):
    db = connect(path, mode)
    problem = db.execute('pragma integrity_check').fetchall()
    if problem != [('ok',)]:
        sys.exit(f'database: {mode}: {problem}')
    rows = db.execute('select who, count(*), min(n), max(n) from log group by who').fetchall()
    if rows != [('one', COUNT, 0, COUNT - 1), ('two', COUNT, 0, COUNT - 1)]:
        sys.exit(f'database: {mode}: rows {rows}')
    sums = dict(db.execute('select name, value from sums').fetchall())
    if sums != {'bank': -4 * COUNT, 'left': 2 * COUNT, 'right': 2 * COUNT}:
        sys.exit(f'database: {mode}: sums {sums}')
    db.execute('vacuum')
    if db.execute('pragma integrity_check').fetchall() != [('ok',)]:
        sys.exit(f'database: {mode}: after vacuum')
    db.close()


def main(folder):
    for mode in MODES:
        path = f'{folder}/{mode}.db'
        db = connect(path, mode)
        db.execute('create table log (who, n, data)')
        db.execute('create index by_who on log (who, n)')
        db.execute('create table sums (name, value)')
        for name in ('bank', 'left', 'right'):
            db.execute('insert into sums values (?, 0)', (name,))
        writers = [run('add', path, mode, who) for who in ('one', 'two')]
        while any(w.poll() is None for w in writers):
            total = db.execute('select sum(value) from sums').fetchone()[0]
            if total != 0:
                sys.exit(f'database: {mode}: a reader saw the sum {total}')
        if [w.wait() for w in writers] != [0, 0]:
            sys.exit(f'database: {mode}: a writer failed')
        db.close()
        p = run('hang', path, mode, stdout=subprocess.PIPE)
        if p.stdout.readline() != b'ready\n':
            sys.exit(f'database: {mode}: no transaction')
        p.kill()
        p.wait()
        check(path, mode)


if __name__ == '__main__':
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        globals()[sys.argv[1]](*sys.argv[2:])
