/* SPDX-License-Identifier: Apache-2.0 */
/* node_fixture.c -- see node_fixture.h */
#include "node_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/err.h"

#define MEMORY_BYTES (4 * PW_MIB)

static void on_ready(void *arg, int err)
{
	struct fx *f = arg;

	f->ready = true;
	f->err = err;
}

static void on_stopped(void *arg)
{
	((struct fx *)arg)->stopped = true;
}

static void on_store_stopped(void *arg)
{
	(void)arg;
}

void fx_start(struct fx *f)
{
	struct pws_store_opts so = {
		.kv = f->kv,
		.bufs = f->bufs,
		.max_io = FX_MAX_IO,
		.max_inflight = 64,
		.memory_bytes = MEMORY_BYTES,
	};
	struct pws_node_opts o = {
		.id.fsid = { 1, 2, 3 },
		.kv = f->kv,
		.bufs = f->bufs,
		.max_io = FX_MAX_IO,
		.slots = FX_SLOTS,
		.max_clients = 3,
		.lease_ms = FX_LEASE_MS,
		.host = "test",
	};

	if (!f->store)
		assert_int_equal(pws_store_open_memory(f->loop, &so, &f->store), 0);
	o.store = f->store;
	assert_int_equal(pws_node_new(f->loop, &o, &f->node), 0);
	f->ready = false;
	pws_node_start(f->node, on_ready, f);
	assert_true(vloop_run_until(f->loop, &f->ready));
}

void fx_init(struct fx *f)
{
	uint32_t nr = pws_node_bufs_needed(FX_SLOTS, 3) + (uint32_t)(MEMORY_BYTES / FX_MAX_IO);

	memset(f, 0, sizeof(*f));
	vrandom_seed(1);
	f->loop = vloop_new();
	assert_int_equal(pws_kv_mem_open(f->loop, &f->kv), 0);
	assert_int_equal(pws_bufpool_new(nr, pws_node_buf_bytes(FX_MAX_IO), &f->bufs), 0);
	fx_start(f);
	assert_int_equal(f->err, 0);
}

void fx_stop(struct fx *f)
{
	f->stopped = false;
	pws_node_stop(f->node, 1000, on_stopped);
	assert_true(vloop_run_until(f->loop, &f->stopped));
	assert_int_equal(fake_nr_conns(), 0);
	pws_node_free(f->node);
	f->node = NULL;
}

void fx_restart(struct fx *f)
{
	fx_stop(f);
	fx_start(f);
	assert_int_equal(f->err, 0);
}

void fx_fini(struct fx *f)
{
	struct pws_kv_mem_faults none = { 0 };

	pws_kv_mem_set_faults(f->kv, &none);
	if (f->node)
		fx_stop(f);
	f->store->ops->stop(f->store, on_store_stopped, f);
	vloop_settle(f->loop);
	f->store->ops->close(f->store);
	f->kv->ops->close(f->kv);
	pws_bufpool_free(f->bufs);
	vloop_free(f->loop);
}

struct pw_conn *fx_connect_w(struct fx *f, uint8_t id, uint64_t incarnation, uint32_t channel,
			     struct pw_body_welcome *ret)
{
	struct pw_body_hello h = {
		.version = 1,
		.version_min = 1,
		.role = 1,
		.incarnation = incarnation,
		.channel = channel,
		.want_slots = FX_SLOTS,
	};
	struct pw_conn *c = fake_accept();

	memset(h.client_id, id, sizeof(h.client_id));
	f->err = fake_hello(c, &h, ret);
	vloop_settle(f->loop);
	return f->err ? NULL : c;
}

struct pw_conn *fx_connect(struct fx *f, uint8_t id, uint64_t incarnation)
{
	struct pw_body_welcome w;

	return fx_connect_w(f, id, incarnation, 0, &w);
}

void fx_break(struct fx *f, struct pw_conn *c)
{
	fake_break(c, -ECONNRESET);
	vloop_settle(f->loop);
}

struct pw_cmd fx_name(enum pw_op op, const char *name)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.name.parent = PWS_ROOT_INO;
	cmd.payload_len = (uint32_t)strlen(name);
	return cmd;
}

struct pw_cmd fx_create(const char *name, uint32_t flags)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_CREATE);
	cmd.mknode.parent = PWS_ROOT_INO;
	cmd.mknode.mode = S_IFREG | 0644;
	cmd.mknode.flags = flags;
	cmd.mknode.name_len = cmd.payload_len = (uint32_t)strlen(name);
	return cmd;
}

struct pw_cmd fx_ino(enum pw_op op, uint64_t ino, uint32_t flags)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.ino.ino = ino;
	cmd.ino.flags = flags;
	return cmd;
}

struct pw_cmd fx_io(enum pw_op op, uint64_t ino, uint64_t off, uint32_t len, uint32_t flags)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, op);
	cmd.io.ino = ino;
	cmd.io.off = off;
	cmd.io.len = len;
	cmd.io.flags = flags;
	cmd.payload_len = op == PW_OP_WRITE ? len : 0;
	return cmd;
}

struct pw_cmd fx_size(uint64_t ino, uint64_t size)
{
	struct pw_cmd cmd;

	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_SETATTR);
	cmd.setattr.ino = ino;
	cmd.setattr.valid = PW_SET_SIZE;
	cmd.setattr.size = size;
	return cmd;
}

struct pw_cmd fx_send(struct fx *f, struct pw_conn *c, uint8_t id, uint16_t slot, struct pw_cmd cmd,
		      const void *payload)
{
	cmd.slot = slot;
	cmd.seq = ++f->seq[id][slot];
	fake_deliver(c, &cmd, payload);
	return cmd;
}

int fx_wait(struct fx *f, struct pw_conn *c)
{
	vloop_settle(f->loop);
	if (!fake_take(c, &f->rsp, f->out, sizeof(f->out)))
		return -ENOMSG;
	return pw_err_from_wire(f->rsp.status);
}

int fx_call(struct fx *f, struct pw_conn *c, uint8_t id, uint16_t slot, struct pw_cmd cmd,
	    const void *payload)
{
	fx_send(f, c, id, slot, cmd, payload);
	return fx_wait(f, c);
}

uint64_t fx_file(struct fx *f, struct pw_conn *c, uint8_t id, const char *name)
{
	assert_int_equal(fx_call(f, c, id, 1, fx_create(name, 0), name), 0);
	return f->rsp.attr.attr.ino;
}

bool fx_has_row(struct fx *f, const struct pws_key *k)
{
	struct pws_kv_fetch fetch = { .done = NULL };
	struct pws_kv_rec rec;

	return !f->kv->ops->get(f->kv, pws_key_slice(k), &rec, &fetch);
}

bool fx_has_inode(struct fx *f, uint64_t ino)
{
	struct pws_key k;

	pws_key_inode(&k, ino);
	return fx_has_row(f, &k);
}
