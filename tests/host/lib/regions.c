/* SPDX-License-Identifier: Apache-2.0 */
/* regions.c -- regions of libpagewire on a mount: regions DIR [CASE | hold]
 *
 * Each case makes what it needs, checks the data, and leaves nothing. Prints "ok NAME" for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/region_wire.h"
#include "include/pagewire.h"

#define MIB (1u << 20)
#define MUST(x)                                                                                   \
	do {                                                                                      \
		if (!(x)) {                                                                       \
			fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __func__, __LINE__, #x, \
				errno);                                                           \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)
#define EQ(a, b)                                                                                 \
	do {                                                                                     \
		long long a_ = (long long)(a), b_ = (long long)(b);                              \
		if (a_ != b_) {                                                                  \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __func__, __LINE__, #a, \
				a_, b_);                                                         \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

static const char *dir;
static char path[4096];
static pw_t *pw;

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i * 2654435761u >> 13) + seed);
}

static int fresh(int flags)
{
	snprintf(path, sizeof(path), "%s/f", dir);
	unlink(path);
	return open(path, O_CREAT | O_CLOEXEC | flags, 0644);
}

static uint8_t *alloc(size_t len, pw_region_t **ret)
{
	EQ(pw_alloc(pw, len, 0, ret), 0);
	return pw_addr(*ret, NULL, NULL);
}

static void case_open(void)
{
	struct pw_info i = { .size = sizeof(i) };
	int fd = fresh(O_RDWR);
	pw_t *p = NULL;

	EQ(pw_get_info(pw, &i), 0);
	EQ(i.version, 1);
	MUST(i.features & PW_FEATURE_REGIONS);
	EQ(strlen(i.fsid), 36);
	MUST(i.max_io >= 4096 && i.max_regions && i.max_bytes);
	EQ(pw_open(&p, path, 0), 0); /* a file leads there, too */
	pw_close(p);
	EQ(fchmod(fd, 0), 0); /* and one that cannot be opened: root can, so this shows less */
	EQ(pw_open(&p, path, 0), 0);
	pw_close(p);
	EQ(pw_open(&p, "/tmp", 0), -EOPNOTSUPP);
	EQ(pw_open(&p, "/tmp/there is no such file", PW_OPTIONAL), -ENOENT);
	EQ(pw_open(&p, "/", 2), -EINVAL);
	close(fd);
}

static void case_data(void)
{
	const size_t len = 5 * MIB + 777, off = 13;
	pw_region_t *r;
	uint8_t *p = alloc(8 * MIB, &r), *copy = malloc(len);
	int fd = fresh(O_RDWR);

	MUST(copy && fd >= 0);
	fill(p, 8 * MIB, 1);
	EQ(pw_pwrite(fd, r, off, len, 4099), len);
	EQ(pread(fd, copy, len, 4099), len);
	MUST(!memcmp(copy, p + off, len));
	memset(p, 0xee, 8 * MIB);
	EQ(pw_pread(fd, r, 7, len, 4099), len);
	MUST(!memcmp(copy, p + 7, len));
	MUST(p[6] == 0xee && p[7 + len] == 0xee);
	/* the end of the file: short, then nothing */
	EQ(pw_pread(fd, r, 0, MIB, 4099 + (off_t)len - 5), 5);
	EQ(pw_pread(fd, r, 0, MIB, 4099 + (off_t)len), 0);
	EQ(pw_pread(fd, r, 0, 0, 0), 0);
	close(fd);
	free(copy);
	EQ(pw_release(r, -1), 0);
}

/* What the page cache and the attributes of this machine say after a write that they did not see */
static void case_cache(void)
{
	pw_region_t *r;
	uint8_t *p = alloc(MIB, &r), buf[8192];
	int fd = fresh(O_RDWR);
	struct stat st;

	memset(p, 'a', MIB);
	EQ(pw_pwrite(fd, r, 0, 8192, 0), 8192);
	EQ(fstat(fd, &st), 0);
	EQ(st.st_size, 8192);
	EQ(pread(fd, buf, 8192, 0), 8192);
	MUST(buf[0] == 'a' && buf[8191] == 'a');
	memset(p, 'b', MIB);
	EQ(pw_pwrite(fd, r, 0, 100, 4090), 100);
	EQ(pread(fd, buf, 8192, 0), 8192);
	MUST(buf[4089] == 'a' && buf[4090] == 'b' && buf[4189] == 'b' && buf[4190] == 'a');
	EQ(pw_pwrite(fd, r, 0, 1, 20000), 1);
	EQ(fstat(fd, &st), 0);
	EQ(st.st_size, 20001);
	close(fd);
	fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	EQ(pw_pwrite(fd, r, 0, 10, 0), 10);
	EQ(fstat(fd, &st), 0);
	EQ(st.st_size, 20011);
	close(fd);
	EQ(pw_release(r, -1), 0);
}

