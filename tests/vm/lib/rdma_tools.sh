# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# rdma_tools.sh - the programs of others between two hosts: they say that the devices work, and how
# fast, before a test of ours relies on it. Source it after functions.sh and hosts.sh.

# listens HOST PORT: somebody on HOST waits for a TCP connection to PORT
listens() {
	on "$1" ss -Hltn "sport = :$2" | grep -q .
}

# perftest PROGRAM: the server on a, the client on b; 20 messages of 1 MiB. Not with -R: its server
# listens on all devices at once, which the two of siw in one kernel refuse.
perftest() {
	local program=$1 port=18515 server
	local args=(-p "$port" -F -s 1048576 -n 20)
	start_on a "$program" -d "${RDMA_DEV[a]}" "${args[@]}" >"$TMPDIR/server.log" 2>&1 &
	server=$!
	cleanup_fn _end_pid "$server"
	wait_for 20 "listens a $port" || fail "$program does not listen"
	on b "$program" -d "${RDMA_DEV[b]}" "${args[@]}" "${HOST_ADDR[a]}" \
		>"$TMPDIR/client.log" 2>&1 || fail "$program (client) ended with $?"
	wait "$server" || fail "$program (server) ended with $?"
	# one row: size, iterations, peak and average MiB/s
	awk -v p="$program" '$1 == 1048576 { print p ": " $4 " MiB/s"; ok = $4 > 0 }
		END { exit !ok }' "$TMPDIR/client.log" || fail "$program moved nothing"
}

# rc_pingpong: without the connection manager; the addresses go through a TCP connection
rc_pingpong() {
	local server host
	local -A words=()
	for host in a b; do
		words[$host]="-d ${RDMA_DEV[$host]} -n 50 -c -g"
		words[$host]+=" $(gid_index "${RDMA_DEV[$host]}" "${HOST_ADDR[$host]}")"
	done
	# shellcheck disable=SC2086
	start_on a ibv_rc_pingpong ${words[a]} >"$TMPDIR/server.log" 2>&1 &
	server=$!
	cleanup_fn _end_pid "$server"
	wait_for 20 "listens a 18515" || fail "ibv_rc_pingpong does not listen"
	# shellcheck disable=SC2086
	on b ibv_rc_pingpong ${words[b]} "${HOST_ADDR[a]}" >"$TMPDIR/client.log" 2>&1 ||
		fail "ibv_rc_pingpong (client) ended with $?"
	wait "$server" || fail "ibv_rc_pingpong (server) ended with $?"
	grep 'Mbit/sec' "$TMPDIR/client.log"
}

# cm_ping COUNT BYTES: through the connection manager, RDMA READ and WRITE, contents compared. One
# of the two may wait for the other for ever, without any word of ours in it: then they begin anew.
cm_ping() {
	local try server ping="-a ${HOST_ADDR[a]} -C $1 -S $2 -V"
	for try in 1 2 3; do
		# shellcheck disable=SC2086
		start_on a rping -s $ping >"$TMPDIR/server.log" 2>&1 &
		server=$!
		cleanup_fn _end_pid "$server"
		# the connection manager's listener is in no list: the client tries until it can
		if wait_for 5 "on b timeout $((5 * TIME_FACTOR)) rping -c $ping" &&
			wait_for 5 "! is_alive $server"; then
			wait "$server" || fail "rping (server) ended with $?"
			return
		fi
		echo "try $try: rping -c $ping hangs, or got no answer"
		_end_pid "$server"
	done
	fail "rping got no answer"
}
