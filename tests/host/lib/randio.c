/* SPDX-License-Identifier: Apache-2.0 */
/* randio.c -- random operations on one file, each compared with a copy of the file in memory
 *
 *	randio [-s SEED] [-n OPS] [-l MAX-LENGTH] [-i MAX-IO] [-o OTHER] [-DMT] FILE
 *
 * FILE is written through one buffered and one O_DIRECT descriptor. OTHER names the same file on a
 * second mount: it is compared after a close of FILE, as close-to-open promises it. Whatever
 * differs is told with the last operations before it, and the exit code is 1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define TRAIL 24u

struct state {
	const char *path, *other;
	uint64_t rng;
	uint32_t max_len, max_io;
	bool no_direct, no_mmap, no_trunc;
	int fd, direct_fd;
	uint8_t *model; /* max_len bytes; beyond len all zero */
	uint8_t *buf; /* PAGE more than max_io, so that it can start anywhere in a page */
	uint32_t len;
	uint64_t step;
	char trail[TRAIL][96];
};

static uint32_t draw(struct state *s, uint32_t below)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (uint32_t)((s->rng * 0x2545f4914f6cdd1dull) >> 33) % below;
}

__attribute__((format(printf, 2, 3))) static void note(struct state *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->trail[s->step % TRAIL], sizeof(s->trail[0]), fmt, ap);
	va_end(ap);
}

static void show_trail(const struct state *s)
{
	uint64_t from = s->step < TRAIL ? 0 : s->step - TRAIL + 1;

	for (uint64_t i = from; i <= s->step; i++)
		fprintf(stderr, "  %llu: %s\n", (unsigned long long)i, s->trail[i % TRAIL]);
}

__attribute__((noreturn)) static void die(struct state *s, const char *what)
{
	fprintf(stderr, "randio: %s: %s: %s\n", s->path, what, strerror(errno));
	show_trail(s);
	exit(1);
}

static void compare(struct state *s, const char *path, const uint8_t *got, uint32_t off,
		    uint32_t len)
{
	uint32_t i = 0, bad = 0;

	if (!memcmp(got, s->model + off, len))
		return;
	while (got[i] == s->model[off + i])
		i++;
	for (uint32_t j = i; j < len; j++)
		bad += got[j] != s->model[off + j];
	fprintf(stderr,
		"randio: %s: %u bytes differ in [%u, %u) of %u; the first at %u: "
		"wanted %02x, got %02x\n",
		path, bad, off, off + len, s->len, off + i, s->model[off + i], got[i]);
	show_trail(s);
	exit(1);
}

static void check_length(struct state *s, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		die(s, path);
	if (st.st_size == (off_t)s->len)
		return;
	fprintf(stderr, "randio: %s: length is %lld, should be %u\n", path, (long long)st.st_size,
		s->len);
	show_trail(s);
	exit(1);
}

