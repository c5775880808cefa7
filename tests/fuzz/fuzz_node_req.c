/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_node_req.c -- clients that say anything, in any order, to a whole node in memory
 *
 * Input: a program of steps, one byte each, with arguments behind it: connections come, break, hold
 * their sends; requests of every kind in small numbers of slots, inodes and names, with numbers
 * that are next, again, old or too far ahead; raw 128 bytes; time; an index that is difficult;
 * restarts. Whatever comes: no assertion, no answer that conn would not send, and in the end every
 * buffer is home again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"

#include "tests/unit/node/node_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define CLIENTS	  3u
#define STEPS_MAX 400u

struct world {
	const uint8_t *p, *end;
	struct fx f;
	struct pw_conn *conn[CLIENTS]; /* NULL: none that we know of */
	uint64_t incarnation[CLIENTS];
	uint64_t seq[CLIENTS][FX_SLOTS + 1];
};

static uint8_t payload[FX_MAX_IO + 4 * PWS_BLOCK];

static uint8_t byte(struct world *w)
{
	return w->p < w->end ? *w->p++ : 0;
}

static void take(struct world *w, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = byte(w);
}

/* A connection that the node has ended is forgotten before its memory is. */
static void settle(struct world *w)
{
	struct pw_cmd rsp;

	for (uint32_t i = 0; i < CLIENTS; i++) {
		if (!w->conn[i] || !fake_is_up(w->conn[i]))
			continue;
		while (fake_take(w->conn[i], &rsp, w->f.out, sizeof(w->f.out)))
			;
	}
	vloop_settle(w->f.loop);
	for (uint32_t i = 0; i < CLIENTS; i++)
		if (w->conn[i] && !fake_is_up(w->conn[i]))
			w->conn[i] = NULL;
}

static void step_connect(struct world *w)
{
	struct pw_body_hello h = { .version = 1, .version_min = 1, .role = 1 };
	uint8_t i = byte(w) % CLIENTS, how = byte(w);
	struct pw_body_welcome welcome;
	struct pw_conn *c;

	memset(h.client_id, i + 1, sizeof(h.client_id));
	h.incarnation = how & 1 ? ++w->incarnation[i] : byte(w);
	h.channel = how & 2 ? byte(w) : 0;
	h.want_slots = how & 4 ? byte(w) + 1u : FX_SLOTS;
	if (how & 8)
		h.fsid[0] = byte(w);
	c = fake_accept();
	if (how & 16) {
		fake_break(c, -ECONNRESET);
		settle(w);
		return;
	}
	/* the one before may still be up: the node ends it, or refuses the new one */
	if (!fake_hello(c, &h, &welcome))
		w->conn[i] = c;
	settle(w);
}

static uint64_t some_ino(struct world *w)
{
	return byte(w) % 24;
}

/* Names are few, so that they collide; some are no names. */
static uint32_t put_name(struct world *w, uint8_t *to)
{
	static const char *const names[] = {
		"a", "b", "c", "dir", "..", "x/y", "", "long-name-long"
	};
	const char *s = names[byte(w) % PW_ARRAY_SIZE(names)];

	memcpy(to, s, strlen(s));
	return (uint32_t)strlen(s);
}

static void fill_mknode(struct world *w, struct pw_cmd *cmd)
{
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR };

	cmd->mknode.parent = some_ino(w);
	cmd->mknode.mode = types[byte(w) % PW_ARRAY_SIZE(types)] | 0644;
	if (cmd->op == PW_OP_CREATE)
		cmd->mknode.mode = S_IFREG | 0600;
	cmd->mknode.flags = cmd->op == PW_OP_CREATE ? byte(w) % 2 : 0;
	cmd->mknode.name_len = put_name(w, payload);
	cmd->payload_len = cmd->mknode.name_len;
	if (S_ISLNK(cmd->mknode.mode))
		cmd->payload_len += put_name(w, payload + cmd->payload_len);
}

static void fill_io(struct world *w, struct pw_cmd *cmd)
{
	static const uint32_t lens[] = {
		1,	   100,		  4096,		 5000,
		FX_MAX_IO, FX_MAX_IO - 1, FX_MAX_IO + 1, FX_MAX_IO + 2 * PWS_BLOCK
	};

	cmd->io.ino = some_ino(w);
	cmd->io.off = (uint64_t)byte(w) * 1000;
	if (byte(w) % 16 == 0)
		cmd->io.off = PW_FILE_MAX - byte(w) * 4096ull;
	cmd->io.len = lens[byte(w) % PW_ARRAY_SIZE(lens)];
	if (cmd->op == PW_OP_WRITE) {
		cmd->io.flags = byte(w) % 8;
		cmd->payload_len = cmd->io.len;
	}
}

