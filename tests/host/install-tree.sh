#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# timeout: 120
#
# What "meson install" puts where: all of it and nothing else, and it can be used from there: a
# program compiles by pkg-config and runs, the library to preload loads, Python finds its module,
# man(1) each page, units name programs that are there.
. "$(dirname "$0")/../lib/functions.sh"
requires meson gcc pkg-config man jq python3

DEST=$TMPDIR/dest
meson install -C "$PW_BUILD" --no-rebuild --destdir "$DEST" >"$TMPDIR/install.log" 2>&1 ||
	fail "$(cat "$TMPDIR/install.log")"

option() {
	jq -r --arg name "$1" '.[] | select(.name == $name).value' "$TMPDIR/options.json"
}
meson introspect --buildoptions "$PW_BUILD" >"$TMPDIR/options.json"
PREFIX=$(option prefix)
ROOT=$DEST$PREFIX
LIB=$ROOT/$(option libdir)
MAN=$ROOT/$(option mandir)
MAP=$PW_SOURCE/libpagewire/libpagewire.map
PYTHON=$(dirname "$(find "$DEST" -name pagewire.py)")

# all of it, and nothing else
(
	cd "$ROOT" || exit
	find . ! -type d | sed -e "s,^\./,," -e "s,^$(option libdir)/,LIB/," \
		-e 's,^lib/python.*/pagewire.py,PYTHON/pagewire.py,' | LC_ALL=C sort
) >"$TMPDIR/is"
version=$(meson introspect --projectinfo "$PW_BUILD" | jq -r .version)
LC_ALL=C sort >"$TMPDIR/wanted" <<-FILES
	LIB/libpagewire-alloc.so
	LIB/libpagewire.so
	LIB/libpagewire.so.0
	LIB/libpagewire.so.$version
	LIB/pkgconfig/libpagewire.pc
	PYTHON/pagewire.py
	bin/pagewire
	bin/pagewire-client
	bin/pagewire-node
	include/pagewire.h
	lib/systemd/system/pagewire-node.service
	lib/systemd/system/pagewire@.service
	lib/sysusers.d/pagewire.conf
	sbin/mount.pagewire
	share/doc/pagewire/LICENSE
	share/doc/pagewire/README.md
	share/doc/pagewire/examples/gpu_copy.c
	share/doc/pagewire/examples/pagewire.conf.example
	share/man/man1/pagewire.1
	share/man/man3/libpagewire.3
	$(sed -n 's,^.*\(pw_[a-z_]*\);,share/man/man3/\1.3,p' "$MAP")
	share/man/man5/pagewire.conf.5
	share/man/man7/libpagewire-alloc.7
	share/man/man8/mount.pagewire.8
	share/man/man8/pagewire-client.8
	share/man/man8/pagewire-node.8
FILES
diff "$TMPDIR/wanted" "$TMPDIR/is" || fail "< is missing, > is not known to this test"

# a program: with the flags that pkg-config says
cat >"$TMPDIR/prog.c" <<-'C'
	#include <pagewire.h>
	#include <stdio.h>
	int main(int argc, char **argv)
	{
		struct pw_info info = { .size = sizeof(info) };
		pw_region_t *r;
		pw_t *pw;

		if (argc != 2 || pw_open(&pw, argv[1], PW_OPTIONAL) || pw_alloc(pw, 4096, 0, &r) ||
		    pw_get_info(pw, &info))
			return 1;
		printf("version %u\n", info.version);
		pw_close(pw);
		return 0;
	}
C
export PKG_CONFIG_SYSROOT_DIR=$DEST PKG_CONFIG_PATH=$LIB/pkgconfig
same "$version" "$(pkg-config --modversion libpagewire)" "version by pkg-config"
read -ra cflags <<<"$(pkg-config --cflags libpagewire)"
read -ra libs <<<"$(pkg-config --libs libpagewire)"
gcc -Wall -Wextra -Werror "${cflags[@]}" "$TMPDIR/prog.c" -o "$TMPDIR/prog" "${libs[@]}"
same "version 0" "$(LD_LIBRARY_PATH=$LIB "$TMPDIR/prog" "$TMPDIR")" "the program"

# the library to preload, by its name alone
LD_LIBRARY_PATH=$LIB LD_PRELOAD=libpagewire-alloc.so PAGEWIRE_ALLOC_VERBOSE=1 \
	/usr/bin/python3 -c 'print(len(bytearray(2 << 20)))' >"$TMPDIR/preloaded" 2>&1
grep -q '1 blocks of 2 MiB, 0 not served' "$TMPDIR/preloaded" ||
	fail "the allocator was not in a program: $(cat "$TMPDIR/preloaded")"

# the module and the library find each other
same memory "$(cd / && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PYTHON LD_LIBRARY_PATH=$LIB \
	/usr/bin/python3 - "$TMPDIR" <<-'PY'
		import sys, pagewire
		with pagewire.open(sys.argv[1], optional=True) as mount, mount.alloc(4096) as buf:
		    buf[:6] = b'memory'
		    print(bytes(buf[:6]).decode())
	PY
)" "what Python has written"

# manual pages: by the names of programs and functions, and none refers to one that is not there
while read -r page; do
	[ -r "$(man -w -M "$MAN" "$page")" ] || fail "no page of $page"
done <<-PAGES
	pagewire
	pagewire-client
	pagewire-node
	mount.pagewire
	pagewire.conf
	libpagewire
	libpagewire-alloc
	pw_open
	pw_pwrite
PAGES
grep -hoE '^\.Xr (lib|mount\.)?pagewire[a-z.-]* [1-8]' "$MAN"/man*/* | sort -u >"$TMPDIR/refs"
[ -s "$TMPDIR/refs" ] || fail "no page refers to another"
while read -r _ name section; do
	man -w -M "$MAN" "$section" "$name" >/dev/null || fail "no page $name($section)"
done <"$TMPDIR/refs"

# units, with the paths of this prefix
grep -hoE '^ExecStart=[^ ]+' "$ROOT"/lib/systemd/system/* >"$TMPDIR/programs"
same 2 "$(wc -l <"$TMPDIR/programs")" "units"
while IFS='=' read -r _ program; do
	[ -x "$DEST$program" ] || fail "$program, which a unit starts, is not there"
done <"$TMPDIR/programs"
"$ROOT/bin/pagewire" config check "$ROOT/share/doc/pagewire/examples/pagewire.conf.example"
