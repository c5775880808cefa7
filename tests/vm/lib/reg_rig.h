/* SPDX-License-Identifier: Apache-2.0 */
/* reg_rig.h -- the client's side of the test: a server, shared memory, transfers that are checked
 *
 * Every transfer is compared byte by byte, and its requests are counted: with a region, in several
 * runs, copied. What differs is said and ends the process with 1.
 */
#ifndef PW_TEST_REG_RIG_H
#define PW_TEST_REG_RIG_H

#include <pthread.h>
#include <stddef.h>
#include <sys/uio.h>

#include "reg_server.h"

struct rig {
	struct reg_shared *sh;
	int sh_fd;
	const char *mnt;
	const char *name; /* of the case */
	bool pool;
	pid_t pid; /* of the server */
	int ctl, fd; /* fd: the file, O_DIRECT */
	unsigned int conn; /* number of the connection */
	long pins; /* of the machine before the case */
};

struct mem {
	int fd;
	char *p;
	size_t len;
};

/* Of the file uring_stats: what there is, then what adds up. */
enum stat_nr {
	REGIONS,
	DMABUF_REGIONS,
	DRAINING_REGIONS,
	PINNED_PAGES,
	FIRST_SUM,
	HITS = FIRST_SUM,
	HITS_SG,
	HIT_BYTES,
	MISS_UNREGISTERED,
	MISS_MIXED,
	MISS_INACTIVE,
	MISS_RDONLY,
	MISS_RUNS,
	MISS_NOMEM,
	MISS_BYTES,
	COPIED_BYTES,
	NR_STATS,
};

struct stats {
	long n[NR_STATS];
};

enum how { BY_SYSCALL, BY_URING, BY_URING_FIXED, BY_AIO };

struct xfer {
	const char *what;
	bool write;
	enum how how;
	struct iovec *iov;
	int nr;
	off_t pos;
	ptrdiff_t alias; /* from the buffer to where it is filled and compared */
	/* what must come of it */
	long err; /* errno instead of all bytes */
	long hits, sg, copies, lent;
	int64_t reg; /* id << 48 | offset of the last request; -1: do not care */
	int64_t copied; /* bytes that the kernel copied; -1: do not care */
	enum stat_nr miss; /* why what is copied is; 0: do not care */
};

#define REG(id, off) ((int64_t)((uint64_t)(id) << ABI_ID_SHIFT | (off)))

_Noreturn void failed(const struct rig *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Starts a server, which mounts; and opens the file. */
void rig_spawn(struct rig *r, const struct reg_server_opts *o);
void rig_start(struct rig *r, const struct reg_server_opts *o);
void rig_stop(struct rig *r, bool kill_it);
void rig_kill(struct rig *r);

long ask_fd(struct rig *r, struct reg_ask a, int fd);
#define ask(r, ...) ask_fd(r, (struct reg_ask){ __VA_ARGS__ }, -1)
long reg(struct rig *r, uint32_t id, const struct mem *m, uint64_t flags);
void expect(struct rig *r, long want, long got, const char *what);
void unreg(struct rig *r, uint32_t id); /* until it is gone */
void wait_held(struct rig *r, int nr); /* so many or more */
void wait_pins(struct rig *r, long want); /* more than before the case */

struct mem mem_new(struct rig *r, size_t len, unsigned int flags);
void mem_free(struct mem *m);

void xfer(struct rig *r, struct xfer x);
void xfer1(struct rig *r, char *p, size_t len, struct xfer x);

/* Both directions at @p, whole and unaligned, into region @id at @off. */
void xfer_basics(struct rig *r, const char *what, uint32_t id, char *p, uint64_t off);

void pattern(char *p, off_t pos, size_t len, uint32_t seed);
long differ(const char *p, off_t pos, size_t len, uint32_t seed);

/* Bytes that fuse_copy_do() has copied since the last call; -1 when nobody counts. */
long copied_bytes(void);

/* What the kernel says of the connection; since: what was added to @s meanwhile. */
void stats_read(struct rig *r, struct stats *s);
void stats_since(struct rig *r, struct stats *s);
void stats_same(struct rig *r, const char *what, const struct stats *s, enum stat_nr nr,
		long want);
void stats_regions(struct rig *r, const char *what, long pages, long dmabufs, long draining,
		   long pinned);

int dmabuf_of(struct rig *r, const struct mem *m);

struct job {
	pthread_t t;
	int fd;
	char *p;
	size_t len;
	off_t pos;
	bool write;
	long res;
};
void job_start(struct job *j);
void job_end(struct job *j);

struct reg_case {
	const char *name;
	void (*run)(struct rig *r);
	struct reg_server_opts o;
	bool own; /* ends the server by itself */
};
extern const struct reg_case cases_match[], cases_memory[], cases_life[], cases_dmabuf[],
	cases_stats[], cases_fail[],
	cases_zero_copy[];

/* Servers that are killed amid transfers, registering and unregistering, for @seconds. */
void stress(struct rig *r, long seconds);

#endif /* PW_TEST_REG_RIG_H */