static void case_handles(void)
{
	int rd, wr, folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int elsewhere = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct pw_info i = { .size = sizeof(i) };
	pw_region_t *r;
	uint8_t *p = alloc(MIB, &r);

	close(fresh(O_RDWR));
	rd = open(path, O_RDONLY | O_CLOEXEC);
	wr = open(path, O_WRONLY | O_CLOEXEC);
	EQ(pw_pwrite(rd, r, 0, 10, 0), -EBADF);
	EQ(pw_pread(wr, r, 0, 10, 0), -EBADF);
	EQ(pw_pwrite(wr, r, 0, 10, 0), 10);
	EQ(pw_pread(rd, r, 0, 10, 0), 10);
	EQ(pw_pread(folder, r, 0, 10, 0), -EISDIR);
	EQ(pw_pread(rd, r, MIB, 1, 0), -EINVAL);
	EQ(pw_pread(rd, r, SIZE_MAX, 2, 0), -EINVAL);
	EQ(pw_pread(rd, r, 0, 10, -1), -EINVAL);
	/* a file of somebody else's is read all the same, with a copy that is counted */
	p[9] = 1;
	EQ(pw_pread(elsewhere, r, 0, 10, 0), 10);
	EQ(p[9], 0);
	EQ(pw_get_info(pw, &i), 0);
	MUST(i.plain_io > 0);
	close(rd);
	close(wr);
	close(folder);
	close(elsewhere);
	EQ(pw_release(r, -1), 0);
}

static void case_optional(void)
{
	struct pw_info i = { .size = sizeof(i) };
	FILE *f = tmpfile();
	struct rlimit old, now;
	pw_region_t *r;
	uint8_t *p;
	pw_t *o;

	EQ(pw_open(&o, "/tmp", PW_OPTIONAL), 0);
	EQ(pw_get_info(o, &i), 0);
	MUST(!i.version && !i.features);
	EQ(pw_alloc(o, 10000, 0, &r), 0);
	p = pw_addr(r, NULL, NULL);
	fill(p, 10000, 3);
	EQ(pw_pwrite(fileno(f), r, 5, 9000, 0), 9000);
	memset(p, 0, 10000);
	EQ(pw_pread(fileno(f), r, 5, 9000, 0), 9000);
	MUST(p[5] == (uint8_t)((5ull * 2654435761u >> 13) + 3));
	EQ(pw_release(r, 0), 0);
	/* a limit is an error, not a signal */
	EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	now = (struct rlimit){ 4096, old.rlim_max };
	EQ(setrlimit(RLIMIT_FSIZE, &now), 0);
	EQ(pw_alloc(o, 10000, 0, &r), -EFBIG);
	EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	pw_close(o);
	fclose(f);
}

