#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
#
# Everyday tools on the mount: copying trees, archives, a build, text in place, direct I/O, maps.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse

# a tree with a bit of everything
TREE=$TMPDIR/tree
mkdir "$TREE"
cp -r "$PW_SOURCE/deploy" "$TREE/common"
make_file "$TREE/large" "$(scaled 3000001 1100001)"
truncate -s "$(scaled 50000000)" "$TREE/sparse"
printf 'end' >>"$TREE/sparse"
ln "$TREE/large" "$TREE/second-name"
ln -s large "$TREE/link"
ln -s ../nowhere "$TREE/dangling"
mkfifo "$TREE/pipe"
mkdir -p "$TREE/a/b/c/$(printf 'n%.0s' {1..255})" "$TREE/empty"
echo odd >"$TREE/a/ leading, and
a line"
chmod 4751 "$TREE/common/quickstart"
chmod 700 "$TREE/a/b"
chown -h 54321:54400 "$TREE/link" "$TREE/common/quickstart"
chmod 4751 "$TREE/common/quickstart"
touch -d '1999-12-31 23:59:59.123456789' "$TREE/empty" "$TREE/common"
touch -h -d '2001-01-01 00:00:00.5' "$TREE/link"

# what ls would say of a tree: names, types, modes, owners, sizes, times of files, link counts
listing() { # DIR
	(cd "$1" && find . -printf '%P|%y|%m|%U:%G|%n|%l|' \( -type d -printf '\n' \
		-o -printf '%s|%t\n' \) | sort)
}
listing "$TREE" >"$TMPDIR/wanted"
as_wanted() { # DIR WHAT
	listing "$1" >"$TMPDIR/$path.got"
	diff "$TMPDIR/wanted" "$TMPDIR/$path.got" || fail "$2: another tree"
	diff -r --no-dereference --exclude=pipe "$TREE" "$1" || fail "$2: other contents"
}

copies() { # MOUNT
	cp -a "$TREE" "$1/cp"
	as_wanted "$1/cp" "cp -a"
	[ "$(du -k "$1/cp/sparse" | cut -f 1)" -lt 1000 ] || fail "cp -a fills holes"
	tar -C "$TREE" --format=posix --sparse -cf "$1/all.tar" .
	mkdir "$1/tar"
	tar -C "$1/tar" -xpf "$1/all.tar"
	as_wanted "$1/tar" "tar"
	tar -C "$1/tar" -df "$1/all.tar"
	tar -C "$1/tar" -czf - . | tar -tzf - >"$1/list"
	same "$(find "$TREE" -printf x | wc -c)" "$(wc -l <"$1/list")" "names in the archive"
	mv "$1/tar" "$1/moved"
	as_wanted "$1/moved" "mv"
	# to another filesystem and back
	mv "$1/moved" "$TMPDIR/$path-away"
	as_wanted "$TMPDIR/$path-away" "mv away"
	mv "$TMPDIR/$path-away" "$1/back"
	as_wanted "$1/back" "mv back"
	if command -v rsync >/dev/null; then
		rsync -aHS --delete "$TREE/" "$1/rsync/"
		as_wanted "$1/rsync" "rsync"
		echo more >>"$1/rsync/a/b/more"
		rsync -aHS --delete --inplace "$TREE/" "$1/rsync/"
		same "" "$(rsync -aHSni --checksum --delete "$TREE/" "$1/rsync/")" "left by rsync"
		as_wanted "$1/rsync" "rsync --inplace"
	fi
}

