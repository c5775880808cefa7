#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# The Python module, and the programs of libpagewire(3), on a mount and off it: the right bytes
# move, nobody copies those of pread() and pwrite(), "pagewire buffers" knows whose memory it is.
. "$(dirname "$0")/../lib/functions.sh"
. "$(dirname "$0")/lib/mounts.sh"
requires root /dev/fuse jq meson gcc
# the application is as it is for users, also when the daemons are of the ASan build
export PYTHONPATH=$PW_SOURCE/libpagewire/python LD_LIBRARY_PATH=$PW_BUILD/libpagewire
export PYTHONDONTWRITEBYTECODE=1
BUFFERS=(/usr/bin/python3 "$HERE/buffers.py")
/usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "needs numpy for Python"

# it goes where Python looks
/usr/bin/python3 - "$PW_BUILD" <<-'PY' || fail "meson would install it elsewhere"
	import json, os, site, subprocess, sys
	files = json.loads(subprocess.run(['meson', 'introspect', '--installed', sys.argv[1]],
	                                  stdout=subprocess.PIPE, check=True).stdout)
	to = [v for k, v in files.items() if k.endswith('/pagewire.py')]
	sys.exit([os.path.dirname(f) in site.getsitepackages() for f in to] != [True])
PY

mkdir "$TMPDIR/plain"
"${BUFFERS[@]}" "$TMPDIR/plain"
LD_PRELOAD=$PW_BUILD/tests/host/lib/unmappable.so "${BUFFERS[@]}" "$TMPDIR/plain" unmappable

start_node a store=memory memory=256MiB
mount_paths
export PAGEWIRE_TEST_MOUNT=1
for path in "${PATHS[@]}"; do
	"${BUFFERS[@]}" "${MNT[$path]}"
	moved=$(client_says "$path" stats paths reg written_bytes)
	[ "$moved" -gt $((4 << 20)) ] || fail "only $moved bytes of buffers written over $path"
	# the programs of the manual page; three of them write 3 MiB each with pw_pwrite()
	PW_EXAMPLES_IN=${MNT[$path]} "$PW_SOURCE/tests/static/examples"
	more=$(($(client_says "$path" stats paths reg written_bytes) - moved))
	[ "$more" -gt $((9 << 20)) ] || fail "only $more bytes of examples written over $path"
	wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
	wait_for 10 "! ls -l /proc/${CLIENT_PID[$path]}/fd | grep -q memfd:pagewire-region"
done

path=${PATHS[0]}
coproc HOLD { exec "${BUFFERS[@]}" "${MNT[$path]}" hold; }
holder=$HOLD_PID
cleanup_fn stop_pid "$holder"
read -r line <&"${HOLD[0]}"
same holding "$line" "what the holder says"
"$BIN/pagewire" buffers --json "${MNT[$path]}" >"$TMPDIR/buffers.json"
one=$(jq -r '.mounts[0].regions[0] | "\(.pid) \(.state) \(.bytes) \(.written_bytes)"' \
	"$TMPDIR/buffers.json")
same "$holder live 4194304 1048576" "$one" "the region"
eval "exec ${HOLD[1]}>&-"
wait_for 10 "same 0 \"\$(client_says $path stats regions count)\" regions"
unmount_paths
