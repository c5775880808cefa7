/* SPDX-License-Identifier: Apache-2.0 */
/* op_write.c -- the life of a WRITE on the node
 *
 * Happy path: the range is the request's own and its bytes are where they will stay (store:
 * prepare) -> the client cannot write to them any more, if the buffer goes to
 * the store -> one commit makes size, times, store rows and reply row visible (attempt) -> durable
 * -> finish -> answer.
 *
 * What can fail:
 *	no such inode			ESTALE; one without a name that is open is written to
 *	no space			ENOSPC, but first it waits for space that is being freed
 *	append, and the file has grown	back to the start; one append per inode runs
 *	a replay to a new life		the reply row answers, nothing is written
 *	the commit			what was prepared is given back
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/plant.h"
#include "storage_node/node.h"
#include "storage_node/node_req.h"

enum {
	WRITE_BEGIN,
	WRITE_PREPARE,
	WRITE_REVOKE,
	WRITE_COMMIT,
	WRITE_REPLAYED
};

/* Refusal of an attempt that nobody sees: the offset of the append is old. */
#define AGAIN_WITH_NEW_OFFSET (-ECANCELED)

static bool is_append(const struct pws_req *r)
{
	return r->cmd.io.flags & PW_IO_APPEND;
}

/* Appends ----------------------------------------------------------------------------------- */

/* True: the only append of this inode. False: in line; the step comes. */
static bool append_lock(struct pws_req *r)
{
	struct pw_list *pos;

	if (r->appending)
		return true;
	r->appending = true;
	pw_list_for_each(pos, &r->n->appends) {
		struct pws_req *other = pw_list_entry(pos, struct pws_req, append_node);

		if (other->cmd.io.ino == r->cmd.io.ino) {
			pw_list_add_tail(&r->n->appends, &r->append_node);
			r->n->stats.append_waits++;
			return false;
		}
	}
	pw_list_add_tail(&r->n->appends, &r->append_node);
	return true;
}

static void append_unlock(struct pws_req *r)
{
	struct pw_list *pos;

	if (!r->appending)
		return;
	r->appending = false;
	pw_list_del(&r->append_node);
	pw_list_for_each(pos, &r->n->appends) {
		struct pws_req *other = pw_list_entry(pos, struct pws_req, append_node);

		if (other->cmd.io.ino == r->cmd.io.ino) {
			pw_loop_ready(r->n->loop, &other->ready);
			return;
		}
	}
}

/* Steps ------------------------------------------------------------------------------------- */

static void reply(struct pws_req *r, int err)
{
	append_unlock(r);
	if (r->replayed)
		r->n->stats.replays_answered++;
	else if (!err)
		r->n->stats.bytes_written += r->cmd.io.len;
	pws_req_reply(r, err);
}

static void on_prepared(struct pws_store_write *w)
{
	pws_req_step(pw_container_of(w, struct pws_req, wr), w->err);
}

static void prepare(struct pws_req *r, uint64_t off)
{
	struct pws_store *s = r->n->store;
	uint32_t head = (uint32_t)(r->payload - r->buf->mem);

	if (head != off % PWS_BLOCK) {
		memmove(r->buf->mem + off % PWS_BLOCK, r->payload, r->cmd.io.len);
		head = off % PWS_BLOCK;
		r->payload = r->buf->mem + head;
		r->n->stats.moved_bytes += r->cmd.io.len;
	}
	r->wr = (struct pws_store_write){
		.ino = r->cmd.io.ino,
		.off = off,
		.len = r->cmd.io.len,
		.buf = r->buf,
		.head = head,
		.ready = on_prepared,
	};
	pw_list_init(&r->wr.node);
	r->phase = WRITE_PREPARE;
	s->ops->write_prepare(s, &r->wr);
}

static int check(struct pws_req *r)
{
	uint64_t seq, off;
	int err = pws_req_inode(r, r->cmd.io.ino, &r->inode, &seq);

	if (err)
		return err;
	if (!S_ISREG(r->inode.mode))
		return S_ISDIR(r->inode.mode) ? -EISDIR : -EINVAL;
	off = is_append(r) ? r->inode.size : r->cmd.io.off;
	if (off > PW_FILE_MAX || r->cmd.io.len > PW_FILE_MAX - off)
		return -EFBIG;
	return r->n->meta.has_room(r->n->meta.arg) ? 0 : -ENOSPC;
}

