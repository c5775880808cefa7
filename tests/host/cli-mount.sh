#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
# mount(8), fstab and umount(8) through mount.pagewire
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse

M=$TMPDIR/mnt
OUT=$TMPDIR/out.txt
mkdir "$M"

link_helper() {
	local link=$1
	if [ -L "$link" ] && [ "$(readlink "$link")" = "$BIN/mount.pagewire" ]; then
		return
	elif [ -n "${PW_VM:-}" ]; then
		rm -f "$link" # of the guest, gone with it
	elif [ -e "$link" ] || [ -L "$link" ]; then
		skip "$link is there and belongs to somebody else"
	fi
	ln -s "$BIN/mount.pagewire" "$link"
	cleanup_fn rm -f "$link"
}
link_helper /sbin/mount.pagewire
link_helper /sbin/mount.fuse.pagewire

start_node a store=memory memory=64MiB max_clients=2
SPEC=$(node_address a):${NODE_PORT[a]}:/
# what all mounts need, in a list that is never empty
OPTIONS=$(mount_options_of_all rw)

unmount() { # by umount(8); the client ends by itself
	local pid
	pid=$("$BIN/pagewire" status --json "$M" | sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p')
	timeout 30 umount "$M" || fail "cannot unmount"
	wait_for 10 "! is_alive $pid" || fail "the client still runs"
}
_rescue() { ! is_mounted "$M" || timeout 30 "$BIN/pagewire" umount -f "$M"; }
cleanup_fn _rescue
# mounts ARGUMENT...: mount(8) is silent and the mount usable
mounts() {
	timeout 60 "${ON_CLIENT[@]}" mount "$@" >"$OUT" 2>&1 || fail "mount $*: $? $(cat "$OUT")"
	same "" "$(cat "$OUT")" "what a mount says"
	is_mounted "$M" || fail "mount $*: not mounted"
	over_rdma "$M"
	echo hello >"$M/f" || fail "cannot write"
	same hello "$(cat "$M/f")"
}

mounts -t pagewire -o "$OPTIONS" "$SPEC" "$M"
same "$SPEC $M fuse.pagewire" "$(awk -v m="$M" '$2 == m { print $1, $2, $3 }' /proc/mounts)"
unmount

mounts -t fuse.pagewire -o "$OPTIONS" "$SPEC" "$M"
unmount

# what fstab has, and what mount(8) and systemd add to it
FSTAB=timeout=20,$OPTIONS
cat >"$TMPDIR/fstab" <<-FSTAB
	$SPEC $M pagewire noauto,_netdev,nofail,user,comment=x,x-systemd.automount,$FSTAB 0 0
FSTAB
mounts -T "$TMPDIR/fstab" "$M"
grep -q " $M .*nosuid" /proc/self/mountinfo || fail "user implies nosuid"
grep -q " $M .*noexec" /proc/self/mountinfo || fail "user implies noexec"

# remount: flags change, and nothing else is asked of it
mount -o remount,ro "$M" || fail "cannot be made read-only"
fails touch "$M/g"
grep -q 'Read-only' "$TMPDIR/fails.txt" || fail "$(cat "$TMPDIR/fails.txt")"
mount -o remount,rw "$M" || fail "cannot be made writable again"
touch "$M/g" || fail "cannot write after remount,rw"
unmount

# mount_fails CODE TEXT ARGUMENT...
mount_fails() {
	local code=$1 text=$2 rc=0
	shift 2
	timeout 60 "${ON_CLIENT[@]}" "$BIN/mount.pagewire" "$@" >"$OUT" 2>&1 || rc=$?
	same "$code" "$rc" "exit code of mount.pagewire $*"
	[ -z "$text" ] || grep -q -- "$text" "$OUT" || fail "no '$text' in: $(cat "$OUT")"
	is_mounted "$M" && fail "mounted all the same"
	return 0
}
mount_fails 1 'did you mean "timeout"' "$SPEC" "$M" -o xtimeout=3
mount_fails 1 'HOST:PORT:/ is expected' "nonsense" "$M"
mount_fails 1 'usage:' "$SPEC"
mount_fails 1 "$TMPDIR/none" "$SPEC" "$TMPDIR/none"
mount_fails 32 'pagewire-client ended with 12' "127.0.0.1:$(free_port):/" "$M"
mount_fails 0 '' -f "$SPEC" "$M"
mount_fails 1 'unknown option' -f "$SPEC" "$M" -o frobnicate
mount_fails 0 '' -f -s "$SPEC" "$M" -o frobnicate
mount_fails 32 'not mounted there' "$SPEC" "$M" -o remount,ro

# -s with an option of another filesystem, -v says what it does
"${ON_CLIENT[@]}" "$BIN/mount.pagewire" "$SPEC" "$M" -sv -o "intr,$OPTIONS" >"$OUT" 2>&1 ||
	fail "sloppy: $(cat "$OUT")"
grep -q "pagewire-client $SPEC $M -o $OPTIONS" "$OUT" || fail "-v: $(cat "$OUT")"
# the same mount point twice
fails "$BIN/mount.pagewire" "$SPEC" "$M"
grep -q 'mounted there already' "$TMPDIR/fails.txt" || fail "$(cat "$TMPDIR/fails.txt")"
unmount
stop_node a
