/* SPDX-License-Identifier: Apache-2.0 */
/* sweep_shard.c -- a mount that has to end well whatever fails on the way
 *
 * Without a fault everything works; with one, the mount does not come to be, or it ends, or one
 * operation fails; each request that is answered is answered once, the thread ends, and nothing
 * leaks.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fake_kernel.h"
#include "fake_peer.h"

#define WAIT_MS 20000

static void must(bool cond, const char *what)
{
	if (cond)
		return;
	fprintf(stderr, "sweep_shard: %s\n", what);
	exit(1);
}

/* Return: false when the shard has closed its end; *ret_err is the answer's. */
static bool call(uint32_t opcode, uint64_t nodeid, const void *op_in, size_t op_in_len,
		 const char *payload, size_t payload_len, int *ret_err)
{
	static uint8_t buf[1 << 17];
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + op_in_len + payload_len),
		.opcode = opcode,
		.unique = kernel.unique += 2,
		.nodeid = nodeid,
	};
	struct fuse_out_header *out = (void *)buf;
	struct pollfd p = { .fd = kernel.fd, .events = POLLIN };
	ssize_t n;

	memcpy(buf, &h, sizeof(h));
	if (op_in_len)
		memcpy(buf + sizeof(h), op_in, op_in_len);
	if (payload_len)
		memcpy(buf + sizeof(h) + op_in_len, payload, payload_len);
	send(kernel.fd, buf, h.len, MSG_NOSIGNAL);
	do {
		must(poll(&p, 1, WAIT_MS) == 1, "no answer");
		n = recv(kernel.fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return false;
	} while (!out->unique); /* notifications */
	must(out->unique == h.unique, "an answer to something else");
	memcpy(kernel.answer.data, out + 1, (size_t)n - sizeof(*out));
	*ret_err = out->error;
	return true;
}

/* Return: operations that worked. */
static uint32_t use(void)
{
	struct fuse_create_in create = { .flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644 };
	struct fuse_open_in open_in = { .flags = O_RDWR };
	struct fuse_write_in write_in = { .size = 5 };
	struct fuse_read_in read_in = { .size = 4096 };
	struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
	struct fuse_release_in release = { .fh = 0 };
	uint64_t ino = 0;
	uint32_t good = 0;
	int err;

	if (!call(FUSE_CREATE, 1, &create, sizeof(create), "file", 5, &err))
		return good;
	good += !err;
	ino = err ? 0 : ((struct fuse_entry_out *)(void *)kernel.answer.data)->nodeid;
	if (!call(FUSE_MKDIR, 1, &mkdir_in, sizeof(mkdir_in), "dir", 4, &err))
		return good;
	good += !err;
	if (!call(FUSE_READDIR, 1, &read_in, sizeof(read_in), NULL, 0, &err))
		return good;
	good += !err;
	if (!ino)
		return good;
	if (!call(FUSE_OPEN, ino, &open_in, sizeof(open_in), NULL, 0, &err))
		return good;
	good += !err;
	if (!call(FUSE_WRITE, ino, &write_in, sizeof(write_in), "hello", 5, &err))
		return good;
	good += !err;
	if (!call(FUSE_READ, ino, &read_in, sizeof(read_in), NULL, 0, &err))
		return good;
	good += !err && !memcmp(kernel.answer.data, "hello", 5);
	if (!call(FUSE_RELEASE, ino, &release, sizeof(release), NULL, 0, &err))
		return good;
	return good + !err;
}

int main(void)
{
	const char *fault = getenv("PW_FAULT");
	bool may_fail = fault && strcmp(fault, "count");
	uint32_t good = 0;

	fake_peer_reset();
	if (kernel_try_start("rw")) {
		good = use();
		kernel_stop();
	} else {
		kernel_join();
		must(may_fail, "the mount did not come to be");
		must(kernel.exit_code && *kernel.why, "no reason was given");
	}
	must(may_fail || good == 7, "an operation failed");
	must(!fake.bad_cmds, "a command that no node takes");
	fake_peer_reset();
	printf("sweep_shard: %u operations worked\n", good);
	return 0;
}
