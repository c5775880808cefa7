#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/vm/run around a QEMU that takes no time: KVM is used when a trial boot succeeds, tried once,
# and not waited for when it hangs; statuses, complaints and mistakes come out as it says.
. "$(dirname "$0")/../lib/functions.sh"

[ "$(uname -m)" = x86_64 ] || skip "only x86-64 is configured"
RUN=$PW_SOURCE/tests/vm/run
export XDG_CACHE_HOME=$TMPDIR/cache
unset PW_VM_ACCEL
mkdir "$TMPDIR/bin"
echo kernel >"$TMPDIR/bzImage"
# It boots as FAKE_KVM and FAKE_TCG say: ok, or any command instead.
cat >"$TMPDIR/bin/qemu-system-x86_64" <<'QEMU'
#!/bin/bash
accel=tcg
for word; do
	case $word in
	kvm) accel=kvm ;;
	file,id=stdout,*) out=${word#*path=} out=${out%%,*} ;;
	file,id=status,*) status=${word#*path=} status=${status%%,*} ;;
	file,id=console,*) console=${word#*path=} console=${console%%,*} ;;
	esac
done
echo "$accel" >>"$FAKE_BOOTS"
how=FAKE_${accel^^}
[ "${!how:-ok}" = ok ] || eval "exec ${!how}"
echo "by $accel: $(cat "${status%/*}/command")" >"$out"
echo "${FAKE_COMPLAINT:-}" >>"$console"
echo "${FAKE_STATUS:-0}" >"$status"
QEMU
chmod +x "$TMPDIR/bin/qemu-system-x86_64"
PATH=$TMPDIR/bin:$PATH
export FAKE_BOOTS=$TMPDIR/boots
export PW_VM_KVM=$TMPDIR/kvm

# runs STATUS OUTPUT BOOTS ARG...: how it ends, what it prints, which boots that took
runs() {
	local rc=0 out
	: >"$FAKE_BOOTS"
	out=$("$RUN" --kernel "$TMPDIR/bzImage" "${@:4}" 2>"$TMPDIR/said.txt") || rc=$?
	same "$1" "$rc" "status of ${*:4}: $(cat "$TMPDIR/said.txt")"
	same "$2" "$out" "output of ${*:4}"
	same "$3" "$(xargs <"$FAKE_BOOTS")" "boots of ${*:4}"
}
says() {
	grep -q -- "$1" "$TMPDIR/said.txt" || fail "does not say '$1': $(cat "$TMPDIR/said.txt")"
}

# no KVM
runs 0 "by tcg: true" "tcg" true
says "no $TMPDIR/kvm to use here"
# one that boots nothing, and is not tried again
: >"$PW_VM_KVM"
FAKE_KVM=false runs 0 "by tcg: true" "kvm tcg" true
says "did not boot a kernel"
runs 0 "by tcg: uname -r" "tcg" 'uname -r'
# this machine has booted again: it works now
echo "another-boot tcg" >"$XDG_CACHE_HOME/pagewire/kvm-verdict"
runs 0 "by kvm: true" "kvm kvm" true
runs 0 "by kvm: true" "kvm" true
PW_VM_ACCEL=tcg runs 0 "by tcg: true" "tcg" true
# one that hangs: the trial has a limit
rm "$XDG_CACHE_HOME/pagewire/kvm-verdict"
FAKE_KVM='sleep 100' PW_VM_TRIAL_S=1 runs 0 "by tcg: true" "kvm tcg" true
says "did not boot a kernel"

# how it ends
export PW_VM_ACCEL=tcg
FAKE_STATUS=7 runs 7 "by tcg: false" "tcg" false
FAKE_COMPLAINT="[    1.000001] BUG: something" runs 123 "by tcg: true" "tcg" true
says "the kernel complained"
FAKE_TCG='sleep 100' runs 124 "" "tcg" --timeout 1 true
says "did not end in 1 s"
FAKE_TCG='false' runs 125 "" "tcg" true
says "ended without a status"
runs 125 "" "" --timeout soon true
says "is a number of seconds"
runs 125 "" "" --share "$TMPDIR/none" true
says "there is no folder"
runs 125 "" ""
says "no command given"
PW_VM_ACCEL=xen runs 125 "" "" true
says "is kvm or tcg"
