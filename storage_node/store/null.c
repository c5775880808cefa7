/* SPDX-License-Identifier: Apache-2.0 */
/* null.c -- the store for benchmarks of the protocol: accepts and forgets; reads are zeros */
#include <errno.h>
#include <stdlib.h>

#include "storage_node/store/store.h"

struct null {
	struct pws_store base;
	uint8_t *zeros;			      /* owned */
	struct pw_list writes, reads, truncs; /* to be answered in the next turn */
	struct pw_ready ready, stop_ready;
	struct pws_store_stats stats;
	void (*stop_done)(void *arg);
	void *stop_arg;
};

static struct null *null_of(struct pws_store *s)
{
	return pw_container_of(s, struct null, base);
}

static void answer(struct pw_ready *r)
{
	struct null *nl = pw_container_of(r, struct null, ready);
	struct pw_list writes = PW_LIST_INIT(writes), reads = PW_LIST_INIT(reads);
	struct pw_list truncs = PW_LIST_INIT(truncs), *n;

	/* what comes during the calls is for the next turn */
	pw_list_splice_tail(&writes, &nl->writes);
	pw_list_splice_tail(&reads, &nl->reads);
	pw_list_splice_tail(&truncs, &nl->truncs);
	while ((n = pw_list_pop(&writes))) {
		struct pws_store_write *w = pw_list_entry(n, struct pws_store_write, node);

		w->ready(w);
	}
	while ((n = pw_list_pop(&reads))) {
		struct pws_store_read *rd = pw_list_entry(n, struct pws_store_read, node);

		rd->done(rd);
	}
	while ((n = pw_list_pop(&truncs))) {
		struct pws_store_trunc *t = pw_list_entry(n, struct pws_store_trunc, node);

		t->ready(t);
	}
}

static void write_prepare(struct pws_store *s, struct pws_store_write *w)
{
	w->err = 0;
	pw_list_add_tail(&null_of(s)->writes, &w->node);
	pw_loop_ready(s->loop, &null_of(s)->ready);
}

static int write_rows(struct pws_store *s, struct pws_store_write *w, struct pws_txn *t,
		      const struct pws_inode *inode, int64_t *blocks_delta)
{
	*blocks_delta = 0;
	return 0;
}

static void write_finish(struct pws_store *s, struct pws_store_write *w, enum pws_outcome outcome)
{
	if (outcome != PWS_DONE)
		return;
	null_of(s)->stats.writes++;
	null_of(s)->stats.bytes_written += w->len;
}

static void read(struct pws_store *s, struct pws_store_read *r)
{
	r->err = 0;
	r->seen_seq = 0;
	r->data = null_of(s)->zeros;
	pw_list_add_tail(&null_of(s)->reads, &r->node);
	pw_loop_ready(s->loop, &null_of(s)->ready);
}

static void read_release(struct pws_store *s, struct pws_store_read *r)
{
	r->data = NULL;
	null_of(s)->stats.reads++;
	null_of(s)->stats.bytes_read += r->len;
}

static void trunc_prepare(struct pws_store *s, struct pws_store_trunc *t)
{
	t->err = 0;
	pw_list_add_tail(&null_of(s)->truncs, &t->node);
	pw_loop_ready(s->loop, &null_of(s)->ready);
}

static int trunc_rows(struct pws_store *s, struct pws_store_trunc *t, struct pws_txn *txn,
		      const struct pws_inode *inode, int64_t *blocks_delta, bool *ret_more)
{
	*blocks_delta = 0;
	*ret_more = false;
	return 0;
}

static void trunc_finish(struct pws_store *s, struct pws_store_trunc *t, enum pws_outcome outcome)
{
	/* nothing was kept */
}

static void get_space(struct pws_store *s, struct pws_store_space *ret)
{
	/* an amount that every tool can add up */
	ret->total = ret->free = PW_GIB * 1024;
}

static void get_stats(struct pws_store *s, struct pws_store_stats *ret)
{
	*ret = null_of(s)->stats;
}

static void set_scrub(struct pws_store *s, uint64_t bytes_per_s)
{
	/* nothing is kept, so nothing rots */
}

static void on_stop(struct pw_ready *r)
{
	struct null *nl = pw_container_of(r, struct null, stop_ready);

	nl->stop_done(nl->stop_arg);
}

static void stop(struct pws_store *s, void (*done)(void *arg), void *arg)
{
	null_of(s)->stop_done = done;
	null_of(s)->stop_arg = arg;
	pw_loop_ready(s->loop, &null_of(s)->stop_ready);
}

static void close_store(struct pws_store *s)
{
	free(null_of(s)->zeros);
	free(null_of(s));
}

static const struct pws_store_ops null_ops = {
	.name = "null",
	.write_prepare = write_prepare,
	.write_rows = write_rows,
	.write_finish = write_finish,
	.read = read,
	.read_release = read_release,
	.trunc_prepare = trunc_prepare,
	.trunc_rows = trunc_rows,
	.trunc_finish = trunc_finish,
	.space = get_space,
	.get_stats = get_stats,
	.scrub = set_scrub,
	.stop = stop,
	.close = close_store,
};

int pws_store_open_null(struct pw_loop *loop, const struct pws_store_opts *o,
			struct pws_store **ret)
{
	struct null *nl;

	if (!o->max_io)
		return -EINVAL;
	nl = calloc(1, sizeof(*nl));
	if (!nl)
		return -ENOMEM;
	nl->zeros = calloc(1, o->max_io);
	if (!nl->zeros) {
		free(nl);
		return -ENOMEM;
	}
	nl->base = (struct pws_store){ .ops = &null_ops, .loop = loop, .kv = o->kv };
	pw_list_init(&nl->writes);
	pw_list_init(&nl->reads);
	pw_list_init(&nl->truncs);
	pw_ready_init(&nl->ready, answer);
	pw_ready_init(&nl->stop_ready, on_stop);
	*ret = &nl->base;
	return 0;
}