static void open_files(struct state *s, int flags)
{
	s->fd = open(s->path, O_RDWR | O_CLOEXEC | flags, 0644);
	if (s->fd < 0)
		die(s, "open");
	if (s->no_direct)
		return;
	s->direct_fd = open(s->path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (s->direct_fd < 0)
		die(s, "open O_DIRECT");
}

static void close_files(struct state *s)
{
	if (close(s->fd) || (!s->no_direct && close(s->direct_fd)))
		die(s, "close");
}

/* Everything over @fd, in steps of max_io, and one read at the end that must find nothing. */
static void check_all(struct state *s, const char *path, int fd)
{
	uint32_t off = 0;
	ssize_t n;

	while ((n = pread(fd, s->buf, s->max_io, off)) > 0) {
		if (off + (uint32_t)n > s->len) {
			errno = EFBIG;
			die(s, "more bytes than there should be");
		}
		compare(s, path, s->buf, off, (uint32_t)n);
		off += (uint32_t)n;
	}
	if (n < 0)
		die(s, "read");
	if (off != s->len) {
		errno = ENODATA;
		die(s, "fewer bytes than there should be");
	}
}

/* A range, with ends that like the edges of pages, and now and then none at all. */
static void draw_range(struct state *s, uint32_t limit, bool direct, uint32_t *ret_off,
		       uint32_t *ret_len)
{
	uint32_t off = draw(s, limit), len = 1 + draw(s, draw(s, 4) ? 3 * PAGE : s->max_io);

	if (direct || !draw(s, 4))
		off -= off % PAGE;
	if (direct || !draw(s, 4))
		len += PAGE - 1 - (len - 1) % PAGE;
	if (len > s->max_io)
		len = s->max_io;
	if (len > limit - off)
		len = limit - off;
	*ret_off = off;
	*ret_len = len;
}

/* Each byte tells the step that wrote it and where it belongs. */
static void fill(struct state *s, uint8_t *p, uint32_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(s->step * 31 + (off + i) / PAGE * 7 + off + i + 1);
}

static void now_holds(struct state *s, const uint8_t *p, uint32_t off, uint32_t len)
{
	memcpy(s->model + off, p, len);
	if (off + len > s->len)
		s->len = off + len;
}

static void do_write(struct state *s, bool direct)
{
	uint32_t off, len, shift = direct ? 0 : draw(s, PAGE);
	uint8_t *p = s->buf + shift;

	draw_range(s, s->max_len, direct, &off, &len);
	note(s, "%s write [%u, %u)", direct ? "direct" : "buffered", off, off + len);
	fill(s, p, off, len);
	if (pwrite(direct ? s->direct_fd : s->fd, p, len, off) != (ssize_t)len)
		die(s, "write");
	now_holds(s, p, off, len);
}

static void do_read(struct state *s, bool direct)
{
	uint32_t off, len, want, shift = direct ? 0 : draw(s, PAGE);
	ssize_t n;

	draw_range(s, s->max_len, direct, &off, &len);
	note(s, "%s read [%u, %u)", direct ? "direct" : "buffered", off, off + len);
	want = off >= s->len ? 0 : len < s->len - off ? len : s->len - off;
	n = pread(direct ? s->direct_fd : s->fd, s->buf + shift, len, off);
	if (n < 0)
		die(s, "read");
	if ((uint32_t)n != want) {
		errno = n < (ssize_t)want ? ENODATA : EFBIG;
		die(s, "length of the answer");
	}
	compare(s, s->path, s->buf + shift, off, want);
}

static void do_map(struct state *s, bool write)
{
	uint32_t off, len, start;
	uint8_t *map;

	if (!s->len)
		return;
	draw_range(s, s->len, false, &off, &len);
	start = off - off % PAGE;
	note(s, "map, %s [%u, %u)", write ? "write" : "read", off, off + len);
	map = mmap(NULL, off - start + len, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
		   s->fd, start);
	if (map == MAP_FAILED)
		die(s, "mmap");
	compare(s, s->path, map + (off - start), off, len);
	if (write) {
		fill(s, map + (off - start), off, len);
		now_holds(s, map + (off - start), off, len);
		/* half of the time the kernel has to find the dirty pages by itself */
		if (draw(s, 2) && msync(map, off - start + len, MS_SYNC))
			die(s, "msync");
	}
	if (munmap(map, off - start + len))
		die(s, "munmap");
}

static void do_truncate(struct state *s)
{
	uint32_t len = draw(s, s->max_len + 1);

	if (!draw(s, 3))
		len -= len % PAGE;
	note(s, "truncate %u -> %u", s->len, len);
	if (draw(s, 2) ? ftruncate(s->fd, len) : truncate(s->path, len))
		die(s, "truncate");
	if (len < s->len)
		memset(s->model + len, 0, s->len - len);
	s->len = len;
}

static void do_append(struct state *s)
{
	uint32_t len = 1 + draw(s, 2 * PAGE);
	int fd;

	if (len > s->max_len - s->len)
		return;
	note(s, "append %u at %u", len, s->len);
	fill(s, s->buf, s->len, len);
	fd = open(s->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0 || write(fd, s->buf, len) != (ssize_t)len || close(fd))
		die(s, "append");
	now_holds(s, s->buf, s->len, len);
}

static void do_reopen(struct state *s)
{
	note(s, "close, open%s", s->other ? ", look from the other side" : "");
	close_files(s);
	if (s->other) {
		int fd = open(s->other, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			die(s, "open of the other side");
		check_length(s, s->other);
		check_all(s, s->other, fd);
		close(fd);
	}
	open_files(s, 0);
}

static void do_sync(struct state *s)
{
	note(s, "fsync");
	if (draw(s, 2) ? fsync(s->fd) : fdatasync(s->fd))
		die(s, "fsync");
}

static void one_step(struct state *s)
{
	uint32_t what = draw(s, 100);

	note(s, "nothing");
	if (what < 26)
		do_write(s, false);
	else if (what < 48)
		do_read(s, false);
	else if (what < 60 && !s->no_direct)
		do_write(s, true);
	else if (what < 70 && !s->no_direct)
		do_read(s, true);
	else if (what < 76 && !s->no_mmap)
		do_map(s, true);
	else if (what < 82 && !s->no_mmap)
		do_map(s, false);
	else if (what < 88 && !s->no_trunc)
		do_truncate(s);
	else if (what < 92)
		do_append(s);
	else if (what < 96)
		do_sync(s);
	else
		do_reopen(s);
	check_length(s, s->path);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: randio [-s SEED] [-n OPS] [-l MAX-LENGTH] [-i MAX-IO] [-o OTHER] [-DMT] "
		"FILE\n"
		"  -D no O_DIRECT  -M no mmap  -T no truncate\n");
	exit(2);
}

int main(int argc, char **argv)
{
	struct state s = { .max_len = 3u << 20, .max_io = 256u << 10, .rng = 1 };
	uint64_t nr = 1000, seed = 1;
	int c;

	while ((c = getopt(argc, argv, "s:n:l:i:o:DMT")) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			nr = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			s.max_len = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'i':
			s.max_io = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'o':
			s.other = optarg;
			break;
		case 'D':
			s.no_direct = true;
			break;
		case 'M':
			s.no_mmap = true;
			break;
		case 'T':
			s.no_trunc = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1 || s.max_len % PAGE || s.max_io % PAGE || !s.max_len || !s.max_io)
		usage();
	s.path = argv[optind];
	s.rng = seed * 0x9e3779b97f4a7c15ull + 1;
	s.model = calloc(1, s.max_len);
	s.buf = mmap(NULL, s.max_io + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (!s.model || s.buf == MAP_FAILED)
		err(1, "memory");
	open_files(&s, O_CREAT | O_TRUNC);
	for (s.step = 0; s.step < nr; s.step++)
		one_step(&s);
	note(&s, "the end");
	do_reopen(&s);
	check_all(&s, s.path, s.fd);
	close_files(&s);
	return 0;
}
