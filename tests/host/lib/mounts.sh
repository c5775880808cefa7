# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# mounts.sh - the same test over each data path of this machine: the FUSE ring, and /dev/fuse.
# Source it after functions.sh.

declare -A MNT=() # path -> where it is mounted
PATHS=()

HERE=$PW_SOURCE/tests/host/lib
PROGRAMS=$BIN/tests/host/lib

# mount_options PATH [OPTIONS]
mount_options() {
	local ring=off
	[ "$1" != ring ] || ring=on
	echo "io_uring=$ring${2:+,$2}"
}

# find_paths: PATHS becomes (ring dev), or (dev) where the kernel has no ring, or what PW_PATHS says
find_paths() {
	PATHS=(dev)
	if [ "${PW_PATHS:-}" = dev ]; then
		return
	fi
	if [ -w "$RING_SWITCH" ]; then
		ring_switch on
		PATHS=(ring dev)
		[ "${PW_PATHS:-}" != ring ] || PATHS=(ring)
	else
		echo "no FUSE ring on this machine: /dev/fuse only"
	fi
}

# mount_paths_with OPTIONS: the node that was started last, once over each path; see MNT and PATHS
mount_paths_with() {
	local path
	[ "${#PATHS[@]}" -gt 0 ] || find_paths
	for path in "${PATHS[@]}"; do
		MNT[$path]=$TMPDIR/mnt-$path
		start_client "$path" "${MNT[$path]}" "$(mount_options "$path" "$1")"
	done
}

# mount_paths: with the default options
mount_paths() {
	mount_paths_with ""
}

# unmount_paths
unmount_paths() {
	local path
	for path in "${PATHS[@]}"; do
		stop_client "$path"
	done
}

# other_mount PATH: a second mount of the same files; the same one where there is only one
other_mount() {
	echo "${MNT[${PATHS[0]}]/$1/${PATHS[-1]}}"
}

# each_path COMMAND [ARG...]: COMMAND ARG... PATH MOUNT for all paths at once; all must succeed
each_path() {
	local path bad=
	local -A pids=()
	for path in "${PATHS[@]}"; do
		("$@" "$path" "${MNT[$path]}") &
		pids[$path]=$!
	done
	for path in "${PATHS[@]}"; do
		wait "${pids[$path]}" || bad+="over $path: $1 ended with $? "
	done
	[ -z "$bad" ] || fail "$bad"
}

# ask SOCKET COMMAND KEY...: a value out of the answer of a control socket
ask() {
	/usr/bin/python3 "$HERE/ask.py" "$@"
}

# node_says NAME KEY...: a value of the node's status
node_says() {
	local name=$1
	shift
	ask "$TMPDIR/$name/control.sock" status "$@"
}

# client_says NAME COMMAND KEY...: of a mount's status or stats
client_says() {
	local dir=${CLIENT_DIR[$1]} command=$2
	shift 2
	ask "$dir" "$command" "$@"
}