text() { # MOUNT
	local d=$1/text n ones
	local -a writers=()
	n=$(scaled 100000 10000) # a power of ten
	ones=$(((n - 1) / 9 + 1))
	mkdir "$d"
	seq "$n" >"$d/numbers"
	sed -i 's/^1/one/' "$d/numbers"
	sort -T "$d" -S 1M "$d/numbers" >"$d/sorted"
	sort -T "$d" -S 1M -o "$d/sorted" -u "$d/sorted" "$d/sorted"
	seq "$n" | sed 's/^1/one/' | sort -u | cmp - "$d/sorted"
	split -l 777 "$d/sorted" "$d/part-"
	cat "$d"/part-* | cmp - "$d/sorted"
	gzip -k "$d/sorted"
	gzip -dc "$d/sorted.gz" | cmp - "$d/sorted"
	grep -c one "$d/sorted" >"$d/count"
	same "$ones" "$(cat "$d/count")" "lines with one"
	# four shells append, nothing is lost and nothing is torn
	for i in {1..4}; do
		(for j in {1..40}; do echo "writer $i line $j" >>"$d/log"; done) &
		writers[i]=$!
	done
	for i in {1..4}; do wait "${writers[i]}"; done
	same 160 "$(grep -cE '^writer [0-9]+ line [0-9]+$' "$d/log")" "lines"
	same 160 "$(sort -u "$d/log" | wc -l)" "different lines"
	cp /bin/sleep "$d/program"
	"$d/program" 0
	install -m 4755 -o 54321 "$d/program" "$d/installed"
	same 4755:54321 "$(stat -c %a:%u "$d/installed")" "installed"
	flock "$d/lock" -c "flock -n '$d/lock' true && exit 1; exit 0"
	# as a log is rotated, under a writer
	mv "$d/log" "$d/log.1"
	[ ! -e "$d/log" ] || fail "mv has left it"
	same 160 "$(wc -l <"$d/log.1")" "rotated"
	rm -rf "$d"
}

direct() { # MOUNT
	make_file "$TMPDIR/$path.data" $((5 << 20)) 7
	dd if="$TMPDIR/$path.data" of="$1/direct" bs=64k oflag=direct status=none
	cmp "$1/direct" "$TMPDIR/$path.data"
	dd if="$1/direct" bs=1M iflag=direct status=none | cmp - "$TMPDIR/$path.data"
	# pieces in any order, through both doors
	for i in 7 3 5 1 6 0 2 4; do
		dd if="$TMPDIR/$path.data" of="$1/pieces" bs=655360 skip="$i" seek="$i" count=1 \
			conv=notrunc oflag="$([ $((i % 2)) = 0 ] || echo direct,)dsync" status=none
	done
	cmp "$1/pieces" "$TMPDIR/$path.data"
	dd if="$1/direct" of="$1/copy" bs=1M iflag=direct oflag=direct conv=fsync status=none
	cmp "$1/copy" "$TMPDIR/$path.data"
	if command -v fallocate >/dev/null; then # what is not there says so
		fails fallocate -l 1M "$1/direct"
		grep -qi 'not supported' "$TMPDIR/fails.txt" || fail "$(cat "$TMPDIR/fails.txt")"
	fi
	/usr/bin/python3 "$HERE/maps.py" "$1/map"
}

build() { # MOUNT
	local d=$1/build i n sum
	n=$(scaled 8 2)
	sum=$((n * (n + 1) / 2))
	mkdir "$d"
	for ((i = 1; i <= n; i++)); do
		echo "#include \"all.h\"" >"$d/f$i.c"
		echo "int f$i(int x) { return x + $i; }" >>"$d/f$i.c"
		echo "int f$i(int x);" >>"$d/all.h"
	done
	{
		echo '#include <stdio.h>'
		echo '#include "all.h"'
		echo 'int main(void) { int x = 0;'
		for ((i = 1; i <= n; i++)); do echo "x = f$i(x);"; done
		printf '%s\n' 'printf("%d", x); return 0; }'
	} >"$d/main.c"
	cat >"$d/Makefile" <<'MAKE'
OBJS = $(patsubst %.c,%.o,$(wildcard *.c))
prog: liball.a main.o
	$(CC) -o $@ main.o liball.a
liball.a: $(filter-out main.o,$(OBJS))
	ar rcs $@ $^
%.o: %.c all.h
	$(CC) -g -O1 -c -o $@ $<
MAKE
	make -C "$d" -j2 -s
	same "$sum" "$("$d/prog")" "what was built"
	# nothing to do; then a header changes
	same "" "$(make -C "$d" -j2 -s)" "a second make"
	make -C "$d" -q prog || fail "make would build again"
	echo '/* changed */' >>"$d/all.h"
	! make -C "$d" -q prog || fail "make has not seen the change"
	make -C "$d" -j2 -s
	same "$sum" "$("$d/prog")" "what was built again"
}

tools_on() { # PATH MOUNT
	local path=$1
	mkdir "$2/$1"
	copies "$2/$1"
	text "$2/$1"
	direct "$2/$1"
	if command -v "${CC:-cc}" >/dev/null && command -v make >/dev/null; then
		build "$2/$1"
	fi
	rm -rf "${2:?}/$1"
	[ ! -e "$2/$1" ] || fail "rm -rf has left something"
}

start_node a durability=interval:500
mount_paths
each_path tools_on
unmount_paths
stop_node a
