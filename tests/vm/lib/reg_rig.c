/* SPDX-License-Identifier: Apache-2.0 */
/* reg_rig.c -- start and end a server, talk to it, count the pages that the machine has pinned */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reg_rig.h"

#define PATIENCE_MS 60000

void failed(const struct rig *r, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", r->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (r->pid > 0)
		kill(r->pid, SIGKILL);
	umount2(r->mnt, MNT_DETACH);
	exit(1);
}

void expect(struct rig *r, long want, long got, const char *what)
{
	if (got != want)
		failed(r, "%s: %ld, not %ld", what, got, want);
}

static long vmstat(const char *key)
{
	size_t len = strlen(key);
	char line[128];
	long found = -1;
	FILE *f = fopen("/proc/vmstat", "re");

	while (f && found < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && line[len] == ' ')
			found = strtol(line + len, NULL, 10);
	if (f)
		fclose(f);
	return found;
}

/* The counters are per CPU and gathered now and then, or when asked for. */
static long pins_now(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		err(1, "stat_refresh");
	close(fd);
	return vmstat("nr_foll_pin_acquired") - vmstat("nr_foll_pin_released");
}

/* The pins that are there for longer than it takes to look twice. */
static long pins_settled(void)
{
	long now = pins_now(), before;
	int ms = 0;

	do {
		before = now;
		usleep(2000);
		now = pins_now();
		ms += 2;
	} while (now != before && ms < PATIENCE_MS);
	return now;
}

void wait_pins(struct rig *r, long want)
{
	long now;
	int ms = 0;

	while ((now = pins_now()) - r->pins != want) {
		/* the kernel gives back what a ring of the case before had when it comes to it */
		if (now < r->pins)
			r->pins = now;
		if (ms++ > PATIENCE_MS)
			failed(r, "%ld pages pinned, not %ld", now - r->pins, want);
		usleep(1000);
	}
}

void rig_spawn(struct rig *r, const struct reg_server_opts *o)
{
	struct reg_server_opts mine = *o;
	long up = -1;
	int sv[2];

	memset(r->sh, 0, offsetof(struct reg_shared, store));
	r->pins = pins_settled();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		err(1, "socketpair");
	fflush(stdout);
	r->pid = fork();
	if (!r->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sv[0]);
		mine.mnt = r->mnt;
		mine.sh = r->sh;
		mine.sh_fd = r->sh_fd;
		mine.ctl = sv[1];
		mine.pool = r->pool || o->zero_copy;
		reg_server_run(&mine);
	}
	close(sv[1]);
	r->ctl = sv[0];
	if (recv(r->ctl, &up, sizeof(up), 0) != sizeof(up) || up)
		failed(r, "the server did not come up");
}

void rig_start(struct rig *r, const struct reg_server_opts *o)
{
	char path[128];
	struct stat st;

	rig_spawn(r, o);
	snprintf(path, sizeof(path), "%s/f", r->mnt);
	r->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st))
		failed(r, "open: %s", strerror(errno));
	r->conn = minor(st.st_dev);
}

void rig_kill(struct rig *r)
{
	int st;

	kill(r->pid, SIGKILL);
	waitpid(r->pid, &st, 0);
	r->pid = -1;
}

void rig_stop(struct rig *r, bool kill_it)
{
	int st;

	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	if (kill_it && r->pid > 0)
		rig_kill(r);
	umount2(r->mnt, MNT_DETACH);
	if (r->pid > 0 && waitpid(r->pid, &st, 0) == r->pid && st)
		failed(r, "the server ended with %#x", st);
	r->pid = -1;
	close(r->ctl);
	wait_pins(r, 0);
}

long ask_fd(struct rig *r, struct reg_ask a, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &a, sizeof(a) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	long res;

	if (fd >= 0) {
		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	if (sendmsg(r->ctl, &m, MSG_NOSIGNAL) != sizeof(a) ||
	    recv(r->ctl, &res, sizeof(res), 0) != sizeof(res))
		failed(r, "the server does not answer");
	return res;
}

long reg(struct rig *r, uint32_t id, const struct mem *m, uint64_t flags)
{
	int prot = flags & ABI_F_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;

	return ask_fd(r, (struct reg_ask){ .op = ASK_REG, .id = id, .prot = prot, .flags = flags,
					   .len = m->len }, m->fd);
}

void unreg(struct rig *r, uint32_t id)
{
	int ms = 0;

	while (ask(r, .op = ASK_UNREG, .id = id) != -ENOENT) {
		if (ms++ > PATIENCE_MS)
			failed(r, "region %u does not go", id);
		usleep(1000);
	}
}

void wait_held(struct rig *r, int nr)
{
	int ms = 0;

	while (r->sh->held < nr) {
		if (ms++ > PATIENCE_MS)
			failed(r, "%d requests at the server of %d", r->sh->held, nr);
		usleep(1000);
	}
}

struct mem mem_new(struct rig *r, size_t len, unsigned int flags)
{
	struct mem m = { .len = len };

	m.fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (m.fd < 0 || ftruncate(m.fd, (off_t)len))
		failed(r, "memfd: %s", strerror(errno));
	m.p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	if (m.p == MAP_FAILED)
		failed(r, "mmap: %s", strerror(errno));
	return m;
}

void mem_free(struct mem *m)
{
	munmap(m->p, m->len);
	close(m->fd);
}

static void *job_main(void *arg)
{
	struct job *j = arg;

	j->res = j->write ? pwrite(j->fd, j->p, j->len, j->pos) :
			    pread(j->fd, j->p, j->len, j->pos);
	if (j->res < 0)
		j->res = -errno;
	return NULL;
}

void job_start(struct job *j)
{
	if (pthread_create(&j->t, NULL, job_main, j))
		errx(1, "no thread");
}

void job_end(struct job *j)
{
	pthread_join(j->t, NULL);
}
