/* SPDX-License-Identifier: Apache-2.0 */
/* null_ring.c -- a FUSE server that does nothing, over io_uring or /dev/fuse: the floor
 *
 * Flow: mount(2) on a raw /dev/fuse, answer INIT, then one thread with one io_uring serves the
 * entries of every possible CPU's queue (the shape of the product's client) and polls /dev/fuse
 * for what never travels over the ring. With --dev the same thread reads and writes /dev/fuse.
 *
 * What can fail: a ring that dies while another process holds a copy of its mappings can hang
 * the kernel. So: close-on-exec everywhere, no mapping survives a fork, nothing is forked, and
 * the end is an unmount. The unmount never runs in the loop thread: it may wait for an entry
 * whose completion only that thread can run.
 */
#include "fuse_ring_abi.h"
#include "null_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER_STRIDE 4096
#define DEV_BUF_LEN (NULL_FS_MAX_IO + 8192)

struct entry {
	struct ring_header *header;	/* in the arena */
	void *payload;			/* in the arena, NULL_FS_MAX_IO bytes */
	struct iovec iov[2];		/* read by the kernel at REGISTER only */
	uint16_t queue_id;
};

struct server {
	const char *dir;
	int fd;				/* /dev/fuse */
	bool want_ring;
	bool ring_agreed;
	bool gone;			/* unmounted: leave */
	unsigned depth;			/* entries per queue */
	unsigned setup_flags;
	struct io_uring ring;
	struct entry *entries;
	char *dev_buf;			/* request of the /dev/fuse path */
	char *dev_out;			/* its answer */
	uint64_t nr_ring, nr_dev;
};

static void *unmount_on_signal(void *arg)
{
	struct server *srv = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	for (;;) {
		if (sigwait(&set, &sig) == 0)
			umount2(srv->dir, MNT_DETACH);
	}
	return NULL;
}

static int start_signal_thread(struct server *srv)
{
	pthread_t thread;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return -pthread_create(&thread, NULL, unmount_on_signal, srv);
}

static int do_mount(struct server *srv)
{
	char opts[128];

	srv->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (srv->fd < 0)
		return -errno;
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 srv->fd);
	if (mount("null_ring", srv->dir, "fuse.null_ring", MS_NOSUID | MS_NODEV, opts) < 0)
		return -errno;
	return 0;
}

static void reply_dev(struct server *srv, uint64_t unique, int error, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len, .error = error, .unique = unique,
	};
	struct iovec iov[2] = { { &out, sizeof(out) }, { srv->dev_out, len } };

	/* an interrupted request is gone, and then so is the need for an answer */
	if (writev(srv->fd, iov, len ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV)
		fprintf(stderr, "null_ring: reply: %m\n");
}

static void handle_dev(struct server *srv)
{
	struct fuse_in_header *in = (void *)srv->dev_buf;
	struct null_req req = {
		.in = in, .op_in = in + 1, .name = (char *)(in + 1), .out = srv->dev_out,
	};
	int error;

	srv->nr_dev++;
	switch (in->opcode) {
	case FUSE_INIT:
		srv->ring_agreed = null_fs_init_reply(req.op_in, srv->want_ring, req.out);
		reply_dev(srv, in->unique, 0, sizeof(struct fuse_init_out));
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		error = null_fs_handle(&req);
		reply_dev(srv, in->unique, error, error ? 0 : req.out_len_bytes);
	}
}

/* one request from /dev/fuse; 0, or -EAGAIN when there is none, or -ENODEV at the end */
static int serve_dev_once(struct server *srv)
{
	ssize_t len = read(srv->fd, srv->dev_buf, DEV_BUF_LEN);

	if (len < 0 && (errno == EINTR || errno == ENOENT))
		return 0;
	if (len < 0)
		return errno == EAGAIN ? -EAGAIN : -ENODEV;
	handle_dev(srv);
	return 0;
}

static struct io_uring_sqe *get_sqe(struct server *srv)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&srv->ring);

	if (!sqe) {
		io_uring_submit(&srv->ring);
		sqe = io_uring_get_sqe(&srv->ring);
	}
	if (!sqe)
		abort();	/* the queue has room for every entry and the poll */
	memset(sqe, 0, 128);
	return sqe;
}

