/* SPDX-License-Identifier: Apache-2.0 */
/* fake_kernel.c -- see fake_kernel.h */
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"

#define WAIT_MS 20000

struct kernel kernel;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool ready, ended;

/* What fuse_mount.c does with a kernel. */

int pwc_mount_start(struct pwc_mount *m, struct pwc_shard *sh)
{
	int fd[2], size = 4 << 20, err = pwc_mount_open(m, sh);

	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return -errno;
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	m->is_mounted = true;
	kernel.fd = fd[0];
	return pwc_mount_attach(m, fd[1]);
}

int pwc_mount_spawn_umount(const struct pwc_mount *m, enum pwc_umount how, int *ret_pid)
{
	(void)m;
	(void)how;
	*ret_pid = 0;
	shutdown(kernel.fd, SHUT_RDWR);
	return 0;
}

int pwc_mount_abort(const struct pwc_mount *m)
{
	(void)m;
	shutdown(kernel.fd, SHUT_RDWR);
	return 0;
}

static void on_mounted(struct pwc_shard *sh)
{
	pthread_mutex_lock(&lock);
	kernel.sh = sh;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void on_ready(struct pwc_shard *sh)
{
	(void)sh;
	pthread_mutex_lock(&lock);
	ready = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void on_unmounted(struct pwc_shard *sh)
{
	(void)sh;
}

static void *run(void *arg)
{
	static const struct pwc_shard_ops ops = { on_ready, on_mounted, on_unmounted };
	struct pwc_shard *sh;
	int err;

	(void)arg;
	err = pwc_shard_new(&sh, &kernel.o, &ops, NULL);
	if (err) {
		kernel.exit_code = PW_EXIT_ERROR;
		snprintf(kernel.why, sizeof(kernel.why), "%s", pw_err_text(err));
	} else {
		kernel.exit_code = pwc_shard_run(sh);
		memcpy(kernel.why, sh->why, sizeof(kernel.why));
		pwc_shard_free(sh);
	}
	pthread_mutex_lock(&lock);
	ended = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static bool wait_mounted(void)
{
	bool mounted;

	pthread_mutex_lock(&lock);
	while (!kernel.sh && !ended)
		pthread_cond_wait(&changed, &lock);
	mounted = kernel.sh && !ended;
	pthread_mutex_unlock(&lock);
	return mounted;
}

static bool wait_ready(void)
{
	bool is_ready;

	pthread_mutex_lock(&lock);
	while (!ready && !ended)
		pthread_cond_wait(&changed, &lock);
	is_ready = ready;
	pthread_mutex_unlock(&lock);
	return is_ready;
}

static bool do_init(void)
{
	struct {
		struct fuse_in_header h;
		struct fuse_init_in in;
	} q = { { .len = sizeof(q), .opcode = FUSE_INIT, .unique = ++kernel.unique },
		{ .major = 7, .minor = 40, .max_readahead = 131072, .flags = ~0u } };
	struct {
		struct fuse_out_header h;
		struct fuse_init_out out;
	} a;

	if (send(kernel.fd, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q) ||
	    recv(kernel.fd, &a, sizeof(a), 0) != sizeof(a))
		return false;
	kernel.init = a.out;
	return !a.h.error;
}

bool kernel_try_start(const char *option_list)
{
	char why[256];

	memset(&kernel, 0, sizeof(kernel));
	kernel.fd = -1;
	ready = ended = false;
	kernel.o = (struct pwc_options){
		.host = "fake", .port = 1, .source = "fake:1:/", .max_io = 1u << 20,
		.slots = 64, .attr_timeout_ms = 1000, .io_uring = PWC_IO_URING_OFF,
	};
	snprintf(kernel.o.dir, sizeof(kernel.o.dir), "/pagewire-test-%d", getpid());
	if (pwc_options_parse_list(&kernel.o, option_list, why, sizeof(why)) ||
	    pthread_create(&kernel.thread, NULL, run, NULL))
		abort();
	return wait_mounted() && do_init() && wait_ready();
}

void kernel_start(const char *option_list)
{
	assert_true(kernel_try_start(option_list));
}

void kernel_join(void)
{
	assert_int_equal(pthread_join(kernel.thread, NULL), 0);
	if (kernel.fd >= 0)
		close(kernel.fd);
	kernel.fd = -1;
}

void kernel_stop(void)
{
	shutdown(kernel.fd, SHUT_RDWR);
	kernel_join();
}

void kernel_send_raw(const void *buf, size_t len)
{
	assert_int_equal(send(kernel.fd, buf, len, MSG_NOSIGNAL), (ssize_t)len);
}

uint64_t kernel_send(uint32_t opcode, uint64_t nodeid, const void *op_in, size_t op_in_len,
		     const void *payload, size_t payload_len)
{
	size_t len = sizeof(struct fuse_in_header) + op_in_len + payload_len;
	uint8_t *buf = malloc(len);
	struct fuse_in_header h = {
		.len = (uint32_t)len,
		.opcode = opcode,
		.unique = kernel.unique += 2,
		.nodeid = nodeid,
		.uid = 1000,
		.gid = 1001,
		.pid = (uint32_t)getpid(),
	};

	assert_non_null(buf);
	memcpy(buf, &h, sizeof(h));
	if (op_in_len)
		memcpy(buf + sizeof(h), op_in, op_in_len);
	if (payload_len)
		memcpy(buf + sizeof(h) + op_in_len, payload, payload_len);
	kernel_send_raw(buf, len);
	free(buf);
	return h.unique;
}

void kernel_receive(void)
{
	static uint8_t buf[sizeof(struct fuse_out_header) + sizeof(kernel.answer.data)];
	struct pollfd p = { .fd = kernel.fd, .events = POLLIN };
	struct fuse_out_header h;
	ssize_t n;

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	n = recv(kernel.fd, buf, sizeof(buf), 0);
	assert_true(n >= (ssize_t)sizeof(h));
	memcpy(&h, buf, sizeof(h));
	assert_int_equal(h.len, n);
	kernel.answer.error = h.error;
	kernel.answer.unique = h.unique;
	kernel.answer.len = (uint32_t)(n - (ssize_t)sizeof(h));
	memcpy(kernel.answer.data, buf + sizeof(h), kernel.answer.len);
	if (h.error && h.unique)
		assert_int_equal(kernel.answer.len, 0);
}

int kernel_call(uint32_t opcode, uint64_t nodeid, const void *op_in, size_t op_in_len,
		const void *payload, size_t payload_len)
{
	uint64_t unique = kernel_send(opcode, nodeid, op_in, op_in_len, payload, payload_len);

	kernel_receive();
	assert_int_equal(kernel.answer.unique, unique);
	return kernel.answer.error;
}

void kernel_expect_silence(void)
{
	/* POLL is answered at once and by itself */
	assert_int_equal(kernel_call(FUSE_POLL, 1, NULL, 0, NULL, 0), -ENOSYS);
}