static void fill_reclaim(struct world *w, struct pw_cmd *cmd)
{
	cmd->slot = 0;
	cmd->reclaim.nr = byte(w) % 8;
	cmd->reclaim.last = byte(w) % 2;
	cmd->payload_len = cmd->reclaim.nr * PW_RECLAIM_BYTES;
	memset(payload, 0, cmd->payload_len);
	for (uint32_t i = 0; i < cmd->reclaim.nr; i++) {
		payload[i * PW_RECLAIM_BYTES] = (uint8_t)some_ino(w);
		payload[i * PW_RECLAIM_BYTES + 8] = byte(w) % 4;
	}
}

static void fill_setattr(struct world *w, struct pw_cmd *cmd)
{
	cmd->setattr.ino = some_ino(w);
	cmd->setattr.valid = byte(w) | (byte(w) % 4) << 8;
	cmd->setattr.mode = byte(w);
	cmd->setattr.size = (uint64_t)byte(w) * 777;
	if (byte(w) % 16 == 0)
		cmd->setattr.size = PW_FILE_MAX;
}

static void fill_names(struct world *w, struct pw_cmd *cmd)
{
	uint32_t n = put_name(w, payload);

	switch (cmd->op) {
	case PW_OP_RENAME:
		cmd->rename.old_parent = some_ino(w);
		cmd->rename.new_parent = some_ino(w);
		cmd->rename.flags = byte(w) % 3;
		cmd->rename.old_len = n;
		n += put_name(w, payload + n);
		break;
	case PW_OP_LINK:
		cmd->link.ino = some_ino(w);
		cmd->link.new_parent = some_ino(w);
		break;
	default:
		cmd->name.parent = some_ino(w);
		break;
	}
	cmd->payload_len = n;
}

static void fill(struct world *w, struct pw_cmd *cmd)
{
	switch (cmd->op) {
	case PW_OP_LOOKUP:
	case PW_OP_UNLINK:
	case PW_OP_RMDIR:
	case PW_OP_RENAME:
	case PW_OP_LINK:
		fill_names(w, cmd);
		return;
	case PW_OP_SETATTR:
		fill_setattr(w, cmd);
		return;
	case PW_OP_MKNODE:
	case PW_OP_CREATE:
		fill_mknode(w, cmd);
		return;
	case PW_OP_READDIR:
		cmd->readdir.ino = some_ino(w);
		cmd->readdir.cookie = byte(w);
		cmd->readdir.max_bytes = byte(w) * 400u;
		return;
	case PW_OP_READ:
	case PW_OP_WRITE:
		fill_io(w, cmd);
		return;
	case PW_OP_RECLAIM:
		fill_reclaim(w, cmd);
		return;
	default:
		cmd->ino.ino = cmd->op == PW_OP_STATFS ? 0 : some_ino(w);
		if (cmd->op == PW_OP_OPEN || cmd->op == PW_OP_RELEASE)
			cmd->ino.flags = byte(w) % 4;
		return;
	}
}

static void choose_seq(struct world *w, uint8_t client, struct pw_cmd *cmd)
{
	uint64_t *seq = &w->seq[client][cmd->slot % (FX_SLOTS + 1)];

	switch (byte(w) % 8) {
	case 0:
		cmd->seq = *seq; /* again */
		break;
	case 1:
		cmd->seq = byte(w); /* anything */
		break;
	case 2:
		cmd->seq = *seq += 2;
		break;
	default:
		cmd->seq = ++*seq;
		break;
	}
}

