/* SPDX-License-Identifier: Apache-2.0 */
/* raw_client.c -- see raw_client.h */
#include "raw_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/err.h"

static void on_up(struct pw_conn *conn, const struct pw_body_welcome *w)
{
	struct raw_client *c = pw_conn_owner(conn);

	c->welcome = *w;
	c->up = true;
	c->down = true; /* ends the wait of raw_connect(); cleared there */
}

static void *on_payload(struct pw_conn *conn, const struct pw_cmd *cmd)
{
	struct raw_client *c = pw_conn_owner(conn);

	if (cmd->slot >= RAW_SLOTS || cmd->payload_len > c->calls[cmd->slot].out_max)
		return NULL;
	return c->calls[cmd->slot].out;
}

static void on_msg(struct pw_conn *conn, const struct pw_cmd *cmd, void *payload)
{
	struct raw_client *c = pw_conn_owner(conn);

	(void)payload;
	c->nr_answers++;
	if (cmd->slot >= RAW_SLOTS || cmd->seq != c->seq[cmd->slot])
		abort();
	c->calls[cmd->slot].rsp = *cmd;
	c->calls[cmd->slot].answered = true;
}

static void on_down(struct pw_conn *conn, int err, const char *why)
{
	struct raw_client *c = pw_conn_owner(conn);

	(void)why;
	c->up = false;
	c->down = true;
	c->down_err = err;
	for (uint32_t i = 0; i < RAW_SLOTS; i++)
		c->calls[i].answered = true;
}

static const struct pw_conn_ops ops = {
	.on_up = on_up,
	.on_payload = on_payload,
	.on_msg = on_msg,
	.on_down = on_down,
};

int raw_init(struct raw_client *c, struct pw_loop *loop, uint8_t id,
	     bool (*run_until)(struct pw_loop *loop, const bool *flag))
{
	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->run_until = run_until;
	memset(c->id.id, id, sizeof(c->id.id));
	return pw_conn_new(loop, &ops, c, &c->id, NULL, &c->conn);
}

int raw_connect(struct raw_client *c, const char *host, uint16_t port)
{
	int err = pw_conn_connect(c->conn, host, port, ++c->incarnation);

	if (err)
		return err;
	c->up = c->down = false;
	c->run_until(c->loop, &c->down);
	c->down = !c->up;
	return c->up ? 0 : c->down_err;
}

void raw_close(struct raw_client *c, bool goodbye)
{
	if (pw_conn_state(c->conn) == PW_CONN_DOWN)
		return;
	if (goodbye)
		pw_conn_goodbye(c->conn);
	else
		pw_conn_fail(c->conn, -ECONNRESET, "test");
	c->run_until(c->loop, &c->down);
}

void raw_fini(struct raw_client *c)
{
	raw_close(c, false);
	pw_conn_free(c->conn);
}

static void on_sent(struct pw_send *s, int err)
{
	struct raw_call *call = pw_container_of(s, struct raw_call, send);

	(void)err;
	call->sent = true;
}

static void send_it(struct raw_client *c, uint16_t slot)
{
	struct raw_call *call = &c->calls[slot];

	call->answered = false;
	call->sent = false;
	call->send.done = on_sent;
	if (pw_conn_send(c->conn, &call->send))
		call->answered = call->sent = true;
}

void raw_start(struct raw_client *c, uint16_t slot, const struct pw_cmd *cmd, const void *payload,
	       void *out, uint32_t out_max)
{
	struct raw_call *call = &c->calls[slot];

	memset(call, 0, sizeof(*call));
	call->send.cmd = *cmd;
	call->send.cmd.slot = slot;
	call->send.cmd.seq = ++c->seq[slot];
	call->send.payload = cmd->payload_len ? payload : NULL;
	call->out = out;
	call->out_max = out_max;
	send_it(c, slot);
}

void raw_again(struct raw_client *c, uint16_t slot)
{
	memset(&c->calls[slot].rsp, 0, sizeof(c->calls[slot].rsp));
	send_it(c, slot);
}

int raw_wait(struct raw_client *c, uint16_t slot)
{
	struct raw_call *call = &c->calls[slot];

	/* both: the answer may come before the transport lets go of the request */
	if (!c->run_until(c->loop, &call->answered) || !c->run_until(c->loop, &call->sent))
		return -ETIMEDOUT;
	if (!call->rsp.type)
		return -ENOTCONN;
	return pw_err_from_wire(call->rsp.status);
}

int raw_call(struct raw_client *c, uint16_t slot, const struct pw_cmd *cmd, const void *payload,
	     void *out, uint32_t out_max)
{
	raw_start(c, slot, cmd, payload, out, out_max);
	return raw_wait(c, slot);
}

