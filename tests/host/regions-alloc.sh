#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 600
#
# libpagewire-alloc.so under programs that know nothing of it: their data stays right, on a mount
# and off it, through fork, threads, limits and the end; on a mount their big blocks are registered.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse jq git sqlite3 gcc fio
# the programs are as they are for users, also when the daemons are of the ASan build
ALLOC=$PW_BUILD/libpagewire/libpagewire-alloc.so
BIG=$PW_BUILD/tests/host/lib/bigblocks
CASES=(family realloc madvise fork threads closed direct ends)

# run COMMAND...: under the library
run() {
	LD_PRELOAD=$ALLOC "$@"
}

# programs DIR: what people run
programs() {
	local d=$1
	make_file "$d/in" $((9 << 20))
	run dd if="$d/in" of="$d/out" bs=2M iflag=direct oflag=direct conv=notrunc status=none
	truncate -s $((9 << 20)) "$d/out"
	cmp "$d/in" "$d/out"
	run /usr/bin/python3 - "$d" <<-'PY'
		import hashlib, multiprocessing, os, subprocess, sys, zlib
		data = open(sys.argv[1] + '/in', 'rb').read() * 2
		want = hashlib.sha256(data).digest()
		def work(n):
		    more = bytearray(3 << 20)
		    more[n] = n + 1
		    return hashlib.sha256(data).digest(), sum(more)
		with multiprocessing.get_context('fork').Pool(2) as pool:
		    for n, got in enumerate(pool.map(work, range(6))):
		        assert got == (want, n + 1), n
		assert zlib.decompress(zlib.compress(data, 1)) == data
		out = subprocess.run(['cat'], input=data, stdout=subprocess.PIPE,
		                     preexec_fn=lambda: None).stdout
		assert out == data
	PY
	run sqlite3 "$d/db" 'pragma cache_size=-4000;
		create table t(a integer primary key, b);
		with recursive n(i) as (select 1 union all select i + 1 from n where i < 30)
		insert into t select i, zeroblob(i * 40000) from n;
		delete from t where a % 3 = 0; vacuum;' >/dev/null
	same "ok 12000000" "$(sqlite3 "$d/db" 'pragma integrity_check;' |
		paste -sd ' ') $(sqlite3 "$d/db" 'select sum(length(b)) from t;')" "the database"
	git init -q "$d/repo"
	cp "$d/in" "$d/repo/"
	head -c 3000000 "$d/in" >"$d/repo/part"
	run git -C "$d/repo" add in part
	run git -C "$d/repo" -c user.name=a -c user.email=a@example.com commit -qm one
	run git -C "$d/repo" gc -q
	git -C "$d/repo" fsck --strict >"$TMPDIR/fsck.txt" 2>&1 || fail "$(cat "$TMPDIR/fsck.txt")"
	same "" "$(git -C "$d/repo" status --porcelain)" "what git finds changed"
	printf '#include <stdio.h>\n#define A 1, 2, 3, 4, 5, 6, 7, 8,\n' >"$d/p.c"
	printf 'int a[] = { %s };\nint main(void) { printf("%%zu\\n", sizeof(a)); }\n' \
		"$(printf '%.0sA ' {1..4000})" >>"$d/p.c"
	(cd "$d" && gcc -O1 -c p.c -o want.o && run gcc -O1 -c p.c -o p.o && cmp p.o want.o)
	for job in "" --thread; do
		run fio --name=j --directory="$d" --size=4M --bs=1M --rw=randrw --direct=1 \
			--verify=crc32c --verify_fatal=1 --verify_state_save=0 \
			--numjobs=2 --group_reporting \
			--output="$TMPDIR/fio.txt" $job || fail "$(cat "$TMPDIR/fio.txt")"
	done
	rm -rf --one-file-system "${d:?}"/*
}

mkdir "$TMPDIR/plain"
# off a mount, silent
run "$BIG" "$TMPDIR/plain" "${CASES[@]}" 2>"$TMPDIR/said.txt"
same 1 "$(wc -l <"$TMPDIR/said.txt")" "lines said without being asked"
grep -q 'free() of 0x' "$TMPDIR/said.txt" || fail "$(cat "$TMPDIR/said.txt")"
PAGEWIRE_ALLOC_MIN=64K programs "$TMPDIR/plain"

# limits: other memory then, and no failure
small() {
	run "$BIG" "$TMPDIR/plain" "$@" >"$TMPDIR/small.txt" 2>"$TMPDIR/said.txt"
	head -1 "$TMPDIR/small.txt"
}
same "20 blocks" "$(small small)" "of 2 MiB"
same "4 blocks" "$(PAGEWIRE_ALLOC_TOTAL=8M small small)" "with 8 MiB for all"
same "0 blocks" "$(PAGEWIRE_ALLOC_MIN=4MiB small small)" "with larger ones only"
same "0 blocks" "$(ulimit -v 400000 && PAGEWIRE_ALLOC_TOTAL=1G small small)" "without addresses"
same "0 blocks" "$(small file-limit)" "where files are short"
same "20 blocks" "$(PAGEWIRE_ALLOC_MIN=lots small small)" "with a value that is wrong"
grep -q 'PAGEWIRE_ALLOC_MIN=lots: not a size' "$TMPDIR/said.txt" || fail "it does not say so"
# a program without big blocks has nothing of it
run cat /proc/self/maps >"$TMPDIR/maps.txt"
grep -q libpagewire-alloc "$TMPDIR/maps.txt" || fail "not preloaded"
! grep -q memfd: "$TMPDIR/maps.txt" || fail "memory for a program without big blocks"
same "$(ls /proc/self/fd)" "$(run ls /proc/self/fd)" "descriptors"

# what libpagewire-alloc(7) says is served, and what is not
served() {
	PAGEWIRE_ALLOC_VERBOSE=1 run "$@" >"$TMPDIR/said.txt" 2>&1
	sed -n 's/^.*: \([0-9]*\) blocks of.*$/\1/p' "$TMPDIR/said.txt"
}
PYTHON=(/usr/bin/python3 -c)
same 1 "$(served "${PYTHON[@]}" 'b = bytearray(4 << 20)')" "a bytearray"
same 1 "$(served "${PYTHON[@]}" 'import ctypes; b = (ctypes.c_char * (2 << 20))()')" "ctypes"
same "" "$(served "${PYTHON[@]}" 'import mmap; m = mmap.mmap(-1, 64 << 20); m[0] = 1')" "mmap"
if /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
	same 2 "$(served "${PYTHON[@]}" 'import numpy
a, b = numpy.ones(4 << 20, dtype="u1"), numpy.zeros(4 << 20, dtype="u1")')" "arrays of numpy"
fi
printf '#include <stdlib.h>\nint main(void) { return !calloc(4, 1 << 20); }\n' >"$TMPDIR/p.c"
gcc -o "$TMPDIR/dynamic" "$TMPDIR/p.c"
same 1 "$(served "$TMPDIR/dynamic")" "a program in C"
gcc -static -o "$TMPDIR/static" "$TMPDIR/p.c"
same "" "$(served "$TMPDIR/static")" "a static program"

start_node a store=memory memory=512MiB
mount_paths
for path in "${PATHS[@]}"; do
	# by itself, where that is worth something
	PAGEWIRE_ALLOC_VERBOSE=1 run "$BIG" "${MNT[$path]}" direct 2>"$TMPDIR/said.txt"
	if [ "$(client_says "$path" stats regions in_kernel)" = true ]; then
		grep -q '16 MiB registered' "$TMPDIR/said.txt" || fail "$(cat "$TMPDIR/said.txt")"
		hits=$(client_says "$path" stats regions hits)
		[ "$hits" -ge 24 ] || fail "only $hits hits over $path"
	else
		grep -q 'nothing is registered: this kernel' "$TMPDIR/said.txt" ||
			fail "$(cat "$TMPDIR/said.txt")"
	fi
	# with a mount that was asked for: registered in any case
	export PAGEWIRE_ALLOC_MOUNT=${MNT[$path]}
	PAGEWIRE_ALLOC_VERBOSE=1 run "$BIG" "${MNT[$path]}" direct 2>"$TMPDIR/said.txt"
	same 2 "$(grep -c ' 16 MiB registered$' "$TMPDIR/said.txt")" "processes with a chunk"
	run "$BIG" "${MNT[$path]}" "${CASES[@]}" 2>"$TMPDIR/said.txt"
	PAGEWIRE_ALLOC_MIN=64K programs "${MNT[$path]}"
	unset PAGEWIRE_ALLOC_MOUNT
	wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
	wait_for 10 "! ls -l /proc/${CLIENT_PID[$path]}/fd | grep -q memfd:pagewire-alloc"
done

# who has it
path=${PATHS[0]}
coproc HOLD {
	PAGEWIRE_ALLOC_MOUNT=${MNT[$path]} LD_PRELOAD=$ALLOC exec /usr/bin/python3 -c \
		'b = bytearray(4 << 20); print("holding", flush=True); input()'
}
holder=$HOLD_PID
cleanup_fn stop_pid "$holder"
read -r line <&"${HOLD[0]}"
same holding "$line" "what the holder says"
"$BIN/pagewire" buffers --json "${MNT[$path]}" >"$TMPDIR/buffers.json"
same "$holder live 16777216" "$(jq -r '.mounts[0].regions[0] | "\(.pid) \(.state) \(.bytes)"' \
	"$TMPDIR/buffers.json")" "the region"
stop_pid "$holder" KILL || true
wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
unmount_paths

# a mount that is not there any more is no reason to fail
PAGEWIRE_ALLOC_MOUNT=$TMPDIR/nowhere PAGEWIRE_ALLOC_VERBOSE=1 run "$BIG" "$TMPDIR/plain" family \
	2>"$TMPDIR/said.txt"
grep -q "nothing is registered: $TMPDIR/nowhere: No such file" "$TMPDIR/said.txt" ||
	fail "$(cat "$TMPDIR/said.txt")"
