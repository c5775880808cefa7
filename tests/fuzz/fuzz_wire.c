/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire.c -- bytes of a peer through pw_cmd_check() and pw_dirent_next()
 *
 * Input: one byte (bit 0: to the node; bit 1: READDIR payload in place of a command), then the
 * bytes. What passes the check has to hold what the rest of the code takes for granted.
 */
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a fuzzer that is built without them would find nothing. */
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void check_io(const struct pw_cmd *c)
{
	MUST(c->io.len && c->io.len <= PW_MAX_IO);
	MUST(c->payload_len == (c->op == PW_OP_WRITE ? c->io.len : 0));
	if (!(c->io.flags & PW_IO_APPEND))
		MUST(c->io.off <= (uint64_t)PW_OFF_MAX &&
		     c->io.off + c->io.len <= (uint64_t)PW_OFF_MAX);
}

static void check_req(const struct pw_cmd *c)
{
	MUST(!c->status);
	switch (c->op) {
	case PW_OP_LOOKUP:
	case PW_OP_UNLINK:
	case PW_OP_RMDIR:
	case PW_OP_LINK:
		MUST(c->payload_len >= 1 && c->payload_len <= PW_NAME_MAX);
		break;
	case PW_OP_MKNODE:
	case PW_OP_CREATE:
		MUST(c->mknode.name_len >= 1 && c->mknode.name_len <= c->payload_len);
		MUST(c->payload_len - c->mknode.name_len <= PW_SYMLINK_MAX);
		break;
	case PW_OP_RENAME:
		MUST(c->rename.old_len >= 1 && c->rename.old_len < c->payload_len);
		MUST(c->payload_len - c->rename.old_len <= PW_NAME_MAX);
		break;
	case PW_OP_READ:
	case PW_OP_WRITE:
		check_io(c);
		break;
	case PW_OP_RECLAIM:
		MUST(!c->slot && (uint64_t)c->reclaim.nr * PW_RECLAIM_BYTES == c->payload_len);
		break;
	default:
		MUST(!c->payload_len);
		break;
	}
}

static void check_cmd(const struct pw_cmd *c, bool to_node)
{
	if (pw_cmd_check(c, to_node))
		return;
	MUST(c->magic == PW_WIRE_MAGIC && c->type && c->type < PW_MSG_NR);
	MUST(c->payload_len <= PW_MAX_IO && c->slot < PW_MAX_SLOTS);
	MUST(!pw_cmd_check(c, !to_node) == (c->type == PW_MSG_PING || c->type == PW_MSG_PONG));
	if (c->type == PW_MSG_REQ || c->type == PW_MSG_RSP)
		MUST(c->op && strcmp(pw_op_name(c->op), "?"));
	else
		MUST(!c->op && !c->payload_len);
	if (c->type == PW_MSG_REQ)
		check_req(c);
	if (c->type == PW_MSG_RAILS)
		MUST(c->rails.first < c->rails.total && c->rails.total <= PW_RAILS_MAX &&
		     c->rails.rail[0].port);
	if (c->type == PW_MSG_RSP && c->status)
		MUST(!c->payload_len);
}

static void check_dirents(const uint8_t *buf, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	size_t pos = 0, put = 0, before = 0;
	const struct pw_dirent *d;
	const char *name;
	int res;

	MUST(copy);
	while ((res = pw_dirent_next(buf, len, &pos, &d, &name)) == 1) {
		MUST(pos > before && pos <= len);
		before = pos;
		MUST((const uint8_t *)name + d->name_len <= buf + len);
		MUST(!pw_name_check(name, d->name_len));
		MUST(!pw_dirent_put(copy, len, &put, d->cookie, &d->attr, name, d->name_len));
		MUST(put == pos);
	}
	MUST(res == 0 ? pos == len : pos == before);
	/* there is one way to write a record */
	MUST(!memcmp(copy, buf, pos));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *buf;

	if (!size)
		return 0;
	/* aligned as the receive buffers are, and not a byte longer */
	buf = aligned_alloc(8, PW_ROUND_UP(size, 8));
	MUST(buf);
	memcpy(buf, data + 1, size - 1);
	if (data[0] & 2) {
		check_dirents(buf, size - 1);
	} else {
		struct pw_cmd c;

		memset(&c, 0, sizeof(c));
		memcpy(&c, buf, PW_MIN(sizeof(c), size - 1));
		check_cmd(&c, data[0] & 1);
	}
	free(buf);
	return 0;
}
