#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The guest's kernel is ours and has what the other tests stand on; each thing is used, not only
# looked up.
. "$(dirname "$0")/../lib/functions.sh"
requires root /dev/fuse

case $(uname -r) in
7.3.*-pagewire) ;;
*) fail "this is kernel $(uname -r)" ;;
esac

# FUSE over io_uring can be switched on, and off again
for value in Y N; do
	echo $value >"$RING_SWITCH"
	same $value "$(cat "$RING_SWITCH")" "$RING_SWITCH"
done

# a device of each provider
ip link add pwdummy type dummy
cleanup_fn ip link del pwdummy
for provider in rxe siw; do
	name=$("$PW_SOURCE/deploy/softroce.sh" up pwdummy --provider $provider)
	rdma link show "$name/1" | grep -q "netdev pwdummy" || fail "no $provider device"
	ibv_devinfo -d "$name" >"$TMPDIR/$provider.txt" || fail "verbs do not find $name"
	# a second time changes nothing
	same "$name" "$("$PW_SOURCE/deploy/softroce.sh" up pwdummy --provider $provider)"
	"$PW_SOURCE/deploy/softroce.sh" down pwdummy --provider $provider
	fails rdma link show "$name/1"
	"$PW_SOURCE/deploy/softroce.sh" down pwdummy --provider $provider
done

# kernel probes
probe=/sys/kernel/tracing/kprobe_events
echo 'p:pagewire/probe fuse_request_end' >>$probe
cleanup_fn eval "echo '-:pagewire/probe' >>$probe"
[ -e /sys/kernel/tracing/events/pagewire/probe/enable ] || fail "no kernel probe"

# dma-buf out of a memfd, huge pages
[ -c /dev/udmabuf ] || fail "no udmabuf"
/usr/bin/python3 - <<'PY' || fail "no huge pages"
import mmap, os
with open('/proc/sys/vm/nr_hugepages', 'w') as f:
    f.write('4')
fd = os.memfd_create('huge', os.MFD_HUGETLB)
os.ftruncate(fd, 4 << 20)
mmap.mmap(fd, 4 << 20)[0:4] = b'huge'
PY
echo 0 >/proc/sys/vm/nr_hugepages

# filesystems, device mapper, shaped networks
for fs in ext4 xfs overlay tmpfs; do
	grep -qw "$fs" /proc/filesystems || fail "no $fs"
done
truncate -s 16M "$TMPDIR/image"
mkfs.ext4 -q "$TMPDIR/image"
mkdir "$TMPDIR/loop"
mount -o loop "$TMPDIR/image" "$TMPDIR/loop" || fail "no mount -o loop"
cleanup_fn umount "$TMPDIR/loop"
grep -q device-mapper /proc/misc || fail "no device mapper"
requires netns
ip netns add pw-features
cleanup_fn ip netns del pw-features
ip netns exec pw-features tc qdisc add dev lo root netem loss 1% || fail "no netem"
[ -c /dev/net/tun ] || fail "no tun"
[ -b /dev/loop0 ] || [ -c /dev/loop-control ] || fail "no loop devices"
