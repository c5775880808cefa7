/* SPDX-License-Identifier: Apache-2.0 */
/* opens.c -- hash by inode, an array for the walk, spare entries for what is reserved
 *
 * What the node believes is opens + to_release + releasing of an inode: RECLAIM says exactly that,
 * so a RELEASE that is sent again after it gives back what it counted.
 */
#include "client_fs/opens.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"

#define MIN_BUCKETS 256u

static struct pw_list *bucket_of(const struct pwc_opens *o, uint64_t ino)
{
	uint64_t h = ino * 0x9e3779b97f4a7c15ull;

	return &o->bucket[h >> 32 & (o->nr_buckets - 1)];
}

static struct pwc_open *find(const struct pwc_opens *o, uint64_t ino)
{
	struct pw_list *head = bucket_of(o, ino), *pos;

	pw_list_for_each(pos, head) {
		struct pwc_open *e = pw_list_entry(pos, struct pwc_open, hash);

		if (e->ino == ino)
			return e;
	}
	return NULL;
}

/* Grows to twice the buckets; a failure only makes it slower. */
static void grow_buckets(struct pwc_opens *o)
{
	uint32_t nr = o->nr_buckets ? 2 * o->nr_buckets : MIN_BUCKETS;
	struct pw_list *bucket = malloc(nr * sizeof(*bucket)), *old = o->bucket;
	uint32_t old_nr = o->nr_buckets;

	if (!bucket)
		return;
	for (uint32_t i = 0; i < nr; i++)
		pw_list_init(&bucket[i]);
	o->bucket = bucket;
	o->nr_buckets = nr;
	for (uint32_t i = 0; i < old_nr; i++) {
		struct pw_list *n;

		while ((n = pw_list_pop(&old[i]))) {
			struct pwc_open *e = pw_list_entry(n, struct pwc_open, hash);

			pw_list_add_tail(bucket_of(o, e->ino), n);
		}
	}
	free(old);
}

int pwc_opens_init(struct pwc_opens *o, struct pwc_peer *peer)
{
	memset(o, 0, sizeof(*o));
	o->peer = peer;
	pw_list_init(&o->spare);
	pw_list_init(&o->closed);
	for (uint32_t i = 0; i < PWC_OPENS_LOOKS; i++)
		pw_list_init(&o->look[i]);
	o->look_every_ns = PW_NS_PER_S;
	grow_buckets(o);
	return o->bucket ? 0 : -ENOMEM;
}

void pwc_opens_fini(struct pwc_opens *o)
{
	struct pw_list *n;

	if (!o->bucket)
		return;
	for (uint32_t i = 0; i < o->nr_slots; i++) {
		assert(!o->slot[i] || !o->slot[i]->releasing);
		free(o->slot[i]);
	}
	while ((n = pw_list_pop(&o->spare)))
		free(pw_list_entry(n, struct pwc_open, hash));
	free(o->slot);
	free(o->bucket);
	memset(o, 0, sizeof(*o));
}

