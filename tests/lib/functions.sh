# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# functions.sh - the vocabulary of the host tests. A test is an executable tests/host/AREA-WHAT.sh:
#
#	#!/bin/bash
#	# timeout: 60
#	. "$(dirname "$0")/../lib/functions.sh"
#	requires root /dev/fuse fio
#	start_node a store=memory
#	start_client c "$TMPDIR/mnt"
#	echo hello >"$TMPDIR/mnt/f" || fail "cannot write"
#
# Everything is started in $TMPDIR and ended when the test ends, in reverse order, also when it
# fails. A test never calls sync(1), never drops caches, never ends a process by its name: a
# machine has other FUSE daemons, and one that is stuck would hang it.
#
# From the runner: PW_BUILD, PW_BUILD_ASAN (build directories), TMPDIR (own, empty).

set -Eeuo pipefail

: "${PW_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)}"
: "${PW_BUILD:=$PW_SOURCE/build-tests/release}"
: "${PW_BUILD_ASAN:=$PW_SOURCE/build-tests/asan}"
# where the programs under test come from: a test of crashes may say BIN=$PW_BUILD_ASAN
: "${BIN:=$PW_BUILD}"
# where CPUs are emulated everything takes longer by this
TIME_FACTOR=${PW_TIME_FACTOR:-1}

_own_tmp=
if [ -z "${PW_TEST_MARK:-}" ]; then # started by hand: a folder of its own
	TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/pw-XXXXXX")
	_own_tmp=$TMPDIR
fi
export TMPDIR

declare -A NODE_PID=() NODE_PORT=() NODE_LOG=() NODE_CONF=() NODE_ADDR=() NODE_HOST=()
declare -A CLIENT_PID=() CLIENT_DIR=() CLIENT_LOG=()
LAST_NODE=

# ---- ending ---------------------------------------------------------------------------------

_cleanups=()
_ending=

# cleanup_fn COMMAND [ARG...]: run it when the test ends; the last one given runs first
cleanup_fn() {
	local q
	printf -v q '%q ' "$@"
	_cleanups+=("$q")
}