static int sealed(size_t len)
{
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	MUST(fd >= 0 && !ftruncate(fd, (off_t)len));
	MUST(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	return fd;
}

static void case_import(void)
{
	struct pw_info i = { .size = sizeof(i) };
	int fd = sealed(MIB), plain = memfd_create("p", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int file = fresh(O_RDWR);
	pw_region_t *r, *again;
	uint8_t *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char back[5] = "";

	MUST(!ftruncate(plain, MIB) && !ftruncate(file, 4096));
	EQ(pw_import(pw, plain, 0, MIB, 0, &r), -EPERM);
	EQ(pw_get_info(pw, &i), 0);
	MUST(strstr(i.why, "F_ADD_SEALS"));
	EQ(pw_import(pw, file, 0, 4096, 0, &r), -EOPNOTSUPP); /* no fallocate there */
	EQ(pw_import(pw, fd, 0, 2 * MIB, 0, &r), -EINVAL);    /* so long it is not */
	EQ(pw_import(pw, fd, 4096, MIB - 4096, 0, &r), 0);
	MUST(pw_import(pw, fd, 0, MIB, 0, &again) < 0);
	strcpy((char *)p + 4096 + 10, "hello");
	EQ(pw_pwrite(file, r, 10, 5, 0), 5);
	EQ(pread(file, back, 5, 0), 5);
	MUST(!memcmp(back, "hello", 5));
	EQ(pw_release(r, -1), 0);
	munmap(p, MIB);
	close(fd);
	close(plain);
	close(file);
}

/* ------------------------------------------------------------ what is not nice */

static void dial(int *ret, struct pw_region_info *i)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	EQ(ioctl(fd, PW_IOC_INFO, i), 0);
	close(fd);
	memcpy(to.sun_path, i->socket, sizeof(to.sun_path));
	*ret = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	EQ(connect(*ret, (struct sockaddr *)&to, sizeof(to)), 0);
}

static void send_fds(int sock, const void *msg, size_t len, const int *fds, size_t nr)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))] = "";
	struct iovec iov = { (void *)(uintptr_t)msg, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr c = { .cmsg_len = CMSG_LEN(nr * sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS };

	if (nr) {
		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		memcpy(control, &c, sizeof(c));
		memcpy(control + CMSG_LEN(0), fds, nr * sizeof(int));
	}
	EQ(sendmsg(sock, &h, MSG_NOSIGNAL), len);
}

static void case_rubbish(void)
{
	struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_ADD, .len = MIB };
	struct pw_region_answer a;
	struct pw_region_info i;
	int sock, fds[64];
	uint8_t junk[300];

	fill(junk, sizeof(junk), 9);
	for (size_t len = 1; len < sizeof(junk); len += 31) {
		dial(&sock, &i);
		send_fds(sock, junk, len, NULL, 0);
		EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
		EQ(a.err, -EPROTO);
		EQ(recv(sock, &a, sizeof(a), 0), 0);
		close(sock);
	}
	/* nothing but descriptors */
	fds[0] = sealed(MIB);
	dial(&sock, &i);
	send_fds(sock, junk, 0, fds, 1);
	EQ(recv(sock, &a, sizeof(a), 0), 0);
	close(sock);
	close(fds[0]);
	dial(&sock, &i);
	send_fds(sock, &m, sizeof(m), NULL, 0); /* no descriptor */
	EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
	EQ(a.err, -EBADF);
	/* more than one: the first counts, the others are nobody's */
	for (size_t k = 0; k < 64; k++)
		fds[k] = sealed(MIB);
	MUST(!fallocate(fds[0], 0, 0, MIB));
	send_fds(sock, &m, sizeof(m), fds, 64);
	EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
	EQ(a.err, 0);
	/* the same again, and one whose pages are not there */
	send_fds(sock, &m, sizeof(m), fds, 1);
	EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
	EQ(a.err, -EPERM);
	send_fds(sock, &m, sizeof(m), fds + 1, 1);
	EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
	EQ(a.err, -EINVAL);
	MUST(strstr(a.text, "fallocate"));
	/* a flood that nobody reads the answers of */
	m.op = PW_REGION_END;
	for (int k = 0; k < 2000 && send(sock, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) > 0; k++)
		;
	close(sock);
	for (size_t k = 0; k < 64; k++)
		close(fds[k]);
}

