/* SPDX-License-Identifier: Apache-2.0 */
/* test_fuse_ring.c -- entries and queues against a scripted kernel, both payload forms */
#include <errno.h>

#include "ring_rig.h"

static int setup_entry(void **state)
{
	(void)state;
	return make(false);
}

static int setup_bufpool(void **state)
{
	(void)state;
	return make(true);
}

static const struct fuse_uring_cmd_req *cmd_of(uint32_t idx)
{
	return (const void *)(fake_ring.q[idx].raw + 48);
}

/* The kernel puts a request into the entry of submission @idx. */
static void request(uint32_t idx, uint32_t opcode, uint32_t op_in_len, uint32_t payload_len,
		    uint64_t commit_id, uint32_t offset)
{
	struct fuse_uring_req_header *f = &entry_of(idx)->head->fuse;
	struct fuse_in_header *h = (void *)f->in_out;

	*h = (struct fuse_in_header){
		.len = (uint32_t)sizeof(*h) + op_in_len + payload_len,
		.opcode = opcode,
		.unique = commit_id,
		.nodeid = 5,
		.uid = 6,
		.gid = 7,
		.pid = 8,
	};
	f->ring_ent_in_out = (struct fuse_uring_ent_in_out){
		.commit_id = commit_id,
		.payload_sz = payload_len,
		.offset = offset,
	};
	fake_ring_complete(idx, 0);
}

static void test_register__every_entry_once_last_queue_last(void **state)
{
	(void)state;
	assert_int_equal(fake_ring.nr, 0);
	pwc_ring_register(&t.ring, DEV_FD);
	assert_true(t.ring.registered);
	assert_int_equal(fake_ring.nr, NR);
	for (uint32_t i = 0; i < NR; i++) {
		const struct io_uring_sqe *sqe = &fake_ring.q[i].sqe;
		const struct iovec *iov = (const void *)(uintptr_t)sqe->addr;

		assert_int_equal(sqe->opcode, IORING_OP_URING_CMD);
		assert_int_equal(sqe->fd, DEV_FD);
		assert_int_equal(sqe->cmd_op, FUSE_IO_URING_CMD_REGISTER);
		assert_int_equal(sqe->len, 2);
		assert_int_equal(cmd_of(i)->qid, i / DEPTH);
		assert_int_equal(cmd_of(i)->commit_id, 0);
		assert_ptr_equal(iov[0].iov_base, pwc_arena_head(&t.arena, i));
		assert_int_equal(iov[0].iov_len, 288);
		assert_ptr_equal(iov[1].iov_base, pwc_arena_payload(&t.arena, i));
		assert_int_equal(iov[1].iov_len, PAYLOAD);
		assert_int_equal((uintptr_t)iov[1].iov_base % 4096, 0);
	}
}