_end() {
	local rc=$? i
	[ -z "$_ending" ] || return
	_ending=1
	trap - ERR
	trap '' INT TERM
	set +e
	if [ "$rc" -eq 0 ] && ! _rdma_proven; then
		rc=1
	fi
	if [ "$rc" -ne 0 ] && [ "$rc" -ne 77 ]; then
		_show_logs
	fi
	for ((i = ${#_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${_cleanups[i]}"
	done
	if [ -n "$_own_tmp" ]; then
		if [ "$rc" -eq 0 ]; then
			rm -rf --one-file-system "$_own_tmp"
		else
			echo "kept: $_own_tmp" >&2
		fi
	fi
	exit "$rc"
}
trap _end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap '_where $?' ERR

_where() {
	[ -n "$_ending" ] || echo "$0:${BASH_LINENO[0]}: '$BASH_COMMAND' ended with $1" >&2
}

_show_logs() {
	local f
	for f in "$TMPDIR"/*.log; do
		[ -s "$f" ] || continue
		echo "--- $(basename "$f")" >&2
		tail -n 25 "$f" >&2
	done
	echo "---" >&2
}

# fail TEXT: end the test as failed
fail() {
	echo "$0:${BASH_LINENO[0]}: FAIL: $*" >&2
	exit 1
}

# skip TEXT: this machine cannot run the test
skip() {
	echo "skipped: $*"
	exit 77
}

# ---- what a test needs ----------------------------------------------------------------------

# requires WHAT...: skip unless this machine has it. WHAT is
#   root, ring (FUSE over io_uring can be switched on), netns (own network namespaces),
#   /a/path, or the name of a command
requires() {
	local what
	for what; do
		case $what in
		root) [ "$(id -u)" -eq 0 ] || skip "needs root" ;;
		ring) [ -w "$RING_SWITCH" ] || skip "needs FUSE over io_uring" ;;
		netns) unshare -n true 2>/dev/null || skip "needs network namespaces" ;;
		/*) [ -e "$what" ] || skip "needs $what" ;;
		*) command -v "$what" >/dev/null || skip "needs $what" ;;
		esac
	done
	case " $* " in
	*' /dev/fuse '*) # it may be there, and forbidden
		(exec 3<>/dev/fuse) 2>/dev/null || skip "cannot open /dev/fuse"
		;;
	esac
}

# wait_for SECONDS CONDITION: until the shell condition is true; fails when the time is over.
# Where CPUs are emulated, PW_TIME_FACTOR makes the seconds longer.
wait_for() {
	local limit=$(($1 * TIME_FACTOR)) cond=$2 end
	end=$(($(date +%s%N) + limit * 1000000000))
	until eval "$cond" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$end" ] || {
			echo "after $limit s still not: $cond" >&2
			return 1
		}
		sleep 0.05
	done
}

# scaled N [LEAST]: N, where a test does the same thing N times; where CPUs are emulated, PW_SCALE
# divides it, down to LEAST (1)
scaled() {
	local n=$(($1 / ${PW_SCALE:-1}))
	echo $((n > ${2:-1} ? n : ${2:-1}))
}

# ---- the FUSE ring switch -------------------------------------------------------------------

RING_SWITCH=/sys/module/fuse/parameters/enable_uring
_ring_saved=

# ring_switch on|off: for the mounts made from now on; put back when the test ends
ring_switch() {
	local value=N
	[ "$1" != on ] || value=Y
	[ -w "$RING_SWITCH" ] || skip "no switch for FUSE over io_uring"
	if [ -z "$_ring_saved" ]; then
		_ring_saved=$(cat "$RING_SWITCH")
		cleanup_fn _ring_restore
	fi
	echo "$value" >"$RING_SWITCH"
}

_ring_restore() {
	echo "$_ring_saved" >"$RING_SWITCH"
}

# ---- processes ------------------------------------------------------------------------------

# is_alive PID: true while it runs; a zombie does not
is_alive() {
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) ||
		return 1
	[ -n "$state" ] && [ "$state" != Z ] && [ "$state" != X ]
}

# stop_pid PID [SIGNAL [SECONDS]]: end it, wait for it; KILL when the time (10 s) is over.
# The return value is its exit code, when it is a child of the test.
stop_pid() {
	local pid=$1 signal=${2:-TERM} limit=${3:-10} rc=0
	is_alive "$pid" && kill -s "$signal" "$pid" 2>/dev/null
	if ! wait_for "$limit" "! is_alive $pid" 2>/dev/null; then
		echo "process $pid did not end in $limit s after $signal" >&2
		kill -s KILL "$pid" 2>/dev/null || true
		wait_for 10 "! is_alive $pid" || true
		wait "$pid" 2>/dev/null || true
		return 124
	fi
	wait "$pid" 2>/dev/null || rc=$?
	[ "$rc" -ne 127 ] || rc=0
	return "$rc"
}

# sanitizer_clean LOG...: no report of a sanitizer in it
sanitizer_clean() {
	! grep -E -A 30 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error:' "$@" >&2
}

# free_port: a TCP port of 127.0.0.1 that nobody uses now, below those the kernel gives out
free_port() {
	local port
	for _ in {1..200}; do
		port=$((10000 + RANDOM % 20000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
	echo "no free port" >&2
	return 1
}

# ---- storage nodes --------------------------------------------------------------------------

# start_node NAME [CONFIG-LINE...]: a node on a port of its own, ready when this returns.
# Its data lies in $TMPDIR/NAME. A second start of the same name, after stop_node, takes the same
# configuration again, with new lines after it. NODE_PID, NODE_ADDR, NODE_PORT, NODE_LOG [NAME] tell
# the rest. Times of CONFIG-LINE are longer where CPUs are emulated.
# NODE_ENV: "NAME=VALUE..." for its environment, for example PW_FAULT=disk.write:EIO.
# NODE_AT: the host of tests/vm/lib/hosts.sh on which it runs; it has a cluster key then. Who starts
# a node without start_node puts "${ON_NODE[@]}" before its command.
# NODE_MORE: further addresses to listen at, with blanks between.
start_node() {
	local name=$1 conf try line
	shift
	conf=$TMPDIR/$name.ini
	NODE_CONF[$name]=$conf
	NODE_LOG[$name]=$TMPDIR/$name.log
	for try in 1 2 3 4 5; do
		if [ ! -e "$conf" ]; then
			NODE_PORT[$name]=$(free_port)
			NODE_HOST[$name]=${NODE_AT:-}
			NODE_ADDR[$name]=127.0.0.1
			[ -z "${NODE_AT:-}" ] || NODE_ADDR[$name]=${HOST_ADDR[$NODE_AT]}
			mkdir -p "$TMPDIR/$name"
			{
				echo "[node]"
				echo "dir=$TMPDIR/$name"
				echo "listen=$(_listen_list "$name")"
				[ -z "${NODE_AT:-}" ] || echo "key_file=$(_cluster_key)"
			} >"$conf"
		fi
		for line; do
			line=$(_slow_line "$line")
			grep -qxF -- "$line" "$conf" || echo "$line" >>"$conf"
		done
		_launch_node "$name" && return
		# somebody took the port meanwhile
		grep -q 'in use' "${NODE_LOG[$name]}" || break
		[ "$try" -lt 5 ] && rm -f "$conf"
	done
	fail "node $name did not start"
}

_listen_list() {
	local list=${NODE_ADDR[$1]}:${NODE_PORT[$1]} addr
	for addr in ${NODE_MORE:-}; do
		list+=", $addr:${NODE_PORT[$1]}"
	done
	echo "$list"
}

# _slow_line CONFIG-LINE: where CPUs are emulated, nobody is dead as soon as that
_slow_line() {
	if [[ $1 =~ ^(heartbeat|dead|lease)=([0-9]+)(m?s)$ ]]; then
		echo "${BASH_REMATCH[1]}=$((BASH_REMATCH[2] * TIME_FACTOR))${BASH_REMATCH[3]}"
	else
		echo "$1"
	fi
}

# _cluster_key: the path of the key of all nodes and mounts of the test
_cluster_key() {
	local key=$TMPDIR/cluster.key
	[ -e "$key" ] || (umask 077 && od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$key")
	echo "$key"
}

# _run_at HOST: sets _run to the words before a command that run it there; none for the machine
# itself. They start no process of their own: the pid is that of the command.
_run_at() {
	_run=()
	[ -z "$1" ] || _run=(nsenter --net="/run/netns/${HOST_NS[$1]}" --)
}

_launch_node() {
	local name=$1 log=${NODE_LOG[$1]} from=0 pid _run
	[ ! -e "$log" ] || from=$(wc -c <"$log")
	_run_at "${NODE_HOST[$1]-${NODE_AT:-}}"
	# shellcheck disable=SC2086
	"${_run[@]}" env ${NODE_ENV:-} "$BIN/pagewire-node" -c "${NODE_CONF[$name]}" \
		>>"$log" 2>&1 </dev/null &
	pid=$!
	NODE_PID[$name]=$pid
	LAST_NODE=$name
	cleanup_fn _end_pid "$pid"
	wait_for 20 "! is_alive $pid || tail -c +$((from + 1)) '$log' | grep -q 'listening on'" ||
		return 1
	is_alive "$pid"
}

_end_pid() {
	! is_alive "$1" || stop_pid "$1" TERM 5 || true
}

# stop_node NAME [SIGNAL]: end it; TERM must give exit code 0
stop_node() {
	local rc=0
	stop_pid "${NODE_PID[$1]}" "${2:-TERM}" || rc=$?
	[ "${2:-TERM}" != TERM ] || [ "$rc" -eq 0 ] || fail "node $1 ended with $rc"
}

# kill_node NAME: as a crash would
kill_node() {
	stop_pid "${NODE_PID[$1]}" KILL || true
}

# ---- clients --------------------------------------------------------------------------------

# is_mounted DIR: asks the kernel's list, never the mount itself
is_mounted() {
	awk -v dir="$1" '$5 == dir && / - fuse\.pagewire / { found = 1 }
		END { exit !found }' /proc/self/mountinfo
}

# start_client NAME DIR [OPTIONS [HOST:PORT:/PATH]]: mount on DIR, ready when this returns.
# Without a server it is the node that was started last. CLIENT_ENV is as NODE_ENV, CLIENT_AT as
# NODE_AT, ON_CLIENT as ON_NODE.
start_client() {
	local name=$1 dir=$2 options server=${4:-} pid _run
	local args=(-f)
	[ -n "$server" ] || server=$(node_address "$LAST_NODE"):${NODE_PORT[$LAST_NODE]}:/
	options=$(mount_options_of_all "${3:-}")
	[ -z "$options" ] || args+=(-o "$options")
	mkdir -p "$dir"
	dir=$(realpath "$dir")
	CLIENT_DIR[$name]=$dir
	CLIENT_LOG[$name]=$TMPDIR/$name.log
	_run_at "${CLIENT_AT:-}"
	# shellcheck disable=SC2086
	"${_run[@]}" env ${CLIENT_ENV:-} "$BIN/pagewire-client" "$server" "$dir" "${args[@]}" \
		>>"${CLIENT_LOG[$name]}" 2>&1 </dev/null &
	pid=$!
	CLIENT_PID[$name]=$pid
	cleanup_fn _end_client "$pid" "$dir"
	wait_for 20 "! is_alive $pid || is_mounted '$dir'" || fail "client $name did not mount"
	is_alive "$pid" || fail "client $name ended"
	over_rdma "$dir"
}

# node_address [NAME]: where it listens
node_address() {
	local default=127.0.0.1
	[ -z "${NODE_AT:-}" ] || default=${HOST_ADDR[$NODE_AT]}
	echo "${NODE_ADDR[${1:-$LAST_NODE}]:-$default}"
}

# mount_options_of_all [OPTIONS]: OPTIONS, and what each mount of the test has: key, transport
mount_options_of_all() {
	local o=${1:-}
	[ ! -e "$TMPDIR/cluster.key" ] || o+=${o:+,}key_file=$TMPDIR/cluster.key
	case ,$o, in
	*,transport=*) ;;
	*) o+=${PW_TRANSPORT:+${o:+,}transport=$PW_TRANSPORT} ;;
	esac
	echo "$o"
}

_end_client() {
	local pid=$1 dir=$2
	if is_mounted "$dir" && is_alive "$pid"; then
		timeout 10 umount -i "$dir" 2>/dev/null ||
			fuse_abort "$dir"
	fi
	_end_pid "$pid"
	! is_mounted "$dir" || umount -l -i "$dir"
}

# fuse_abort DIR: end the kernel's side of a mount, so that nobody waits for it any more
fuse_abort() {
	local dev
	dev=$(awk -v dir="$1" '$5 == dir { split($3, n, ":"); d = n[2] }
		END { print d }' /proc/self/mountinfo)
	if [ -n "$dev" ] && [ -w "/sys/fs/fuse/connections/$dev/abort" ]; then
		echo 1 >"/sys/fs/fuse/connections/$dev/abort"
	fi
}

# stop_client NAME: unmount; the process must end by itself, with 0
stop_client() {
	local rc=0 pid=${CLIENT_PID[$1]} dir=${CLIENT_DIR[$1]}
	timeout $((20 * TIME_FACTOR)) umount -i "$dir" || fail "cannot unmount $dir"
	wait_for 10 "! is_alive $pid" || fail "client $1 still runs after its mount is gone"
	wait "$pid" || rc=$?
	[ "$rc" -eq 0 ] || fail "client $1 ended with $rc"
}

# kill_client NAME: as a crash would; the dead mount is taken away too
kill_client() {
	stop_pid "${CLIENT_PID[$1]}" KILL || true
	! is_mounted "${CLIENT_DIR[$1]}" || umount -l -i "${CLIENT_DIR[$1]}"
}

# ---- small things ---------------------------------------------------------------------------

# same WANTED GOT [WHAT]
same() {
	[ "$1" = "$2" ] || fail "${3:-value}: wanted '$1', got '$2'"
}

# fails COMMAND [ARG...]: the command must not succeed; its output is in $TMPDIR/fails.txt
fails() {
	! "$@" >"$TMPDIR/fails.txt" 2>&1 || fail "should have failed: $*"
}

# make_file PATH BYTES [SEED]: bytes that are the same for the same seed
make_file() {
	local seed=${3:-1}
	_seeded_bytes "$2" "$seed" >"$1"
}

_seeded_bytes() {
	/usr/bin/python3 - "$1" "$2" <<-'PY'
		import random, sys
		left, r = int(sys.argv[1]), random.Random(int(sys.argv[2]))
		while left:
		    n = min(left, 1 << 20)
		    sys.stdout.buffer.write(r.randbytes(n))
		    left -= n
	PY
}

# ---- two hosts ------------------------------------------------------------------------------

# PW_HOSTS=rxe|siw|none: any test, unchanged, with its nodes on one host and its mounts on another;
# where there are devices, RDMA and nothing else is between them
ON_NODE=()
ON_CLIENT=()
_rdma_proof=

# over_rdma MOUNT: where RDMA was demanded, its client says that it has it. Once in a test, as
# nothing but RDMA is allowed: asking takes seconds where CPUs are emulated
over_rdma() {
	[ "$_rdma_proof" = wanted ] || return 0
	same rdma "$(/usr/bin/python3 "$PW_SOURCE/tests/host/lib/ask.py" "$1" status transport)" \
		"transport of $1"
	_rdma_proof=seen
}

# _rdma_proven: when the test ends: a mount said so, and the devices have carried bytes
_rdma_proven() {
	[ -n "$_rdma_proof" ] || return 0
	[ "$_rdma_proof" = seen ] || {
		echo "FAIL: no mount of this test has said that it is over RDMA" >&2
		return 1
	}
	rdma_carried
}

if [ -n "${PW_HOSTS:-}" ]; then
	. "$PW_SOURCE/tests/vm/lib/hosts.sh"
	two_hosts "$PW_HOSTS"
	NODE_AT=a
	CLIENT_AT=b
	ON_NODE=(nsenter --net="/run/netns/${HOST_NS[a]}" --)
	ON_CLIENT=(nsenter --net="/run/netns/${HOST_NS[b]}" --)
	if [ "$PW_HOSTS" != none ]; then
		PW_TRANSPORT=rdma
		_rdma_proof=wanted
	fi
fi
