#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kernel/build on a source that takes no time: somebody's own tarball, the cache and its key, a
# series that changes or does not apply, an option that does not hold.
. "$(dirname "$0")/../lib/functions.sh"
requires make patch tar xz

[ "$(uname -m)" = x86_64 ] || skip "only x86-64 is configured"
export PW_KERNEL_CACHE=$TMPDIR/cache
# a copy with a series and a configuration of our own; what it needs is there
mkdir -p "$TMPDIR/deploy" "$TMPDIR/kernel"
ln -s /bin/true "$TMPDIR/deploy/install-deps"
cp "$PW_SOURCE/kernel/build" "$TMPDIR/kernel/"
cd "$TMPDIR/kernel" || exit
printf '# none\n' >series
printf 'CONFIG_A=y\nCONFIG_B=n\n' >config
printf 'CONFIG_DEBUG=y\n' >config.debug
printf 'CONFIG_A=y\n' >config.um

# source NAME: a tarball whose "kernel" knows A and DEBUG, and is its own file "text"
source_of() {
	local d=$TMPDIR/$1
	mkdir -p "$d/linux/Documentation/filesystems/fuse"
	touch "$d/linux/Documentation/filesystems/fuse/index.rst" \
		"$d/linux/Documentation/filesystems/ext4"
	printf '%s\n' one two three >"$d/linux/text"
	cat >"$d/linux/Makefile" <<'MAKE'
allnoconfig:
	grep -E '^CONFIG_(A|DEBUG)=' $(KCONFIG_ALLCONFIG) >$(O)/.config
bzImage: $(O)/arch/x86/boot/bzImage
$(O)/arch/x86/boot/bzImage: text
	mkdir -p $(dir $@)
	cp text $@
	echo compiled >>$(O)/System.map
linux:
	echo $(ARCH) >$(O)/linux
olddefconfig:
	! grep -q CONFIG_BROKEN $(O)/.config
	sed -i /CONFIG_NO_URING/,\$$d $(O)/.config
bindeb-pkg:
	{ cat $(O)/.config text; ls Documentation/filesystems; } >linux-image-1.deb
MAKE
	tar -C "$d" -cJf "$TMPDIR/$1.tar.xz" linux
	tar -C "$d" -czf "$TMPDIR/$1.tar.gz" linux
}
# build ARG...: the path of the image; what it said is in $TMPDIR/said.txt
build() {
	./build "$@" 2>"$TMPDIR/said.txt"
}
says() {
	grep -q -- "$1" "$TMPDIR/said.txt" || fail "does not say '$1': $(cat "$TMPDIR/said.txt")"
}
refused() { # TEXT ARG...
	local rc=0
	build "${@:2}" >/dev/null || rc=$?
	same 1 "$rc" "exit code of kernel/build ${*:2}"
	says "$1"
}
source_of mine