static void begin(struct pws_req *r)
{
	int err = 0;

	if (r->maybe_replay) {
		err = pws_req_find_reply(r);
		if (err == 1) {
			r->phase = WRITE_REPLAYED;
			if (pws_req_durable(r, r->seen_seq, false))
				reply(r, 0);
			return;
		}
		if (!err)
			r->maybe_replay = false;
	}
	if (!err && is_append(r) && !append_lock(r))
		return;
	if (!err)
		err = check(r);
	if (err == -EINPROGRESS || (err == -ENOSPC && pws_req_wait_space(r)))
		return;
	if (err)
		reply(r, err);
	else
		prepare(r, is_append(r) ? r->inode.size : r->cmd.io.off);
}

static int attempt(struct pws_txn *t)
{
	struct pws_req *r = pws_req_of_txn(t);
	const struct pw_body_io *io = &r->cmd.io;
	struct pws_store *s = r->n->store;
	struct pw_body_attr *rsp = &r->send.cmd.attr;
	struct pws_inode i;
	int64_t blocks = 0;
	int err = pws_req_get_reply(r, t);

	if (err)
		return err < 0 ? err : 0;
	err = pws_meta_inode_get(t, io->ino, &i, NULL);
	if (err)
		return err;
	if (is_append(r) && i.size != r->wr.off && !PW_PLANT("append-blind"))
		return AGAIN_WITH_NEW_OFFSET;
	err = s->ops->write_rows(s, &r->wr, t, &i, &blocks);
	if (err)
		return err;
	i.blocks += (uint64_t)blocks;
	pws_meta_wrote(&i, r->wr.off + io->len, pws_req_now(r), io->flags & PW_IO_KILLPRIV);
	pws_meta_inode_put(t, io->ino, &i, (struct pws_slice){ NULL, 0 });
	pws_inode_attr(io->ino, &i, &rsp->attr);
	rsp->off = is_append(r) ? r->wr.off : 0;
	pws_req_put_reply(r, t, 0);
	t->sync = io->flags & PW_IO_SYNC;
	return 0;
}

static void committed(struct pws_req *r)
{
	struct pws_store *s = r->n->store;
	/* A reply row is ours when this run has put it: the outcome of the commit was unknown for a
	 * while. */
	bool ok = !r->err && (!r->replayed || r->applied);

	s->ops->write_finish(s, &r->wr, pws_outcome(&r->txn, ok));
	r->buf = r->wr.buf;
	if (r->err == AGAIN_WITH_NEW_OFFSET) {
		r->phase = WRITE_BEGIN;
		begin(r);
		return;
	}
	if (r->applied)
		r->replayed = false;
	reply(r, r->err);
}

/* The bytes are where they will stay. Somebody else may overwrite some of them behind the commit:
 * who has sent them must not be able to by then. */
static void commit(struct pws_req *r)
{
	if (r->phase == WRITE_PREPARE && r->wr.takes_buf) {
		r->phase = WRITE_REVOKE;
		if (!pws_req_revoke(r))
			return;
	}
	r->phase = WRITE_COMMIT;
	pws_txn_start(&r->txn, attempt, pws_req_txn_done);
}

void pws_op_write_step(struct pws_req *r)
{
	switch (r->phase) {
	case WRITE_BEGIN:
		begin(r);
		return;
	case WRITE_PREPARE:
		r->buf = r->wr.buf;
		if (r->err == -ENOSPC && pws_req_wait_space(r)) {
			r->phase = WRITE_BEGIN;
			return;
		}
		if (r->err) {
			reply(r, r->err);
			return;
		}
		commit(r);
		return;
	case WRITE_REVOKE:
		commit(r);
		return;
	case WRITE_COMMIT:
		committed(r);
		return;
	case WRITE_REPLAYED:
		reply(r, r->err);
		return;
	}
}
