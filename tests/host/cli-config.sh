#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 60
# pagewire config check and show, and every command with --json
. "$(dirname "$0")/../lib/functions.sh"
requires python3

pw=$BIN/pagewire
cat >"$TMPDIR/good.ini" <<-INI
	[node]
	dir = /srv/pagewire
	max_io = 512KiB
	[client]
	anything = is skipped
INI
"$pw" config check "$TMPDIR/good.ini" >"$TMPDIR/out.txt" || fail "a good file is not good"
same "$TMPDIR/good.ini is good" "$(cat "$TMPDIR/out.txt")"
same "" "$("$pw" config check -q "$TMPDIR/good.ini")" "-q"

printf '[node]\nstor=chunk\nmax_io=7GiB\n[nod]\nx=1\n' >"$TMPDIR/bad.ini"
rc=0
"$pw" config check "$TMPDIR/bad.ini" >"$TMPDIR/out.txt" 2>&1 || rc=$?
same 4 "$rc" "exit code of a bad file"
grep -q "bad.ini:2: unknown key 'stor' in \[node\], did you mean 'store'" "$TMPDIR/out.txt" ||
	fail "line 2: $(cat "$TMPDIR/out.txt")"
grep -q 'bad.ini:3: .*must be from 4KiB to ' "$TMPDIR/out.txt" ||
	fail "line 3: $(cat "$TMPDIR/out.txt")"
grep -q 'bad.ini:5: unknown section' "$TMPDIR/out.txt" || fail "line 5: $(cat "$TMPDIR/out.txt")"

# what show prints loads again, and is the same then
"$pw" config show "$TMPDIR/good.ini" >"$TMPDIR/shown.ini" || fail "cannot show"
"$pw" config check -q "$TMPDIR/shown.ini" || fail "what is shown does not load"
same "$(cat "$TMPDIR/shown.ini")" "$("$pw" config show "$TMPDIR/shown.ini")"
"$pw" config show --origin "$TMPDIR/good.ini" | grep -qF "max_io = 512KiB ; $TMPDIR/good.ini:3" ||
	fail "no origin"

/usr/bin/python3 - "$pw" "$TMPDIR" <<-'PY'
	import json, subprocess, sys
	pw, tmp = sys.argv[1:]
	def run(*args):
	    p = subprocess.run([pw, *args], stdin=subprocess.DEVNULL, capture_output=True)
	    return p.returncode, json.loads(p.stdout)
	rc, j = run('config', 'show', '--json', f'{tmp}/good.ini')
	node = j['sections']['node']
	assert rc == 0 and j['schema'] == 'pagewire.config/1', j
	assert node['max_io'] == {'value': '512KiB', 'origin': f'{tmp}/good.ini:3'}, node
	assert node['store'] == {'value': 'chunk', 'origin': 'default'}, node
	assert node['key_file']['value'] == '', node
	rc, j = run('config', 'check', '--json', f'{tmp}/bad.ini')
	assert rc == 4 and j['good'] is False and len(j['errors']) == 3, j
	rc, j = run('config', 'check', '--json', f'{tmp}/good.ini')
	assert rc == 0 and j['good'] is True and j['errors'] == [], j
	for name in ('version', 'status', 'stats'):
	    rc, j = run(name, '--json')
	    assert rc in (0, 3) and j['schema'] == f'pagewire.{name}/1', j
PY
"$pw" help | grep -q umount || fail "no help"
for c in mount umount status stats config version; do
	"$pw" help "$c" | grep -q "usage: pagewire $c" || fail "no help for $c"
	"$pw" "$c" --help | grep -q "usage: pagewire $c" || fail "$c --help"
done
