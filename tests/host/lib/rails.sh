# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# rails.sh - a node with two addresses, a mount `c` at $TMPDIR/mnt, a load with an oracle on it.
# Source it after functions.sh, ../vm/lib/hosts.sh and mounts.sh. Everything else is the test's.

_rails_load=

# rails_node NAME [CONFIG-LINE...]: on host a, at both of its addresses; mounts are made on host b
rails_node() {
	NODE_AT=a
	CLIENT_AT=b
	NODE_MORE=${HOST_ADDR[a.2]}
	start_node "$@"
	NODE_MORE=
}

# rails_nr: how many pairs of addresses the mount knows
rails_nr() {
	local transport=${1:-tcp}
	client_says c status nodes 0 rails | /usr/bin/python3 -c '
import json, sys
print(sum(1 for r in json.load(sys.stdin) if r["transport"] == sys.argv[1]))' "$transport"
}

# rails_link: the number of the link that the connection is over
rails_link() {
	local addr
	addr=$(client_says c status nodes 0 address)
	addr=${addr#10.77.}
	echo "${addr%%.*}"
}

# rails_settle: the connection is over the preferred rail
rails_settle() {
	wait_for 30 rails_is_settled || fail "the mount does not move to its preferred rail"
}

rails_is_settled() {
	client_says c status nodes 0 rails | /usr/bin/python3 -c '
import json, sys
sys.exit(not any(r["in_use"] and r["preferred"] for r in json.load(sys.stdin)))'
}

rails_load_start() {
	rm -f "$TMPDIR/stop"
	mkdir -p "$TMPDIR/mnt/load"
	: >"$TMPDIR/ledger"
	/usr/bin/python3 "$PW_SOURCE/tests/host/lib/crashcheck.py" load --dir "$TMPDIR/mnt/load" \
		--ledger "$TMPDIR/ledger" --stop "$TMPDIR/stop" --seed $((RANDOM)) &
	_rails_load=$!
	cleanup_fn _end_pid "$_rails_load"
	rails_progress 30 "at the beginning"
}

rails_loads_live() {
	is_alive "$_rails_load" || fail "the load ended"
}

rails_is_up() {
	[ "$(client_says c status nodes 0 state)" = up ]
}

_rails_grown() {
	[ "$(wc -c <"$TMPDIR/ledger")" -ge $((_rails_from + 2000)) ]
}

# rails_progress SECONDS WHEN: the load does more
rails_progress() {
	_rails_from=$(wc -c <"$TMPDIR/ledger")
	wait_for "$1" _rails_grown ||
		fail "no progress $2"
	rails_loads_live
}

# rails_pull LINK: that cable; the load goes on over the other one
rails_pull() {
	local begin
	RAILS_PULLED=$1
	begin=$(date +%s%N)
	link_set down "$1"
	wait_for 20 "rails_is_up && ! rails_link | grep -qx $1" ||
		fail "no other way after link $1 went down"
	rails_progress 20 "over the other link"
	echo "link $1 down: work goes on after $((($(date +%s%N) - begin) / 1000000)) ms"
}

# rails_return: the cable is put back, the connection returns to it, under load
rails_return() {
	local begin
	begin=$(date +%s%N)
	rails_put_back
	wait_for 60 "rails_link | grep -qx $RAILS_PULLED && rails_is_settled" ||
		fail "the mount does not return to link $RAILS_PULLED"
	echo "link $RAILS_PULLED up: back on it after $((($(date +%s%N) - begin) / 1000000)) ms"
	rails_progress 20 "after the return"
}

rails_put_back() {
	link_set up "$RAILS_PULLED"
}

rails_load_end() {
	touch "$TMPDIR/stop"
	wait "$_rails_load" || fail "the load ended with $?"
	/usr/bin/python3 "$PW_SOURCE/tests/host/lib/crashcheck.py" verify --dir "$TMPDIR/mnt/load" \
		--ledger "$TMPDIR/ledger"
	rm -rf "$TMPDIR/mnt/load"
}
