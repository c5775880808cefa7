#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
# What can be wrong at a start: a clear sentence, an exit code of its own, nothing damaged
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse

M=$TMPDIR/mnt
OUT=$TMPDIR/out.txt
mkdir "$M"

# fails_with CODE TEXT COMMAND...
fails_with() {
	local code=$1 text=$2 rc=0
	shift 2
	"$@" >"$OUT" 2>&1 </dev/null || rc=$?
	[ "$rc" -eq "$code" ] && grep -q -- "$text" "$OUT" && return
	cat "$OUT" >&2
	fail "$*: ended with $rc, wanted $code and: $text"
}
key() { (umask 077 && printf "$1%.0s" {1..64} >"$2"); }
node=$BIN/pagewire-node

key 1 "$TMPDIR/good.key"
key 2 "$TMPDIR/wrong.key"
start_node a key_file="$TMPDIR/good.key" journal=8MiB max_clients=2
SPEC=127.0.0.1:${NODE_PORT[a]}:/

# the key
fails_with 8 'key' "$BIN/pagewire" mount "$SPEC" "$M"
fails_with 8 'key' "$BIN/pagewire" mount "$SPEC" "$M" -o key_file="$TMPDIR/wrong.key"
fails_with 8 "$TMPDIR/none" "$BIN/pagewire" mount "$SPEC" "$M" -o key_file="$TMPDIR/none"
echo 'not a key' >"$TMPDIR/bad.key"
chmod 600 "$TMPDIR/bad.key"
fails_with 8 'bad.key' "$BIN/pagewire" mount "$SPEC" "$M" -o key_file="$TMPDIR/bad.key"
fails_with 8 'key_file' "$node" --dir "$TMPDIR/k" --listen 0.0.0.0:0

# the node and its directory
fails_with 7 'port is in use' "$node" --dir "$TMPDIR/p" --listen "127.0.0.1:${NODE_PORT[a]}"
fails_with 11 'another node runs on it' "$node" --dir "$TMPDIR/a" --listen 127.0.0.1:0
mkdir "$TMPDIR/foreign"
echo precious >"$TMPDIR/foreign/letter"
fails_with 13 'letter' "$node" --dir "$TMPDIR/foreign" --listen 127.0.0.1:0
same letter "$(ls -A "$TMPDIR/foreign")" "the directory of somebody else"
mkdir "$TMPDIR/notours"
echo 'hello' >"$TMPDIR/notours/superblock"
fails_with 13 "not pagewire's" "$node" --dir "$TMPDIR/notours" --listen 127.0.0.1:0
mkdir "$TMPDIR/newer"
sed '1s/.*/pagewire superblock 999/' "$TMPDIR/a/superblock" >"$TMPDIR/newer/superblock"
fails_with 13 'another version' "$node" --dir "$TMPDIR/newer" --listen 127.0.0.1:0
mkdir "$TMPDIR/flipped"
sed 's/^created_ns ./created_ns 9/' "$TMPDIR/a/superblock" >"$TMPDIR/flipped/superblock"
fails_with 14 'damaged' "$node" --dir "$TMPDIR/flipped" --listen 127.0.0.1:0
mkdir "$TMPDIR/other"
cp "$TMPDIR/a/superblock" "$TMPDIR/other/"
fails_with 10 'belongs to filesystem' "$node" --dir "$TMPDIR/other" --listen 127.0.0.1:0 \
	-o fsid=00000000-0000-0000-0000-000000000001
fails_with 4 'made with store = chunk' "$node" --dir "$TMPDIR/other" --listen 127.0.0.1:0 \
	--store memory

# configuration: the line, and the nearest key
printf '[node]\ndir=%s\n\nlissten=127.0.0.1:1\n' "$TMPDIR/c" >"$TMPDIR/c.ini"
fails_with 4 "c.ini:4: unknown key 'lissten' in \[node\], did you mean 'listen'" \
	"$node" -c "$TMPDIR/c.ini"
[ ! -e "$TMPDIR/c" ] || fail "a wrong configuration made a directory"
fails_with 4 'none.ini' "$node" -c "$TMPDIR/none.ini"
fails_with 2 'usage' "$node" --frobnicate
fails_with 2 'did you mean' "$BIN/pagewire" mount "$SPEC" "$M" -o xtimeout=3
fails_with 2 'there is no command' "$BIN/pagewire" frobnicate
fails_with 2 'usage' "$BIN/pagewire" status a b c

# the client
fails_with 12 '' "$BIN/pagewire" mount "127.0.0.1:$(free_port):/" "$M"
fails_with 2 "$TMPDIR/nowhere" "$BIN/pagewire" mount "$SPEC" "$TMPDIR/nowhere"
fails_with 1 'is not a mount point' "$BIN/pagewire" umount "$M"
fails_with 1 "not pagewire's" "$BIN/pagewire" umount /proc
fails_with 1 'is no mount of pagewire' "$BIN/pagewire" status "$M"

# no /dev/fuse: a mount namespace whose /dev has none
no_dev() {
	cat >"$TMPDIR/no-dev" <<-'SH'
		set -e
		mkdir "$TMPDIR/dev"
		mount -t tmpfs none "$TMPDIR/dev"
		mknod -m 666 "$TMPDIR/dev/null" c 1 3
		mount --bind "$TMPDIR/dev" /dev
		exec "$@"
	SH
	unshare -m sh "$TMPDIR/no-dev" "$@"
}
if unshare -m true 2>/dev/null; then
	fails_with 6 'no /dev/fuse' no_dev \
		"$BIN/pagewire" mount "$SPEC" "$M" -o key_file="$TMPDIR/good.key"
fi
is_mounted "$M" && fail "mounted"

# not root: a user who may not read the key, and who may not unmount
if command -v setpriv >/dev/null; then
	chmod 755 "$TMPDIR"
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	start_client c "$M" key_file="$TMPDIR/good.key"
	fails_with 5 'good.key' "${user[@]}" "$BIN/pagewire-client" "$SPEC" "$M" \
		-o key_file="$TMPDIR/good.key"
	fails_with 5 'only root' "${user[@]}" "$BIN/pagewire" umount "$M"
	fails_with 5 'data directory' "${user[@]}" "$node" --dir "$TMPDIR/a" --listen 127.0.0.1:0
	# a user sees the mount, and is told why he sees no more
	"${user[@]}" "$BIN/pagewire" status >"$OUT" 2>&1 || fail "status of a user: $(cat "$OUT")"
	grep -q "mount $M .*unknown" "$OUT" || fail "status of a user: $(cat "$OUT")"
	is_mounted "$M" || fail "a user unmounted it"
	stop_client c
fi

# after all this the node is as it was
"$BIN/pagewire" status -q --node "$TMPDIR/a" || fail "the node is not well"
stop_node a
