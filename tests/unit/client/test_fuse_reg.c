/* SPDX-License-Identifier: Apache-2.0 */
/* test_fuse_reg.c -- requests whose data lies in a region, and a kernel that lies about it */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring_rig.h"
#include "tests/unit/fault_file.h"

#define REGION_BYTES (4u * 4096)

static struct pwc_regions regions;
static struct pwc_reg reg;
static struct pwc_region_owner app;
static struct pwc_region *region;

static void on_live(struct pwc_region_owner *o, struct pwc_region *r)
{
	assert_ptr_equal(o, &app);
	assert_ptr_equal(r, region);
}

static const struct fuse_uring_reg_cmd *reg_cmd_of(uint32_t idx)
{
	return (const void *)(fake_ring.q[idx].raw + 48);
}

static int setup_regions(void **state)
{
	struct pwc_region_ask ask = { .len = REGION_BYTES };
	char why[200];

	(void)state;
	assert_int_equal(make(false), 0);
	pwc_ring_register(&t.ring, DEV_FD);
	assert_int_equal(pwc_reg_init(&reg, t.loop, DEV_FD), 0);
	pwc_regions_init(&regions, t.loop, &reg.kernel);
	assert_int_equal(pwc_ring_use_regions(&t.ring, &regions), 0);
	app = (struct pwc_region_owner){ .uid = 6, .on_live = on_live };
	ask.fd = memfd_create("app", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(ask.fd, REGION_BYTES), 0);
	assert_int_equal(fallocate(ask.fd, 0, 0, REGION_BYTES), 0);
	assert_int_equal(fcntl(ask.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(pwc_region_add(&regions, &app, &ask, &region, why, sizeof(why)), 0);
	close(ask.fd);
	assert_int_equal(fake_ring.nr, NR + 1);
	assert_int_equal(fake_ring.q[NR].sqe.cmd_op, FUSE_IO_URING_CMD_REG_FD);
	assert_int_equal(fake_ring.q[NR].sqe.fd, DEV_FD);
	assert_int_equal(reg_cmd_of(NR)->len, REGION_BYTES);
	assert_int_equal(reg_cmd_of(NR)->id, region->id);
	assert_int_equal(reg_cmd_of(NR)->fd, region->fd);
	fake_ring_complete(NR, (int)region->id);
	assert_int_equal(region->sm.state, PWC_REGION_LIVE);
	for (uint32_t i = 0; i < REGION_BYTES; i++)
		region->base[i] = (uint8_t)(i * 7 + (i >> 8));
	return 0;
}

static int teardown_regions(void **state)
{
	pwc_regions_end_owner(&regions, &app);
	while (regions.nr) {
		assert_true(pw_timer_armed(&regions.timer));
		pw_timer_cancel(t.loop, &regions.timer);
		regions.timer.fn(&regions.timer);
		assert_int_equal(fake_ring.q[fake_ring.nr - 1].sqe.cmd_op,
				 FUSE_IO_URING_CMD_UNREG_FD);
		assert_int_equal(reg_cmd_of(fake_ring.nr - 1)->fd, 0);
		fake_ring_complete(fake_ring.nr - 1, -ENOENT);
	}
	pwc_regions_fini(&regions);
	pwc_reg_fini(&reg);
	return teardown(state);
}

/* A request whose data is said to be at @at of region @id, or in @at runs. */
static struct pwc_req *hit(uint32_t idx, uint32_t opcode, uint32_t len, uint64_t flags, uint64_t id,
			   uint64_t at)
{
	struct fuse_uring_req_header *f = &entry_of(idx)->head->fuse;
	bool write = opcode == FUSE_WRITE;
	struct fuse_in_header *h = (void *)f->in_out;
	uint32_t payload = write ? len : 0;

	*h = (struct fuse_in_header){ .opcode = opcode, .unique = 9, .nodeid = 5 };
	h->len = (uint32_t)sizeof(*h) + 40 + payload;
	memset(f->op_in, 0, sizeof(f->op_in));
	if (write)
		((struct fuse_write_in *)f->op_in)->size = len;
	else
		((struct fuse_read_in *)f->op_in)->size = len;
	f->ring_ent_in_out = (struct fuse_uring_ent_in_out){
		.flags = FUSE_URING_ENT_REG | flags,
		.commit_id = 9,
		.payload_sz = payload,
		.reserved = id << FUSE_URING_REG_ID_SHIFT | at,
	};
	fake_ring_complete(idx, 0);
	return t.started[t.nr_started - 1];
}

static void test_region__data_of_a_write_is_the_application_s(void **state)
{
	struct pwc_req *r = hit(0, FUSE_WRITE, 5000, 0, region->id, 123);

	(void)state;
	assert_int_equal(r->runs->nr, 1);
	assert_ptr_equal(r->runs->v->iov_base, region->base + 123);
	assert_int_equal(r->runs->v->iov_len, 5000);
	assert_int_equal(r->in_len, 5000);
	assert_ptr_equal(r->in, pwc_arena_payload(&t.arena, 0)); /* should it be copied */
	assert_int_equal(r->op_in_len, 40);
	assert_ptr_equal(r->out, pwc_arena_payload(&t.arena, 0)); /* the answer's 8 bytes */
	assert_int_equal(region->users, 1);
	r->reply(r, 0, 8);
	assert_int_equal(region->users, 0);
	assert_int_equal(t.ring.reg_lists, 0);
}

static void test_region__data_of_a_read_goes_to_the_application(void **state)
{
	struct pwc_req *r = hit(0, FUSE_READ, 4096, 0, region->id, REGION_BYTES - 4096);

	(void)state;
	assert_int_equal(r->runs->nr, 1);
	assert_ptr_equal(r->runs->v->iov_base, region->base + REGION_BYTES - 4096);
	assert_ptr_equal(r->out, pwc_arena_payload(&t.arena, 0));
	assert_int_equal(r->out_max, 4096);
	r->reply(r, 0, 100);
	assert_int_equal(entry_of(0)->head->fuse.ring_ent_in_out.payload_sz, 100);
	assert_int_equal(t.ring.reg_hits, 1);
}

static void put_list(uint32_t idx, const struct fuse_uring_reg_seg *seg, uint32_t nr)
{
	memcpy(pwc_arena_payload(&t.arena, idx), seg, nr * sizeof(*seg));
}

static void test_region__runs_are_those_of_the_application(void **state)
{
	const struct fuse_uring_reg_seg seg[] = { { 9000, 10, region->id }, { 5, 20, region->id } };
	struct pwc_req *r;

	(void)state;
	put_list(0, seg, 2);
	r = hit(0, FUSE_WRITE, 30, FUSE_URING_ENT_REG_SG, region->id, 2);
	assert_int_equal(r->in_len, 30);
	assert_ptr_equal(r->in, pwc_arena_payload(&t.arena, 0)); /* to bring them together */
	assert_int_equal(r->runs->nr, 2);
	assert_ptr_equal(r->runs->v[0].iov_base, region->base + 9000);
	assert_int_equal(r->runs->v[0].iov_len, 10);
	assert_ptr_equal(r->runs->v[1].iov_base, region->base + 5);
	assert_int_equal(r->runs->v[1].iov_len, 20);
	r->reply(r, 0, 8);
	assert_int_equal(region->users, 0);

	put_list(1, seg, 2);
	r = hit(1, FUSE_READ, 30, FUSE_URING_ENT_REG_SG, region->id, 2);
	assert_ptr_equal(r->out, pwc_arena_payload(&t.arena, 1));
	assert_int_equal(r->out_max, 30);
	assert_int_equal(r->runs->nr, 2);
	assert_ptr_equal(r->runs->v[0].iov_base, region->base + 9000);
	r->reply(r, 0, 14); /* the end of the file */
	assert_int_equal(entry_of(1)->head->fuse.ring_ent_in_out.payload_sz, 14);
	assert_int_equal(t.ring.reg_lists, 2);
	assert_int_equal(t.ring.reg_hits, 2);
	/* the entry's next request has none */
	r = hit(fake_ring.nr - 1, FUSE_READ, 30, 0, region->id, 2);
	assert_int_equal(r->runs->nr, 1);
	r->reply(r, 0, 14);
}

#ifdef PW_FAULT_POINTS
/* While this file exists, there is no memory for lists of runs. */
static char no_runs[] = "/tmp/test_fuse_reg.XXXXXX";

/* The mount goes on without regions in the kernel: shard.c says so, and takes no hit. */
static void test_ring__no_memory_for_lists_of_runs(void **state)
{
	struct pwc_regions none = { .loop = NULL };
	struct pwc_req *r;

	(void)state;
	fault_file_on(no_runs);
	assert_int_equal(make(false), 0);
	pwc_ring_register(&t.ring, DEV_FD);
	assert_int_equal(pwc_ring_use_regions(&t.ring, &none), -ENOMEM);
	unlink(no_runs);
	r = hit(0, FUSE_WRITE, 4096, 0, 0, 0);
	assert_int_equal(r->op_in_len, 0);
	assert_null(r->region);
	r->reply(r, -EIO, 0);
	r = hit(1, FUSE_READ, 30, FUSE_URING_ENT_REG_SG, 0, 2);
	assert_int_equal(r->op_in_len, 0);
	r->reply(r, -EIO, 0);
	assert_int_equal(t.ring.reg_hits, 0);
}
#endif

/* A header length of 0 is what makes req.c refuse it. */
static void test_region__what_makes_no_sense_is_refused(void **state)
{
	const struct fuse_uring_reg_seg bad[][2] = {
		{ { REGION_BYTES - 5, 10, 0 }, { 0, 20, 0 } },
		{ { UINT64_MAX, 10, 0 }, { 0, 20, 0 } },
		{ { 0, 10, 1 }, { 0, 20, 0 } },
		{ { 0, 10, 0 }, { 0, 21, 0 } },
		{ { 0, UINT32_MAX, 0 }, { 0, 31, 0 } },
		{ { 0, 30, 0 }, { 0, 0, 0 } },
	};
	const struct {
		uint32_t opcode, len;
		uint64_t flags, id, at;
	} bads[] = {
		{ FUSE_WRITE, 4096, 0, 1, 0 },
		{ FUSE_WRITE, 4096, 0, 65535, 0 },
		{ FUSE_WRITE, 4096, 0, 0, REGION_BYTES - 4095 },
		{ FUSE_READ, 4096, 0, 0, (1ull << 48) - 1 },
		{ FUSE_READ, PAYLOAD + 1, 0, 0, 0 },
		{ FUSE_LOOKUP, 10, 0, 0, 0 },
		{ FUSE_READ, 30, FUSE_URING_ENT_REG_SG, 0, 0 },
		{ FUSE_READ, 30, FUSE_URING_ENT_REG_SG, 0, 257 },
	};
	struct pwc_req *r;
	uint32_t idx = 0;

	(void)state;
	assert_int_equal(region->id, 0);
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(bads); i++) {
		r = hit(idx, bads[i].opcode, bads[i].len, bads[i].flags, bads[i].id, bads[i].at);
		assert_int_equal(r->op_in_len, 0);
		assert_int_equal(region->users, 0);
		r->reply(r, -EIO, 0);
		idx = fake_ring.nr - 1;
	}
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(bad); i++) {
		memcpy(entry_of(idx)->payload, bad[i], sizeof(bad[i]));
		r = hit(idx, FUSE_WRITE, 30, FUSE_URING_ENT_REG_SG, 0, 2);
		assert_int_equal(r->op_in_len, 0);
		r->reply(r, -EIO, 0);
		idx = fake_ring.nr - 1;
	}
	assert_int_equal(t.ring.reg_hits, 0);
}

static void test_region__ends_with_its_last_request(void **state)
{
	struct pwc_req *r = hit(0, FUSE_WRITE, 10, 0, region->id, 0);

	(void)state;
	pwc_regions_end_owner(&regions, &app);
	pw_timer_cancel(t.loop, &regions.timer);
	regions.timer.fn(&regions.timer);
	fake_ring_complete(fake_ring.nr - 1, -ENOENT);
	assert_int_equal(regions.nr, 1);
	r->reply(r, 0, 8);
	assert_int_equal(regions.nr, 0);
}

#define R(f) cmocka_unit_test_setup_teardown(f, setup_regions, teardown_regions)

int main(void)
{
	const struct CMUnitTest tests[] = {
		R(test_region__data_of_a_write_is_the_application_s),
		R(test_region__data_of_a_read_goes_to_the_application),
		R(test_region__runs_are_those_of_the_application),
		R(test_region__what_makes_no_sense_is_refused),
		R(test_region__ends_with_its_last_request),
#ifdef PW_FAULT_POINTS
		cmocka_unit_test_teardown(test_ring__no_memory_for_lists_of_runs, teardown),
#endif
	};

#ifdef PW_FAULT_POINTS
	fault_file_arm("ring.runs:ENOMEM", no_runs);
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