static void queue_cmd(struct server *srv, struct entry *entry, unsigned op, uint64_t commit_id)
{
	struct io_uring_sqe *sqe = get_sqe(srv);
	struct ring_cmd *cmd = (void *)sqe->cmd;

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = 0;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = op;
	sqe->user_data = (uintptr_t)entry;
	cmd->queue_id = entry->queue_id;
	cmd->commit_id = commit_id;
	if (op == RING_CMD_REGISTER) {
		sqe->addr = (uintptr_t)entry->iov;
		sqe->len = 2;
	}
}

static void queue_dev_poll(struct server *srv)
{
	struct io_uring_sqe *sqe = get_sqe(srv);

	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = 0;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->poll32_events = POLLIN;
	sqe->user_data = 0;
}

static void handle_entry(struct server *srv, struct entry *entry)
{
	struct ring_header *header = entry->header;
	struct fuse_out_header *out = (void *)header->in_out;
	struct fuse_in_header in;
	struct null_req req = {
		.in = &in, .op_in = header->op_in, .name = entry->payload, .out = entry->payload,
	};
	int error;

	memcpy(&in, header->in_out, sizeof(in));
	error = null_fs_handle(&req);
	if (error)
		req.out_len_bytes = 0;
	out->error = error;
	out->unique = in.unique;
	out->len = sizeof(*out) + req.out_len_bytes;
	header->payload_len_bytes = req.out_len_bytes;
	srv->nr_ring++;
	queue_cmd(srv, entry, RING_CMD_COMMIT_AND_FETCH, header->commit_id);
}

static int alloc_entries(struct server *srv, unsigned nr_queues)
{
	size_t nr = (size_t)nr_queues * srv->depth;
	size_t len = nr * (NULL_FS_MAX_IO + HEADER_STRIDE);
	char *arena;

	srv->entries = calloc(nr, sizeof(*srv->entries));
	arena = mmap(NULL, len, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (!srv->entries || arena == MAP_FAILED)
		return -ENOMEM;
	if (madvise(arena, len, MADV_DONTFORK) < 0)
		return -errno;
	for (size_t i = 0; i < nr; i++) {
		struct entry *entry = &srv->entries[i];

		entry->queue_id = i / srv->depth;
		entry->payload = arena + i * NULL_FS_MAX_IO;
		entry->header = (void *)(arena + nr * NULL_FS_MAX_IO + i * HEADER_STRIDE);
		entry->iov[0] = (struct iovec){ entry->header, sizeof(*entry->header) };
		entry->iov[1] = (struct iovec){ entry->payload, NULL_FS_MAX_IO };
	}
	return 0;
}

static int start_ring(struct server *srv)
{
	unsigned nr_queues = get_nprocs_conf();
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
			 srv->setup_flags,
		.cq_entries = 4 * (nr_queues * srv->depth + 1),
	};
	int rc = alloc_entries(srv, nr_queues);

	if (rc)
		return rc;
	rc = io_uring_queue_init_params(nr_queues * srv->depth + 1, &srv->ring, &params);
	if (rc)
		return rc;
	rc = io_uring_ring_dontfork(&srv->ring);
	if (rc)
		return rc;
	rc = io_uring_register_files(&srv->ring, &srv->fd, 1);
	if (rc)
		return rc;
	rc = io_uring_register_ring_fd(&srv->ring);
	if (rc < 0)
		return rc;
	fcntl(srv->fd, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < nr_queues * srv->depth; i++)
		queue_cmd(srv, &srv->entries[i], RING_CMD_REGISTER, 0);
	queue_dev_poll(srv);
	return 0;
}

static void on_cqe(struct server *srv, const struct io_uring_cqe *cqe)
{
	struct entry *entry = (void *)(uintptr_t)cqe->user_data;
	int rc;

	if (entry && cqe->res == 0) {
		handle_entry(srv, entry);
		return;
	}
	if (entry) {
		if (cqe->res != -ENOTCONN && cqe->res != -ECANCELED)
			fprintf(stderr, "null_ring: entry: %s\n", strerror(-cqe->res));
		srv->gone = true;
		return;
	}
	do {
		rc = serve_dev_once(srv);
	} while (rc == 0);
	if (rc == -ENODEV)
		srv->gone = true;
	else
		queue_dev_poll(srv);
}