static int grow_slots(struct pwc_opens *o)
{
	uint32_t max = o->max_slots ? 2 * o->max_slots : MIN_BUCKETS;
	struct pwc_open **slot = realloc(o->slot, max * sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	o->slot = slot;
	o->max_slots = max;
	return 0;
}

int pwc_opens_reserve(struct pwc_opens *o)
{
	if (PW_FAULT_ERR("opens.reserve", -ENOMEM))
		return -ENOMEM;
	if (o->nr_inodes + o->nr_reserved >= o->max_slots && grow_slots(o))
		return -ENOMEM;
	if (o->nr_spare <= o->nr_reserved) {
		struct pwc_open *e = calloc(1, sizeof(*e));

		if (!e)
			return -ENOMEM;
		pw_list_init(&e->hash);
		pw_list_init(&e->closed);
		pw_list_init(&e->look);
		pw_list_init(&e->call.node);
		e->owner = o;
		pw_list_add_head(&o->spare, &e->hash);
		o->nr_spare++;
	}
	o->nr_reserved++;
	return 0;
}

void pwc_opens_unreserve(struct pwc_opens *o)
{
	assert(o->nr_reserved);
	o->nr_reserved--;
}

static void set_known(struct pwc_open *e, uint64_t change)
{
	e->known = change;
	e->ahead = 0;
}

static struct pwc_open *make(struct pwc_opens *o, uint64_t ino)
{
	struct pwc_open *e = pw_list_entry(pw_list_pop(&o->spare), struct pwc_open, hash);

	o->nr_spare--;
	while (o->hole < o->nr_slots && o->slot[o->hole])
		o->hole++;
	if (o->hole == o->nr_slots)
		o->nr_slots++;
	assert(o->nr_slots <= o->max_slots);
	e->slot = o->hole++;
	o->slot[e->slot] = e;
	e->ino = ino;
	set_known(e, 0);
	e->writers = 0;
	if (++o->nr_inodes > 2 * o->nr_buckets)
		grow_buckets(o);
	pw_list_add_head(bucket_of(o, ino), &e->hash);
	return e;
}

static bool is_idle(const struct pwc_open *e)
{
	return !e->opens && !e->to_release && !e->releasing;
}

static void drop(struct pwc_opens *o, struct pwc_open *e)
{
	assert(is_idle(e));
	if (!pw_list_empty(&e->closed)) {
		pw_list_del(&e->closed);
		o->nr_closed--;
	}
	pw_list_del(&e->hash);
	o->slot[e->slot] = NULL;
	o->hole = PW_MIN(o->hole, e->slot);
	o->nr_inodes--;
	if (o->nr_spare < o->nr_reserved + 64) {
		pw_list_add_head(&o->spare, &e->hash);
		o->nr_spare++;
	} else {
		free(e);
	}
}

static void became_idle(struct pwc_opens *o, struct pwc_open *e)
{
	pw_list_add_tail(&o->closed, &e->closed);
	if (++o->nr_closed > PWC_OPENS_CLOSED_MAX)
		drop(o, pw_list_first(&o->closed, struct pwc_open, closed));
}

static void look_at(struct pwc_opens *o, struct pwc_open *e, uint32_t level)
{
	pw_list_del(&e->look);
	e->look_ns = o->now_ns + (o->look_every_ns << level);
	pw_list_add_tail(&o->look[level], &e->look);
}

/* An open or a close has changed who may read or write. */
static void look_or_not(struct pwc_opens *o, struct pwc_open *e)
{
	if (!e->opens || e->writers)
		pw_list_del(&e->look);
	else if (pw_list_empty(&e->look))
		look_at(o, e, 0);
}

uint64_t pwc_opens_due(struct pwc_opens *o, uint64_t now_ns)
{
	o->now_ns = now_ns;
	for (uint32_t i = 0; i < PWC_OPENS_LOOKS; i++) {
		struct pwc_open *e;

		if (pw_list_empty(&o->look[i]))
			continue;
		e = pw_list_first(&o->look[i], struct pwc_open, look);
		if (e->look_ns > now_ns)
			continue;
		look_at(o, e, PW_MIN(i + 1, PWC_OPENS_LOOKS - 1));
		return e->ino;
	}
	return 0;
}

bool pwc_opens_add(struct pwc_opens *o, uint64_t ino, uint64_t change)
{
	struct pwc_open *e = find(o, ino);
	bool keep;

	assert(o->nr_reserved);
	o->nr_reserved--;
	if (!e)
		e = make(o, ino);
	if (!pw_list_empty(&e->closed)) {
		pw_list_del(&e->closed);
		o->nr_closed--;
	}
	e->opens++;
	o->nr_opens++;
	look_or_not(o, e);
	keep = e->known && e->known == change;
	set_known(e, change);
	return keep;
}

static void send_release(struct pwc_opens *o, struct pwc_open *e);

static void on_released(struct pwc_call *c, int err, const struct pw_cmd *rsp, uint32_t out_len)
{
	struct pwc_open *e = pw_container_of(c, struct pwc_open, call);
	struct pwc_opens *o = e->owner;

	/* Whatever the answer: the next RECLAIM says what is open, and the lease ends what nobody
	 * says. */
	e->releasing = 0;
	o->nr_releasing--;
	if (e->to_release && err != -ESHUTDOWN)
		send_release(o, e);
	else if (is_idle(e))
		became_idle(o, e);
}

static void send_release(struct pwc_opens *o, struct pwc_open *e)
{
	struct pw_cmd *cmd = &e->call.send.cmd;

	e->releasing = e->to_release;
	e->to_release = 0;
	o->nr_releasing++;
	pw_cmd_init(cmd, PW_MSG_REQ, PW_OP_RELEASE);
	cmd->ino.ino = e->ino;
	cmd->ino.flags = e->releasing;
	e->call.done = on_released;
	e->call.aborted = false;
	pwc_peer_call(o->peer, &e->call);
}

void pwc_opens_writer(struct pwc_opens *o, uint64_t ino, bool more)
{
	struct pwc_open *e = find(o, ino);

	if (e && more)
		e->writers++;
	else if (e && e->writers)
		e->writers--;
	if (e)
		look_or_not(o, e);
}

bool pwc_opens_has_writer(const struct pwc_opens *o, uint64_t ino)
{
	const struct pwc_open *e = find(o, ino);

	return e && e->writers;
}

void pwc_opens_put(struct pwc_opens *o, uint64_t ino)
{
	struct pwc_open *e = find(o, ino);

	if (!e || !e->opens)
		return;
	e->opens--;
	o->nr_opens--;
	look_or_not(o, e);
	e->to_release++;
	if (!e->releasing)
		send_release(o, e);
}

void pwc_opens_own_change(struct pwc_opens *o, uint64_t ino, uint64_t change)
{
	struct pwc_open *e = find(o, ino);

	if (!e || !e->known || change <= e->known)
		return;
	/* a gap: an answer of ours that overtook another, which will fill it, or somebody else's
	 * change, which nothing fills */
	if (change - e->known > 64) {
		set_known(e, 0);
		return;
	}
	for (e->ahead |= 1ull << (change - e->known - 1); e->ahead & 1; e->ahead >>= 1)
		e->known++;
}

bool pwc_opens_outdated(struct pwc_opens *o, uint64_t ino, uint64_t change)
{
	struct pwc_open *e = find(o, ino);

	if (!e || !e->opens || e->writers || change <= e->known)
		return false;
	set_known(e, change);
	look_at(o, e, 0);
	return true;
}

void pwc_opens_forget(struct pwc_opens *o, uint64_t ino)
{
	struct pwc_open *e = find(o, ino);

	if (e && is_idle(e))
		drop(o, e);
}

bool pwc_opens_next(const struct pwc_opens *o, uint64_t *iter, uint64_t *ret_ino,
		    uint32_t *ret_opens)
{
	for (; *iter < o->nr_slots; ++*iter) {
		const struct pwc_open *e = o->slot[*iter];
		uint32_t n = e ? e->opens + e->to_release + e->releasing : 0;

		if (!n)
			continue;
		*ret_ino = e->ino;
		*ret_opens = n;
		++*iter;
		return true;
	}
	return false;
}