static void step_request(struct world *w)
{
	uint8_t client = byte(w) % CLIENTS, how = byte(w);
	struct pw_conn *c = w->conn[client];
	struct pw_cmd cmd;
	void *to;

	pw_cmd_init(&cmd, PW_MSG_REQ, (enum pw_op)(1 + byte(w) % (PW_OP_NR - 1)));
	cmd.slot = (uint16_t)(how % 8 ? 1u + how % 3 : byte(w) % (FX_SLOTS + 1));
	fill(w, &cmd);
	choose_seq(w, client, &cmd);
	if (!c)
		return;
	if (how & 64 && cmd.payload_len) {
		/* half of it, then the connection breaks or goes on */
		to = fake_deliver_cmd(c, &cmd);
		if (how & 32)
			settle(w);
		if (to && how & 16 && fake_is_up(c))
			fake_deliver_rest(c, &cmd, payload, to);
		else if (fake_is_up(c))
			fake_break(c, -ECONNRESET);
	} else {
		fake_deliver(c, &cmd, payload);
	}
	if (how & 128)
		settle(w);
	else if (!fake_is_up(c))
		settle(w);
}

static void step_raw(struct world *w)
{
	struct pw_conn *c = w->conn[byte(w) % CLIENTS];
	struct pw_cmd cmd;

	take(w, &cmd, sizeof(cmd));
	if (byte(w) % 4) {
		cmd.magic = PW_WIRE_MAGIC;
		cmd.type = PW_MSG_REQ;
		cmd.status = 0;
		cmd.epoch = 0;
		cmd.slot %= FX_SLOTS + 2;
		cmd.payload_len %= sizeof(payload);
	}
	if (c && cmd.payload_len <= sizeof(payload) && cmd.type == PW_MSG_REQ)
		fake_deliver(c, &cmd, payload);
	settle(w);
}

static void step_faults(struct world *w)
{
	struct pws_kv_mem_faults faults = {
		.conflict = byte(w) % 4 * 100u,
		.unknown_applied = byte(w) % 4 * 100u,
		.unknown_lost = byte(w) % 4 * 100u,
		.read_async = byte(w) % 4 * 100u,
		.delay_ns_max = byte(w) % 4 * PW_NS_PER_MS,
	};

	pws_kv_mem_set_faults(w->f.kv, &faults);
}

static void step_restart(struct world *w)
{
	settle(w);
	fx_stop(&w->f);
	memset(w->conn, 0, sizeof(w->conn));
	fx_start(&w->f);
}

static void step_other(struct world *w, uint8_t what)
{
	struct pw_conn *c = w->conn[byte(w) % CLIENTS];

	switch (what % 6) {
	case 0:
		vloop_advance(w->f.loop, byte(w) * PW_NS_PER_MS);
		break;
	case 1:
		vloop_advance(w->f.loop, FX_LEASE_MS * PW_NS_PER_MS / (1 + byte(w) % 4));
		break;
	case 2:
		if (c)
			fake_break(c, -ECONNRESET);
		break;
	case 3:
		if (c)
			fake_goodbye(c);
		break;
	case 4:
		if (c)
			fake_hold_sends(c, byte(w) % 2);
		break;
	default:
		step_faults(w);
		break;
	}
	settle(w);
}

static void finish(struct world *w)
{
	const uint32_t home = pws_node_bufs_needed(FX_SLOTS, 3) - 1 - PWS_RECLAIM_JOBS;
	struct pws_store_space sp;

	/* channels that were forgotten here are still connected */
	pws_guests_fail(w->f.node, -ESHUTDOWN, "goodbye");
	settle(w);
	pws_kv_mem_set_faults(w->f.kv, &(struct pws_kv_mem_faults){ 0 });
	vloop_advance(w->f.loop, 3 * FX_LEASE_MS * PW_NS_PER_MS);
	MUST(!w->f.node->nr_busy && !w->f.node->sessions.nr && !w->f.node->opens.nr);
	MUST(pw_list_empty(&w->f.node->appends) && pw_list_empty(&w->f.node->guests));
	MUST(!w->f.node->reclaim.nr_running && !w->f.node->reclaim.nr);
	w->f.store->ops->space(w->f.store, &sp);
	MUST(pws_bufpool_nr_free(w->f.bufs) == home + sp.free / FX_MAX_IO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;

	pw_log_set_level((enum pw_log_level)0);
	memset(&w, 0, sizeof(w));
	w.p = data;
	w.end = data + size;
	fx_init(&w.f);
	for (uint32_t i = 0; i < STEPS_MAX && w.p < w.end; i++) {
		uint8_t what = byte(&w);

		if (what < 30)
			step_connect(&w);
		else if (what < 190)
			step_request(&w);
		else if (what < 210)
			step_raw(&w);
		else if (what < 214)
			step_restart(&w);
		else
			step_other(&w, what);
	}
	finish(&w);
	fx_fini(&w.f);
	return 0;
}