image=$(build --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
same "one two three" "$(xargs <"$image")" "what was built"
same "$PW_KERNEL_CACHE/images/$(build --kernel-source "$TMPDIR/mine.tar.xz" --key)/bzImage" \
	"$image" "key of the image"
grep -q '^tarball ' "${image%/*}/source" || fail "it does not keep where the source came from"
# once
same "$image" "$(build --kernel-source "$TMPDIR/mine.tar.xz")" "a second time"
same "" "$(cat "$TMPDIR/said.txt")" "what a second time says"
# as a program, beside the other one
program=$(build --um --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
same um "$(cat "$program")" "what was built for --um"
same "$program" "$(build --um --kernel-source "$TMPDIR/mine.tar.xz")" "--um a second time"
same "$image" "$(build --kernel-source "$TMPDIR/mine.tar.xz")" "the image after --um"
refused '--um does not go with --debug' --um --debug
# other bytes are another source
[ "$(build --kernel-source "$TMPDIR/mine.tar.gz" --key)" != \
	"$(build --kernel-source "$TMPDIR/mine.tar.xz" --key)" ] || fail "one key for two sources"

# a patch: another key; only what it touches is compiled; and back
cat >change.patch <<'PATCH'
--- a/text
+++ b/text
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
PATCH
echo 'change.patch # why' >>series
patched=$(build --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
same "one TWO three" "$(xargs <"$patched")" "with the patch"
same 2 "$(wc -l <"${patched%/*}/System.map")" "compilations with these objects"
! grep -q unpacking "$TMPDIR/said.txt" || fail "it unpacked the source again"
# another patch beside it, which only adds a file: "text" comes out as it was, and is not compiled
cat >another.patch <<'PATCH'
--- /dev/null
+++ b/doc/words
@@ -0,0 +1 @@
+word
PATCH
printf 'another.patch\nchange.patch\n' >series
more=$(build --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
[ "$more" != "$patched" ] || fail "one key for two series"
same word "$(cat "$PW_KERNEL_CACHE/tree/doc/words")" "the file of the patch"
same 2 "$(wc -l <"${more%/*}/System.map")" "compilations after a patch for another file"
printf '# none\n' >series
same "$image" "$(build --kernel-source "$TMPDIR/mine.tar.xz")" "without the patch"
sed -i 's/^ one/ eins/' change.patch
echo change.patch >>series
refused 'change.patch does not apply' --kernel-source "$TMPDIR/mine.tar.xz"
echo other.patch >series
refused 'names other.patch, which is not there' --kernel-source "$TMPDIR/mine.tar.xz"
printf '# none\n' >series
# a patch that does not apply changes nothing: the objects are still of use
echo 'CONFIG_DEBUG=n' >>config
image=$(build --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
same "one two three" "$(xargs <"$image")" "after a patch that did not apply"
! grep -q unpacking "$TMPDIR/said.txt" || fail "it unpacked after a patch that did not apply"
[ ! -e "$PW_KERNEL_CACHE/tree/doc/words" ] || fail "the file of a patch that is gone"

# the configuration has to hold
printf 'CONFIG_A=y\n' >config
debug=$(build --kernel-source "$TMPDIR/mine.tar.xz" --debug) || fail "$(cat "$TMPDIR/said.txt")"
grep -qx CONFIG_DEBUG=y "${debug%/*}/config" || fail "--debug without its configuration"
echo 'CONFIG_UNKNOWN=y' >>config
refused 'did not keep CONFIG_UNKNOWN=y' --kernel-source "$TMPDIR/mine.tar.xz"
refused 'an option is unknown to this kernel' --kernel-source "$TMPDIR/mine.tar.xz"
printf 'CONFIG_A=y\n' >config

# packages: of a whole tree, with the series, configured as it is told
printf 'change.patch\n' >series
sed -i 's/^ eins/ one/' change.patch
printf 'CONFIG_MINE=y\nCONFIG_FUSE_FS=m\n' >running
deb=$(build --kernel-source "$TMPDIR/mine.tar.xz" --deb --config running) ||
	fail "$(cat "$TMPDIR/said.txt")"
for line in CONFIG_MINE=y CONFIG_FUSE_FS=m CONFIG_FUSE_IO_URING=y TWO fuse ext4; do
	grep -qx "$line" "$deb" || fail "no $line in the package: $(cat "$deb")"
done
! grep -q CONFIG_FUSE_FS=y "$deb" || fail "FUSE was a module"
image=$(build --kernel-source "$TMPDIR/mine.tar.xz") || fail "$(cat "$TMPDIR/said.txt")"
! grep -q unpacking "$TMPDIR/said.txt" || fail "packages and images have one tree"
echo CONFIG_BROKEN=y >running
refused 'make olddefconfig failed' --kernel-source "$TMPDIR/mine.tar.xz" --deb --config running
echo CONFIG_NO_URING=y >running
refused 'did not keep CONFIG_FUSE_IO_URING=y' --kernel-source "$TMPDIR/mine.tar.xz" --deb \
	--config running
refused "there is no none" --deb --config none
refused "--config is for --deb" --config running
refused "--deb goes with none" --deb --debug

# what is no source
echo hello >"$TMPDIR/letter"
refused "cannot unpack" --kernel-source "$TMPDIR/letter"
tar -C "$TMPDIR" -czf "$TMPDIR/letter.tar.gz" letter
refused "cannot unpack\|is not a kernel source" --kernel-source "$TMPDIR/letter.tar.gz"
refused "there is no $TMPDIR/none" --kernel-source "$TMPDIR/none"
refused "needs a file" --kernel-source
refused "unknown argument '--frobnicate'" --frobnicate