/* Another process's region: with all that can be seen of it but its key. */
static void case_foreign(void)
{
	struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_ADD, .len = MIB };
	struct pw_region_io io = { .dir = PW_REGION_WRITE, .len = 10 };
	int sock, other, fd = fresh(O_RDWR), mem = sealed(MIB);
	struct pw_region_answer a, b;
	struct pw_region_info i;

	MUST(!fallocate(mem, 0, 0, MIB));
	dial(&sock, &i);
	dial(&other, &i);
	send_fds(sock, &m, sizeof(m), &mem, 1);
	EQ(recv(sock, &a, sizeof(a), 0), sizeof(a));
	EQ(a.err, 0);
	io.id = a.id;
	for (uint64_t k = 0; k < 64; k++) {
		io.key = a.key ^ 1ull << k;
		EQ(ioctl(fd, PW_IOC_IO, &io), -1);
		EQ(errno, ENXIO);
	}
	for (io.id = 0; io.id < 70; io.id++) {
		io.key = 0;
		EQ(ioctl(fd, PW_IOC_IO, &io), -1);
	}
	io = (struct pw_region_io){ .id = a.id, .key = a.key, .dir = PW_REGION_WRITE, .len = 2 };
	io.region_off = MIB - 1;
	EQ(ioctl(fd, PW_IOC_IO, &io), -1);
	EQ(errno, EFAULT);
	io.region_off = UINT64_MAX;
	EQ(ioctl(fd, PW_IOC_IO, &io), -1);
	EQ(errno, EFAULT);
	io.region_off = 0;
	io.len = i.max_io + 1;
	EQ(ioctl(fd, PW_IOC_IO, &io), -1);
	EQ(errno, EINVAL);
	io.len = 1;
	io.dir = 3;
	EQ(ioctl(fd, PW_IOC_IO, &io), -1);
	EQ(errno, EINVAL);
	/* ending it from elsewhere, with the key */
	m = (struct pw_region_msg){ .version = PW_REGION_VERSION, .op = PW_REGION_END };
	m.id = a.id;
	m.key = a.key;
	send_fds(other, &m, sizeof(m), NULL, 0);
	EQ(recv(other, &b, sizeof(b), 0), sizeof(b));
	EQ(b.err, -EPERM);
	do { /* the kernel may have to forget it first */
		send_fds(sock, &m, sizeof(m), NULL, 0);
		EQ(recv(sock, &b, sizeof(b), 0), sizeof(b));
	} while (b.err == -EBUSY);
	EQ(b.err, 0);
	EQ(ioctl(fd, 0x5401, &io), -1);
	EQ(errno, ENOTTY);
	close(sock);
	close(other);
	close(fd);
	close(mem);
}

/* read(2) and write(2) with O_DIRECT: copied or not, the kernel decides */
static void case_direct(void)
{
	static const struct {
		size_t off, len;
		off_t at;
	} runs[] = {
		{ 0, 4096, 0 }, { 777, 500001, 13 }, { 4095, 2, 4095 }, { MIB - 1, 3 * MIB, 1 }
	};
	pw_region_t *r;
	uint8_t *p = alloc(8 * MIB, &r), *copy = malloc(8 * MIB), *heap = malloc(MIB);
	struct iovec iov[3];
	int fd;

	MUST(copy && heap);

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		fd = fresh(O_RDWR | O_DIRECT);
		fill(p, 8 * MIB, (uint32_t)i);
		EQ(pwrite(fd, p + runs[i].off, runs[i].len, runs[i].at), runs[i].len);
		EQ(pread(fd, copy, runs[i].len, runs[i].at), runs[i].len);
		MUST(!memcmp(copy, p + runs[i].off, runs[i].len));
		memset(p, 0xee, 8 * MIB);
		EQ(pread(fd, p + runs[i].off, runs[i].len, runs[i].at), runs[i].len);
		MUST(!memcmp(copy, p + runs[i].off, runs[i].len));
		MUST(!runs[i].off || p[runs[i].off - 1] == 0xee);
		MUST(p[runs[i].off + runs[i].len] == 0xee);
		close(fd);
	}
	/* several runs, then memory of both kinds */
	fd = fresh(O_RDWR | O_DIRECT);
	fill(p, 8 * MIB, 77);
	memset(heap, 0x44, MIB);
	for (int k = 0; k < 2; k++) {
		iov[0] = (struct iovec){ p + 3 * MIB + 5, 100003 };
		iov[1] = (struct iovec){ p + 17, 70001 };
		iov[2] = (struct iovec){ k ? heap : p + 5 * MIB, 4096 };
		EQ(pwritev(fd, iov, 3, 3), 174100);
		EQ(pread(fd, copy, 174100, 3), 174100);
		MUST(!memcmp(copy, p + 3 * MIB + 5, 100003) &&
		     !memcmp(copy + 100003, p + 17, 70001));
		MUST(!memcmp(copy + 170004, k ? heap : p + 5 * MIB, 4096));
		memset(iov[0].iov_base, 0, iov[0].iov_len);
		memset(iov[1].iov_base, 0, iov[1].iov_len);
		/* the file ends within the last run */
		EQ(preadv(fd, iov, 3, 103), 174000);
		MUST(!memcmp(copy + 100, iov[0].iov_base, 100003));
		MUST(!memcmp(copy + 100103, iov[1].iov_base, 70001));
		MUST(!memcmp(copy + 170104, iov[2].iov_base, 3996));
	}
	close(fd);
	free(copy);
	free(heap);
	EQ(pw_release(r, -1), 0);
}

static volatile int stop;

