/* SPDX-License-Identifier: Apache-2.0 */
/* ring_rig.c -- see ring_rig.h */
#include "ring_rig.h"

#include <errno.h>

struct ring_rig t;

/* req.c's part: here the test is the operation. */

static const struct pw_sm_state req_states[] = {
	[PWC_REQ_FREE] = { "free", PW_SM_ANY },
	[PWC_REQ_NEW] = { "new", PW_SM_ANY },
	[PWC_REQ_CALLING] = { "calling", PW_SM_ANY },
	[PWC_REQ_REPLYING] = { "replying", PW_SM_ANY },
};
static const struct pw_sm_type req_type = PW_SM_TYPE("req", req_states);

void pwc_req_init(struct pwc_req *r, struct pwc_shard *sh, uint32_t idx, enum pwc_path path,
		  void (*reply)(struct pwc_req *r, int err, uint32_t out_len))
{
	memset(r, 0, sizeof(*r));
	pw_sm_init(&r->sm, &req_type, PWC_REQ_FREE);
	r->sh = sh;
	r->idx = idx;
	r->path = path;
	r->reply = reply;
}

void pwc_req_start(struct pwc_req *r)
{
	pw_sm_move(&r->sm, PWC_REQ_NEW, 0);
	t.started[t.nr_started++] = r;
}

void pwc_req_free(struct pwc_req *r)
{
	if (r->region)
		pwc_region_put(r->region);
	r->region = NULL;
	pw_sm_move(&r->sm, PWC_REQ_FREE, 0);
}

static void on_failed(struct pwc_ring *ring, int err)
{
	(void)ring;
	t.nr_failed++;
	t.failed_err = err;
}

static void on_drained(struct pwc_ring *ring)
{
	(void)ring;
	t.nr_drained++;
}

const struct pwc_ring_ops ring_rig_ops = { on_failed, on_drained };

int make(bool bufpool)
{
	struct pwc_arena_opts ao = { .nr_entries = NR, .payload_bytes = PAYLOAD };
	struct pwc_ring_opts ro = { .nr_queues = NR_QUEUES, .depth = DEPTH, .bufpool = bufpool };

	memset(&t, 0, sizeof(t));
	t.loop = fake_ring_reset();
	assert_int_equal(pwc_arena_init(&t.arena, &ao), 0);
	return pwc_ring_init(&t.ring, t.loop, NULL, &t.arena, &ro, &ring_rig_ops, &t, 10);
}

int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < fake_ring.nr; i++)
		if (!fake_ring.q[i].done)
			fake_ring_complete(i, -ENOTCONN);
	assert_int_equal(t.ring.nr_out, 0);
	pwc_ring_fini(&t.ring);
	pwc_arena_fini(&t.arena);
	assert_int_equal(fake_ring.nr_ios, 0);
	return 0;
}

struct pwc_entry *entry_of(uint32_t idx)
{
	return pw_container_of(fake_ring.q[idx].io, struct pwc_entry, io);
}