static int serve_ring(struct server *srv)
{
	struct io_uring_cqe *cqe;
	unsigned head, nr;
	int rc;

	while (!srv->gone) {
		rc = io_uring_submit_and_wait(&srv->ring, 1);
		if (rc < 0 && rc != -EINTR)
			return rc;
		nr = 0;
		io_uring_for_each_cqe(&srv->ring, head, cqe) {
			nr++;
			on_cqe(srv, cqe);
		}
		io_uring_cq_advance(&srv->ring, nr);
	}
	return 0;
}

static int serve(struct server *srv)
{
	int rc = -posix_memalign((void **)&srv->dev_buf, 4096, DEV_BUF_LEN);

	if (!rc)
		rc = -posix_memalign((void **)&srv->dev_out, 4096, NULL_FS_MAX_IO);
	if (rc)
		return rc;
	memset(srv->dev_out, 0, NULL_FS_MAX_IO);
	rc = do_mount(srv);
	if (rc)
		return rc;
	rc = serve_dev_once(srv);	/* INIT is the first request */
	if (!rc && srv->want_ring && !srv->ring_agreed)
		rc = -EOPNOTSUPP;
	if (!rc && srv->ring_agreed)
		rc = start_ring(srv);
	if (rc) {
		umount2(srv->dir, MNT_DETACH);
		return rc;
	}
	printf("serving %s over %s\n", srv->dir, srv->ring_agreed ? "ring" : "dev");
	fflush(stdout);
	if (srv->ring_agreed)
		return serve_ring(srv);
	while (serve_dev_once(srv) == 0)
		;
	return 0;
}

static int parse_taskrun(const char *name, unsigned *ret_flags)
{
	if (strcmp(name, "defer") == 0)
		*ret_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	else if (strcmp(name, "coop") == 0)
		*ret_flags = IORING_SETUP_COOP_TASKRUN;
	else if (strcmp(name, "none") == 0)
		*ret_flags = 0;
	else
		return -EINVAL;
	return 0;
}

static void usage(FILE *out)
{
	fputs("usage: null_ring [options] DIR\n"
	      "  -d, --dev           answer through /dev/fuse, not the ring\n"
	      "  -s, --size-mib N    size of the files (default 1024)\n"
	      "  -q, --depth N       ring entries per CPU (default 32)\n"
	      "  -t, --taskrun MODE  defer (default), coop or none\n", out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dev", no_argument, NULL, 'd' },
		{ "size-mib", required_argument, NULL, 's' },
		{ "depth", required_argument, NULL, 'q' },
		{ "taskrun", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct server srv = {
		.want_ring = true, .depth = 32,
		.setup_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	unsigned long size_mib = 1024;
	bool bad = false, help = false;
	int c, rc;

	while ((c = getopt_long(argc, argv, "ds:q:t:h", options, NULL)) != -1) {
		if (c == 'd')
			srv.want_ring = false;
		else if (c == 's')
			size_mib = strtoul(optarg, NULL, 0);
		else if (c == 'q')
			srv.depth = strtoul(optarg, NULL, 0);
		else if (c == 't')
			bad |= parse_taskrun(optarg, &srv.setup_flags) != 0;
		else if (c == 'h')
			help = true;
		else
			bad = true;
	}
	if (help || bad || optind + 1 != argc || !size_mib || !srv.depth || srv.depth > 1024) {
		usage(help ? stdout : stderr);
		return help ? 0 : 2;
	}
	srv.dir = argv[optind];
	null_fs_init((uint64_t)size_mib << 20);
	rc = start_signal_thread(&srv);
	if (!rc)
		rc = serve(&srv);
	if (rc)
		fprintf(stderr, "null_ring: %s\n", strerror(-rc));
	printf("requests ring %llu dev %llu\n", (unsigned long long)srv.nr_ring,
	       (unsigned long long)srv.nr_dev);
	return rc ? 1 : 0;
}