static void *change(void *arg)
{
	uint8_t *p = arg;

	for (uint8_t v = 0; !stop; v++)
		memset(p, v & 1 ? 0x11 : 0x22, MIB);
	return NULL;
}

/* One of two values for each byte, and no error, neither now nor when it is read */
static void case_changing(void)
{
	pw_region_t *r, *s;
	uint8_t *p = alloc(MIB, &r), *q = alloc(MIB, &s);
	int fd = fresh(O_RDWR);
	pthread_t t;

	memset(p, 0x11, MIB);
	MUST(!pthread_create(&t, NULL, change, p));
	for (int k = 0; k < 40; k++) {
		EQ(pw_pwrite(fd, r, 0, MIB, 0), MIB);
		EQ(pw_pread(fd, s, 0, MIB, 0), MIB);
		for (size_t b = 0; b < MIB; b++)
			MUST(q[b] == 0x11 || q[b] == 0x22);
	}
	stop = 1;
	pthread_join(t, NULL);
	close(fd);
	EQ(pw_release(r, -1), 0);
	EQ(pw_release(s, -1), 0);
}

static void *write_for_ever(void *arg)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	while (pw_pwrite(fd, arg, 0, MIB, 0) > 0)
		;
	return NULL;
}

/* Killed while its memory is on its way: the mount goes on, and lets go of it. */
static void case_death(void)
{
	close(fresh(O_RDWR));
	for (int k = 0; k < 10; k++) {
		int hold[2], pid;
		char byte;

		EQ(pipe2(hold, O_CLOEXEC), 0);
		pid = fork();
		if (!pid) {
			pthread_t t[4];
			pw_region_t *r;

			EQ(pw_open(&pw, dir, 0), 0);
			alloc(MIB, &r);
			for (int i = 0; i < 4; i++)
				MUST(!pthread_create(&t[i], NULL, write_for_ever, r));
			EQ(pw_pwrite(open(path, O_RDWR | O_CLOEXEC), r, 0, MIB, 0), MIB);
			EQ(write(hold[1], "x", 1), 1);
			pause();
		}
		EQ(read(hold[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		EQ(waitpid(pid, NULL, 0), pid);
		close(hold[0]);
		close(hold[1]);
	}
}

static void case_limits(void)
{
	struct pw_info i = { .size = sizeof(i) };
	pw_region_t *r[64] = { NULL }, *more;

	EQ(pw_get_info(pw, &i), 0);
	MUST(i.max_regions < 64);
	for (uint32_t k = 0; k < i.max_regions; k++)
		EQ(pw_alloc(pw, 4096, 0, &r[k]), 0);
	EQ(pw_alloc(pw, 4096, 0, &more), -ENOSPC);
	EQ(pw_get_info(pw, &i), 0);
	MUST(strstr(i.why, "fewer"));
	EQ(pw_alloc(pw, 4096, PW_NOREG, &more), 0);
	EQ(pw_release(more, 0), 0);
	EQ(pw_release(r[0], -1), 0);
	EQ(pw_alloc(pw, 4096, 0, &r[0]), 0);
	for (uint32_t k = 0; k < i.max_regions; k++)
		EQ(pw_release(r[k], -1), 0);
}

/* One region that has moved 1 MiB, until stdin ends. */
static void hold(void)
{
	pw_region_t *r = NULL;
	int fd = fresh(O_RDWR);

	alloc(4 * MIB, &r);
	EQ(pw_pwrite(fd, r, 0, MIB, 0), MIB);
	puts("holding");
	fflush(stdout);
	while (getchar() != EOF)
		;
	close(fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "open", case_open },	     { "data", case_data },	    { "cache", case_cache },
	{ "handles", case_handles }, { "optional", case_optional }, { "import", case_import },
	{ "rubbish", case_rubbish }, { "foreign", case_foreign },   { "changing", case_changing },
	{ "direct", case_direct },   { "death", case_death },	    { "limits", case_limits },
};

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	dir = argv[1];
	if (argc > 2 && !strcmp(argv[2], "hold")) {
		EQ(pw_open(&pw, dir, 0), 0);
		hold();
		return 0; /* without pw_close(): its end is enough */
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (argc > 2 && strcmp(argv[2], cases[i].name))
			continue;
		EQ(pw_open(&pw, dir, 0), 0);
		cases[i].run();
		pw_close(pw);
		printf("ok %s\n", cases[i].name);
	}
	return 0;
}
