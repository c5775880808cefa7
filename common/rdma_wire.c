/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_wire.c -- judges what comes in front of a command */
#include "common/rdma_wire.h"

#include <errno.h>
#include <string.h>

static bool head_ok(const struct pw_rdma_head *h, bool to_node)
{
	bool has_place = h->flags & (PW_RDMA_PULL | PW_RDMA_WINDOW);

	if (h->magic != PW_RDMA_MAGIC || h->reserved || h->nr_grants > PW_RDMA_MAX_GRANTS)
		return false;
	/* only the node grants, only answers are pulled, only requests bring a window */
	if ((h->nr_grants || h->flags & PW_RDMA_PULL) && to_node)
		return false;
	if (h->flags & PW_RDMA_WINDOW && !to_node)
		return false;
	if (has_place ? !h->len || h->len > PW_MAX_IO : h->addr || h->rkey || h->len)
		return false;
	switch (h->type) {
	case PW_RDMA_MSG:
		return !h->slot && h->flags <= (PW_RDMA_PLACED | PW_RDMA_WINDOW);
	case PW_RDMA_CREDIT:
		return !h->slot && !h->flags;
	case PW_RDMA_PULLED:
		return to_node && h->slot < PW_MAX_SLOTS && !h->flags;
	default:
		return false;
	}
}

static bool grants_ok(const struct pw_rdma_grant *g, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		if (g[i].slot >= PW_MAX_SLOTS || g[i].reserved || g[i].reserved2 || !g[i].len)
			return false;
	return true;
}

/* @len: bytes behind the command */
static bool payload_ok(const struct pw_rdma_head *h, const struct pw_cmd *cmd, uint32_t len)
{
	if (h->flags & PW_RDMA_WINDOW && cmd->type != PW_MSG_REQ)
		return false;
	if (h->flags & PW_RDMA_PULL)
		return !(h->flags & PW_RDMA_PLACED) && !len && cmd->payload_len == h->len;
	if (h->flags & PW_RDMA_PLACED)
		return !len && cmd->payload_len;
	return len == cmd->payload_len && len <= PW_RDMA_INLINE_MAX;
}

int pw_rdma_parse(const void *buf, uint32_t len, bool to_node, struct pw_rdma_view *ret)
{
	const struct pw_rdma_head *h = buf;
	struct pw_rdma_view v = { .head = h, .grants = (const void *)(h + 1) };
	uint32_t at = sizeof(*h);

	if (len < at || !head_ok(h, to_node))
		return -EPROTO;
	at += h->nr_grants * (uint32_t)sizeof(*v.grants);
	if (len < at || !grants_ok(v.grants, h->nr_grants))
		return -EPROTO;
	if (h->type != PW_RDMA_MSG) {
		if (len != at)
			return -EPROTO;
		*ret = v;
		return 0;
	}
	if (len - at < PW_CMD_BYTES)
		return -EPROTO;
	v.cmd = (const void *)((const uint8_t *)buf + at);
	at += PW_CMD_BYTES;
	if (pw_cmd_check(v.cmd, to_node) || !payload_ok(h, v.cmd, len - at))
		return -EPROTO;
	if (len > at)
		v.payload = (const uint8_t *)buf + at;
	*ret = v;
	return 0;
}

void pw_rdma_cm_init(struct pw_rdma_cm *p, uint16_t credits)
{
	*p = (struct pw_rdma_cm){
		.magic = PW_RDMA_MAGIC,
		.version = PW_RDMA_VERSION,
		.credits = credits,
		.msg_bytes = PW_RDMA_MSG_BYTES,
	};
}

int pw_rdma_cm_check(const void *data, uint32_t len, struct pw_rdma_cm *ret)
{
	struct pw_rdma_cm p;

	/* the network may have padded it */
	if (!data || len < sizeof(p))
		return -EPROTO;
	memcpy(&p, data, sizeof(p));
	if (p.magic != PW_RDMA_MAGIC)
		return -EPROTO;
	if (p.version != PW_RDMA_VERSION)
		return -EPROTONOSUPPORT;
	if (p.reserved || p.reserved2 || p.credits < 2 || p.msg_bytes < PW_RDMA_MSG_BYTES)
		return -EPROTO;
	*ret = p;
	return 0;
}
