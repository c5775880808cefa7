#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 180
#
# The FUSE ring of Linux 7.3 keeps the payloads of a queue in a pool: any entry may get any buffer
# (unless the kernel finds registered regions: then each entry has its own).
# Requests of all sizes at once, more than a queue has entries, and contents that are compared.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/../host/lib/mounts.sh"
requires root ring /dev/fuse fio

ring_switch on
start_node n store=memory memory=512MiB
start_client c "$TMPDIR/mnt" io_uring=on,queue_depth=8,zc=off
same bufpool "$(client_says c status fuse form)" "form of the ring"
same 8 "$(client_says c status fuse depth)" "depth of a queue"
same "$(getconf _NPROCESSORS_CONF)" "$(client_says c status fuse queues)" "queues"

# fio fills blocks with a pattern of their offset, and compares each one that it reads
for engine in "io_uring --iodepth=16" "psync --fsync=16"; do
	# shellcheck disable=SC2086
	fio --name=v --directory="$TMPDIR/mnt" --size=4M --numjobs=2 --rw=randrw --bsrange=4k-1m \
		--direct=1 --verify=crc32c --verify_fatal=1 --group_reporting --unlink=1 \
		--output="$TMPDIR/fio.log" --ioengine=$engine || {
		tail -n 20 "$TMPDIR/fio.log"
		fail "fio ($engine) found something"
	}
done
# names and attributes at the same time as data: requests with a small payload, and without one
for i in {1..3}; do
	(
		mkdir "$TMPDIR/mnt/d$i"
		for n in {1..20}; do
			head -c $((n * 1000)) /dev/zero >"$TMPDIR/mnt/d$i/a-longer-name-$n"
			mv "$TMPDIR/mnt/d$i/a-longer-name-$n" "$TMPDIR/mnt/d$i/$n"
			same $((n * 1000)) "$(stat -c %s "$TMPDIR/mnt/d$i/$n")" "size of $i/$n"
		done
	) &
	jobs[i]=$!
	cleanup_fn _end_pid "$!"
done
for i in {1..3}; do
	wait "${jobs[i]}" || fail "job $i ended with $?"
	same 20 "$(find "$TMPDIR/mnt/d$i" -type f | wc -l)" "files of job $i"
done

same 0 "$(client_says c status fuse entries_lost)" "entries lost"
[ "$(client_says c stats paths pool requests)" -gt 0 ] || fail "nothing went over the ring"
stop_client c
stop_node n