static int attr_call(struct raw_client *c, const struct pw_cmd *cmd, const void *payload,
		     struct pw_attr *ret)
{
	int err = raw_call(c, 1, cmd, payload, NULL, 0);

	if (!err && ret)
		*ret = c->calls[1].rsp.attr.attr;
	return err;
}

static int name_call(struct raw_client *c, enum pw_op op, uint64_t parent, const char *name,
		     struct pw_attr *ret)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.name.parent = parent;
	cmd.payload_len = (uint32_t)strlen(name);
	return attr_call(c, &cmd, name, ret);
}

int raw_lookup(struct raw_client *c, uint64_t parent, const char *name, struct pw_attr *ret)
{
	return name_call(c, PW_OP_LOOKUP, parent, name, ret);
}

int raw_unlink(struct raw_client *c, uint64_t parent, const char *name)
{
	return name_call(c, PW_OP_UNLINK, parent, name, NULL);
}

static int make(struct raw_client *c, enum pw_op op, uint64_t parent, const char *name,
		uint32_t mode, uint32_t flags, struct pw_attr *ret)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.mknode.parent = parent;
	cmd.mknode.mode = mode;
	cmd.mknode.flags = flags;
	cmd.mknode.name_len = (uint32_t)strlen(name);
	cmd.payload_len = cmd.mknode.name_len;
	return attr_call(c, &cmd, name, ret);
}

int raw_create(struct raw_client *c, uint64_t parent, const char *name, uint32_t flags,
	       struct pw_attr *ret)
{
	return make(c, PW_OP_CREATE, parent, name, S_IFREG | 0644, flags, ret);
}

int raw_mkdir(struct raw_client *c, uint64_t parent, const char *name, struct pw_attr *ret)
{
	return make(c, PW_OP_MKNODE, parent, name, S_IFDIR | 0755, 0, ret);
}

static int ino_call(struct raw_client *c, enum pw_op op, uint64_t ino, uint32_t flags,
		    struct pw_attr *ret)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.ino.ino = ino;
	cmd.ino.flags = flags;
	return attr_call(c, &cmd, NULL, ret);
}

int raw_getattr(struct raw_client *c, uint64_t ino, struct pw_attr *ret)
{
	return ino_call(c, PW_OP_GETATTR, ino, 0, ret);
}

int raw_open(struct raw_client *c, uint64_t ino, uint32_t flags)
{
	return ino_call(c, PW_OP_OPEN, ino, flags, NULL);
}

int raw_release(struct raw_client *c, uint64_t ino, uint32_t nr)
{
	return ino_call(c, PW_OP_RELEASE, ino, nr, NULL);
}

int raw_fsync(struct raw_client *c, uint64_t ino)
{
	return ino_call(c, PW_OP_FSYNC, ino, 0, NULL);
}

int raw_truncate(struct raw_client *c, uint64_t ino, uint64_t size)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_SETATTR);
	cmd.setattr.ino = ino;
	cmd.setattr.valid = PW_SET_SIZE;
	cmd.setattr.size = size;
	return attr_call(c, &cmd, NULL, NULL);
}

int raw_write(struct raw_client *c, uint64_t ino, uint64_t off, const void *buf, uint32_t len,
	      uint32_t flags, struct pw_body_attr *ret)
{
	struct pw_cmd cmd;
	int err;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_WRITE);
	cmd.io.ino = ino;
	cmd.io.off = off;
	cmd.io.len = len;
	cmd.io.flags = flags;
	cmd.payload_len = len;
	err = raw_call(c, 1, &cmd, buf, NULL, 0);
	if (!err && ret)
		*ret = c->calls[1].rsp.attr;
	return err;
}

int raw_read(struct raw_client *c, uint64_t ino, uint64_t off, void *buf, uint32_t len,
	     uint32_t *ret_len)
{
	struct pw_cmd cmd;
	int err;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_READ);
	cmd.io.ino = ino;
	cmd.io.off = off;
	cmd.io.len = len;
	err = raw_call(c, 1, &cmd, NULL, buf, len);
	*ret_len = c->calls[1].rsp.payload_len;
	return err;
}

int raw_reclaim(struct raw_client *c, const uint64_t *inos, uint32_t nr, bool last)
{
	struct {
		uint64_t ino;
		uint32_t opens, reserved;
	} recs[64] = { 0 };
	struct pw_cmd cmd;

	if (nr > PW_ARRAY_SIZE(recs))
		abort();
	for (uint32_t i = 0; i < nr; i++) {
		recs[i].ino = inos[i];
		recs[i].opens = 1;
	}
	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_RECLAIM);
	cmd.reclaim.nr = nr;
	cmd.reclaim.last = last;
	cmd.payload_len = nr * PW_RECLAIM_BYTES;
	return raw_call(c, 0, &cmd, recs, NULL, 0);
}