static void test_request__fields_payload_and_commit(void **state)
{
	struct pwc_entry *e;
	struct pwc_req *r;
	const struct fuse_out_header *h;

	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	request(4, FUSE_WRITE, sizeof(struct fuse_write_in), 1000, 0x1234, 0);
	assert_int_equal(t.nr_started, 1);
	r = t.started[0];
	e = entry_of(4);
	assert_ptr_equal(r, &e->req);
	assert_int_equal(r->idx, 14);
	assert_int_equal(r->unique, 0x1234);
	assert_int_equal(r->nodeid, 5);
	assert_int_equal(r->uid, 6);
	assert_int_equal(r->gid, 7);
	assert_int_equal(r->pid, 8);
	assert_int_equal(r->op_in_len, sizeof(struct fuse_write_in));
	assert_ptr_equal(r->op_in, e->head->fuse.op_in);
	assert_int_equal(r->in_len, 1000);
	assert_ptr_equal(r->in, pwc_arena_payload(&t.arena, 4));
	assert_ptr_equal(r->out, r->in);
	assert_int_equal(r->out_max, PAYLOAD);
	assert_int_equal(e->head->state, PWC_ARENA_DAEMON);
	assert_int_equal(e->head->commit_id, 0x1234);
	assert_int_equal(e->head->qid, 1);
	assert_true(pwc_ring_is_busy(&t.ring));
	assert_int_equal(fake_ring.nr, NR); /* nothing goes out before the answer */

	r->reply(r, 0, 8);
	assert_int_equal(fake_ring.nr, NR + 1);
	assert_int_equal(fake_ring.q[NR].sqe.cmd_op, FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
	assert_int_equal(fake_ring.q[NR].sqe.addr, 0);
	assert_int_equal(cmd_of(NR)->commit_id, 0x1234);
	assert_int_equal(cmd_of(NR)->qid, 1);
	h = (const void *)e->head->fuse.in_out;
	assert_int_equal(h->error, 0);
	assert_int_equal(h->unique, 0x1234);
	assert_int_equal(e->head->fuse.ring_ent_in_out.payload_sz, 8);
	assert_int_equal(e->head->state, PWC_ARENA_COMMIT);
	assert_false(pwc_ring_is_busy(&t.ring));

	/* the completion of the commit is the next request */
	request(NR, FUSE_LOOKUP, 0, 5, 0x5678, 0);
	assert_int_equal(t.nr_started, 2);
	assert_int_equal(t.started[1]->op_in_len, 0);
	r = t.started[1];
	r->reply(r, -ENOENT, 0);
	h = (const void *)e->head->fuse.in_out;
	assert_int_equal(h->error, -ENOENT);
	assert_int_equal(cmd_of(NR + 1)->commit_id, 0x5678);
}

static void test_request__lengths_that_do_not_add_up(void **state)
{
	struct pwc_entry *e;
	struct fuse_in_header *h;

	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	request(0, FUSE_WRITE, 40, PAYLOAD + 5000, 1, 0);
	assert_int_equal(t.started[0]->in_len, PAYLOAD);
	assert_int_equal(t.started[0]->op_in_len, 0);
	e = entry_of(1);
	h = (void *)e->head->fuse.in_out;
	h->len = 3; /* less than the header itself */
	e->head->fuse.ring_ent_in_out.payload_sz = 0;
	fake_ring_complete(1, 0);
	assert_int_equal(t.started[1]->op_in_len, 0);
	t.started[0]->reply(t.started[0], -EIO, 0);
	t.started[1]->reply(t.started[1], -EIO, 0);
}

static void test_register__refused_is_told_once(void **state)
{
	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	for (uint32_t i = 0; i < NR; i++)
		fake_ring_complete(i, -EINVAL);
	assert_int_equal(t.nr_failed, 1);
	assert_int_equal(t.failed_err, -EINVAL);
	assert_int_equal(t.nr_drained, 1);
}

static void test_gone__is_not_a_failure(void **state)
{
	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	request(2, FUSE_STATFS, 0, 0, 9, 0);
	for (uint32_t i = 0; i < NR; i++)
		if (i != 2)
			fake_ring_complete(i, i % 2 ? -ENOTCONN : -ECANCELED);
	assert_int_equal(t.nr_failed, 0);
	/* one request is still being worked on */
	assert_int_equal(t.nr_drained, 0);
	t.started[0]->reply(t.started[0], -EIO, 0);
	fake_ring_complete(NR, -ENOTCONN);
	assert_int_equal(t.nr_drained, 1);
	assert_int_equal(t.ring.commit_errors, 0);
}

static void test_commit__refused_loses_the_entry_only(void **state)
{
	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	request(0, FUSE_STATFS, 0, 0, 9, 0);
	t.started[0]->reply(t.started[0], 0, 0);
	fake_ring_complete(NR, -EIO);
	assert_int_equal(t.ring.commit_errors, 1);
	assert_int_equal(t.nr_failed, 0);
	request(1, FUSE_STATFS, 0, 0, 10, 0);
	assert_int_equal(t.nr_started, 2);
	t.started[1]->reply(t.started[1], 0, 0);
}

/* ADD_QUEUE and ADD_BUFPOOL of both queues, as the kernel of 7.3 answers them. */
static void add_pools(void)
{
	pwc_ring_register(&t.ring, DEV_FD);
	assert_int_equal(fake_ring.nr, NR_QUEUES);
	fake_ring_complete(0, 0);
	fake_ring_complete(1, 0);
	assert_int_equal(fake_ring.nr, 2 * NR_QUEUES);
	fake_ring_complete(2, 0);
	assert_false(t.ring.registered);
	fake_ring_complete(3, 0);
	assert_true(t.ring.registered);
}

static void test_bufpool__queue_then_pool_then_entries(void **state)
{
	uint32_t first = 2 * NR_QUEUES;

	(void)state;
	add_pools();
	assert_int_equal(fake_ring.nr, first + NR);
	for (uint16_t q = 0; q < NR_QUEUES; q++) {
		assert_int_equal(fake_ring.q[q].sqe.cmd_op, FUSE_IO_URING_CMD_ADD_QUEUE);
		assert_int_equal(cmd_of(q)->qid, q);
		assert_int_equal(cmd_of(q)->flags, 0);
		assert_int_equal(fake_ring.q[2 + q].sqe.cmd_op, FUSE_IO_URING_CMD_ADD_BUFPOOL);
		assert_int_equal(cmd_of(2 + q)->qid, q);
		assert_int_equal(cmd_of(2 + q)->bufpool.len, DEPTH * PAYLOAD);
		assert_int_equal(cmd_of(2 + q)->bufpool.reserved, 0);
		assert_int_equal(cmd_of(2 + q)->bufpool.uaddr,
				 (uintptr_t)pwc_arena_payload(&t.arena, q * DEPTH));
	}
	for (uint32_t i = 0; i < NR; i++) {
		const struct iovec *iov = (const void *)(uintptr_t)fake_ring.q[first + i].sqe.addr;

		assert_int_equal(fake_ring.q[first + i].sqe.cmd_op, FUSE_IO_URING_CMD_REGISTER);
		assert_null(iov[1].iov_base);
		assert_int_equal(iov[1].iov_len, 0);
	}
}

static void test_bufpool__payload_is_where_the_request_says(void **state)
{
	uint32_t first = 2 * NR_QUEUES;
	uint8_t *pool1 = pwc_arena_payload(&t.arena, DEPTH);

	(void)state;
	add_pools();
	request(first + DEPTH, FUSE_WRITE, 40, 100, 1, 2 * PAYLOAD);
	assert_ptr_equal(t.started[0]->in, pool1 + 2 * PAYLOAD);
	assert_ptr_equal(t.started[0]->out, t.started[0]->in);
	request(first + DEPTH + 1, FUSE_WRITE, 40, 100, 2, 0);
	assert_ptr_equal(t.started[1]->in, pool1);
	/* offsets that no kernel gives stay inside the pool */
	request(first + DEPTH + 2, FUSE_WRITE, 40, 100, 3, 3 * PAYLOAD);
	assert_ptr_equal(t.started[2]->in, pool1);
	request(first, FUSE_WRITE, 40, 100, 4, 12345);
	assert_ptr_equal(t.started[3]->in, pwc_arena_payload(&t.arena, 0));
	for (uint32_t i = 0; i < 4; i++)
		t.started[i]->reply(t.started[i], 0, 8);
}

static void test_bufpool__refused(void **state)
{
	(void)state;
	pwc_ring_register(&t.ring, DEV_FD);
	fake_ring_complete(0, 0);
	fake_ring_complete(1, -EEXIST);
	fake_ring_complete(2, -EINVAL);
	assert_int_equal(t.nr_failed, 1);
	assert_int_equal(t.failed_err, -EEXIST);
	assert_false(t.ring.registered);
	assert_int_equal(fake_ring.nr, 3);
}

static void test_init__too_few_ios_leaves_nothing(void **state)
{
	struct pwc_arena_opts ao = { .nr_entries = NR, .payload_bytes = PAYLOAD };
	struct pwc_ring_opts ro = { .nr_queues = NR_QUEUES, .depth = DEPTH };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.loop = fake_ring_reset();
	assert_int_equal(pwc_arena_init(&t.arena, &ao), 0);
	for (uint32_t max = 1; max < NR + NR_QUEUES; max++) {
		fake_ring.max_ios = max;
		assert_int_equal(pwc_ring_init(&t.ring, t.loop, NULL, &t.arena, &ro, &ring_rig_ops,
					       &t, 0),
				 -ENOSPC);
		assert_int_equal(fake_ring.nr_ios, 0);
	}
	pwc_arena_fini(&t.arena);
}

static void test_parse_cpus__highest_possible(void **state)
{
	static const struct {
		const char *text;
		uint32_t nr;
	} good[] = {
		{ "0\n", 1 }, { "0-1\n", 2 }, { "0-127\n", 128 }, { "0-3,8\n", 9 }, { "0,2-5", 6 }
	};
	static const char *const bad[] = { "", "\n", "x", "0-x\n", "0 1\n", "-1\n", "70000\n" };
	uint32_t nr;

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(good); i++) {
		assert_int_equal(pwc_ring_parse_cpus(good[i].text, &nr), 0);
		assert_int_equal(nr, good[i].nr);
	}
	for (size_t i = 0; i < PW_ARRAY_SIZE(bad); i++)
		assert_int_equal(pwc_ring_parse_cpus(bad[i], &nr), -EINVAL);
	assert_int_equal(pwc_ring_possible_cpus(&nr), 0);
	assert_true(nr >= 1);
}

#define E(name) cmocka_unit_test_setup_teardown(name, setup_entry, teardown)
#define B(name) cmocka_unit_test_setup_teardown(name, setup_bufpool, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		E(test_register__every_entry_once_last_queue_last),
		E(test_request__fields_payload_and_commit),
		E(test_request__lengths_that_do_not_add_up),
		E(test_register__refused_is_told_once),
		E(test_gone__is_not_a_failure),
		E(test_commit__refused_loses_the_entry_only),
		B(test_bufpool__queue_then_pool_then_entries),
		B(test_bufpool__payload_is_where_the_request_says),
		B(test_bufpool__refused),
		cmocka_unit_test(test_init__too_few_ios_leaves_nothing),
		cmocka_unit_test(test_parse_cpus__highest_possible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
