#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 900
# What a new user does: a fresh clone, deploy/quickstart, no terminal, no stdin; it builds by itself
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse git python3 setsid
[ ! -w "$RING_SWITCH" ] || ring_switch on

SRC=$TMPDIR/clone
Q=$TMPDIR/q
mkdir -p "$SRC" "$Q"
# the tree as it is, also what is not committed yet
git -c safe.directory='*' -C "$PW_SOURCE" ls-files -z --cached --others --exclude-standard |
	tar -C "$PW_SOURCE" --null -T - --ignore-failed-read -cf - | tar -C "$SRC" -xf -
[ -x "$SRC/deploy/quickstart" ] || fail "no copy of the tree"
[ ! -e "$SRC/build" ] || fail "the copy has a build"

quick() {
	setsid -w "$SRC/deploy/quickstart" --dir "$Q/d" "$@" >"$TMPDIR/quick.log" 2>&1 </dev/null
}
cleanup_fn quick --purge
quick --mount "$Q/m" --port "$(free_port)" || fail "quickstart ended with $?"
same 2 "$(grep -c 'is the same' "$TMPDIR/quick.log")" "files that the self check compared"
grep -q '^status: good' "$TMPDIR/quick.log" || grep -q '^status: ' "$TMPDIR/quick.log" ||
	fail "no status"
is_mounted "$Q/m" || fail "not mounted"
"$SRC/build/pagewire" version | grep -q '^pagewire ' || fail "no version"
quick --purge || fail "purge ended with $?"
same "" "$(ls "$Q")" "what a purge leaves"
