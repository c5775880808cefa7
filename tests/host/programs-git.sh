#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 400
#
# git on the mount: many small files, locks by O_EXCL, renames over, mapped packs, its checksums.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse git

export HOME=$TMPDIR GIT_CONFIG_NOSYSTEM=1
git config --global user.name tester
git config --global user.email tester@example
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global gc.auto 0

# a history to clone: sources of this project, some commits over them
mkdir "$TMPDIR/origin"
cp -r "$PW_SOURCE/common" "$TMPDIR/origin"
[ -n "${PW_SCALE:-}" ] || cp -r "$PW_SOURCE/client_fs" "$PW_SOURCE/storage_node" "$TMPDIR/origin"
git -C "$TMPDIR/origin" init -q
git -C "$TMPDIR/origin" add -A
git -C "$TMPDIR/origin" commit -q -m first
COMMITS=$(scaled 20 12)
for ((i = 1; i <= COMMITS; i++)); do
	echo "/* $i */" | tee -a "$TMPDIR"/origin/common/*.c >/dev/null
	git -C "$TMPDIR/origin" commit -q -a -m "change $i"
done

clean() { # DIR
	same "" "$(git -C "$1" status --porcelain)" "git status in $1"
	git -C "$1" fsck --full --strict >"$TMPDIR/$path.fsck" 2>&1 ||
		fail "fsck: $(cat "$TMPDIR/$path.fsck")"
}
git_on() { # PATH MOUNT
	local repo=$2/$1 path=$1 i
	git clone -q --no-local "file://$TMPDIR/origin" "$repo"
	clean "$repo"
	git -C "$repo" checkout -q -b side HEAD~10
	git -C "$repo" mv common/err.c common/moved.c
	echo new >"$repo/new"
	git -C "$repo" add -A
	git -C "$repo" commit -q -m moved
	git -C "$repo" merge -q -m merged main
	git -C "$repo" log --stat >"$TMPDIR/$1.log"
	git -C "$repo" gc -q --prune=now
	clean "$repo"
	for i in main side HEAD~3 side; do
		git -C "$repo" checkout -q "$i"
	done
	# from one mount to the same one, with links of the objects
	git clone -q "$repo" "$repo-2"
	clean "$repo-2"
	diff -r --exclude=.git "$repo" "$repo-2"
	git -C "$repo-2" worktree add -q "$repo-3" main
	diff -r --exclude=.git "$TMPDIR/origin" "$repo-3"
	git -C "$repo-2" stash list
	echo lost >"$repo-2/new"
	git -C "$repo-2" stash -q
	git -C "$repo-2" stash pop -q
	same lost "$(cat "$repo-2/new")" "stashed"
	rm -rf "$repo-3" "$repo-2"
	[ ! -e "$repo-2" ] || fail "rm -rf has left something"
}

start_node a durability=interval:500
mount_paths
each_path git_on
unmount_paths
stop_node a
start_node a
mount_paths_with cache=none
for path in "${PATHS[@]}"; do
	clean "${MNT[$path]}/$path"
done
unmount_paths
stop_node a
