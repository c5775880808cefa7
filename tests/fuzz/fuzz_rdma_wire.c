/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_rdma_wire.c -- any bytes as an RDMA message
 *
 * First byte: for whom. Whatever comes: what passes lies inside of the message, its lengths agree,
 * and nothing in it goes beyond the limits that its user relies on.
 */
#include <stdlib.h>
#include <string.h>

#include "common/rdma_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void check(const struct pw_rdma_view *v, const uint8_t *buf, uint32_t len, bool to_node)
{
	const struct pw_rdma_head *h = v->head;
	const uint8_t *end = (const uint8_t *)(v->grants + h->nr_grants);

	MUST((const uint8_t *)h == buf && end <= buf + len);
	MUST(!to_node || !h->nr_grants);
	for (uint32_t i = 0; i < h->nr_grants; i++)
		MUST(v->grants[i].slot < PW_MAX_SLOTS && v->grants[i].len);
	if (!v->cmd) {
		MUST(!v->payload && end == buf + len && h->slot < PW_MAX_SLOTS);
		return;
	}
	MUST((const uint8_t *)v->cmd == end && end + PW_CMD_BYTES <= buf + len);
	MUST(!pw_cmd_check(v->cmd, to_node));
	if (v->payload)
		MUST(v->payload + v->cmd->payload_len == buf + len &&
		     v->cmd->payload_len <= PW_RDMA_INLINE_MAX);
	else
		MUST(end + PW_CMD_BYTES == buf + len);
	if (v->cmd->payload_len && !v->payload)
		MUST(h->flags & (PW_RDMA_PLACED | PW_RDMA_PULL));
	if (h->flags & PW_RDMA_PULL)
		MUST(!to_node && h->len == v->cmd->payload_len);
	if (h->flags & PW_RDMA_WINDOW)
		MUST(to_node && h->len && v->cmd->type == PW_MSG_REQ);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* exactly as long as the message: what reads beyond it is found */
	uint32_t len = size ? (uint32_t)size - 1 : 0;
	uint8_t *buf = malloc(len ? len : 1);
	struct pw_rdma_view v;
	struct pw_rdma_cm cm;

	MUST(buf);
	if (len)
		memcpy(buf, data + 1, len);
	if (size && !pw_rdma_parse(buf, len, data[0] & 1, &v))
		check(&v, buf, len, data[0] & 1);
	if (!pw_rdma_cm_check(buf, len, &cm))
		MUST(cm.credits >= 2 && cm.msg_bytes >= PW_RDMA_MSG_BYTES);
	free(buf);
	return 0;
}
