/* SPDX-License-Identifier: Apache-2.0 */
/* test_exactly_once.c -- random connections, restarts and a difficult index: each request applies
 * once
 *
 * One client with several slots appends numbered records to one file, makes names with O_EXCL and
 * removes them. It replays what is unanswered after each reconnect. At the end the file holds each
 * record once, and no answer was one that only a second execution can give.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/log.h"
#include "common/random.h"

#define REC_BYTES   48u
#define RECORDS_MAX 1000u

#include "node_fixture.h"

enum kind {
	APPEND,
	CREATE,
	UNLINK
};

struct slot {
	bool waiting; /* unanswered */
	enum kind kind;
	struct pw_cmd cmd;
	uint8_t payload[REC_BYTES];
	bool has_name; /* this slot's name exists */
};

struct model {
	struct fx *f;
	struct pw_conn *c;
	uint64_t incarnation, ino;
	uint32_t nr_records, answers;
	struct slot slots[FX_SLOTS];
};

static void connect(struct model *m)
{
	struct pw_cmd cmd;

	while (!(m->c = fx_connect(m->f, 1, ++m->incarnation)))
		vloop_advance(m->f->loop, PW_NS_PER_MS);
	pw_cmd_init(&cmd, PW_MSG_REQ, PW_OP_RECLAIM);
	cmd.reclaim.last = 1;
	fx_send(m->f, m->c, 1, 0, cmd, NULL);
	for (uint16_t s = 1; s < FX_SLOTS; s++)
		if (m->slots[s].waiting)
			assert_true(fake_deliver(m->c, &m->slots[s].cmd, m->slots[s].payload));
}

static void start(struct model *m, uint16_t s, enum kind kind)
{
	struct slot *sl = &m->slots[s];
	struct pw_cmd cmd;
	char name[8];

	snprintf(name, sizeof(name), "n%u", s);
	memset(sl->payload, 0, sizeof(sl->payload));
	if (kind == APPEND) {
		if (m->nr_records == RECORDS_MAX)
			return;
		snprintf((char *)sl->payload, REC_BYTES, "record %u", m->nr_records++);
		/* a wrong guess of the offset now and then */
		cmd = fx_io(PW_OP_WRITE, m->ino, pw_random_below(2) ? 0 : 77, REC_BYTES,
			    PW_IO_APPEND);
	} else {
		memcpy(sl->payload, name, strlen(name));
		cmd = kind == CREATE ? fx_create(name, PW_CREATE_EXCL)
				     : fx_name(PW_OP_UNLINK, name);
	}
	sl->kind = kind;
	sl->waiting = true;
	sl->cmd = fx_send(m->f, m->c, 1, s, cmd, sl->payload);
}

static void take_answers(struct model *m)
{
	struct pw_cmd rsp;

	while (fake_take(m->c, &rsp, NULL, 0)) {
		struct slot *sl = &m->slots[rsp.slot];

		if (!rsp.slot)
			continue;
		/* an answer that comes twice would be one too many: seq tells */
		assert_true(sl->waiting);
		assert_int_equal(rsp.seq, sl->cmd.seq);
		assert_int_equal(pw_err_from_wire(rsp.status), 0);
		sl->waiting = false;
		m->answers++;
		if (sl->kind != APPEND)
			sl->has_name = sl->kind == CREATE;
	}
}

static void random_step(struct model *m)
{
	uint16_t s = (uint16_t)(1 + pw_random_below(FX_SLOTS - 1));

	switch (pw_random_below(20)) {
	case 0:
		take_answers(m);
		fx_break(m->f, m->c);
		connect(m);
		break;
	case 1:
		if (pw_random_below(3))
			break;
		take_answers(m);
		fx_restart(m->f);
		connect(m);
		break;
	case 2:
	case 3:
		vloop_advance(m->f->loop, pw_random_below(5 * PW_NS_PER_MS));
		take_answers(m);
		break;
	case 4:
		vloop_turn(m->f->loop);
		break;
	default:
		if (m->slots[s].waiting)
			break;
		if (pw_random_below(2))
			start(m, s, APPEND);
		else
			start(m, s, m->slots[s].has_name ? UNLINK : CREATE);
		break;
	}
}

static void check_file(struct model *m)
{
	uint8_t *seen = calloc(RECORDS_MAX, 1);
	uint32_t size = m->nr_records * REC_BYTES;
	unsigned int nr;

	assert_int_equal(
		fx_call(m->f, m->c, 1, 1, fx_io(PW_OP_READ, m->ino, 0, FX_MAX_IO, 0), NULL), 0);
	assert_int_equal(m->f->rsp.payload_len, size);
	for (uint32_t off = 0; off < size; off += REC_BYTES) {
		assert_int_equal(sscanf((const char *)m->f->out + off, "record %u", &nr), 1);
		assert_true(nr < m->nr_records);
		assert_int_equal(seen[nr]++, 0);
	}
	free(seen);
}

static void run_seed(uint64_t seed)
{
	static struct fx f;
	struct model m = { .f = &f };
	struct pws_kv_mem_faults faults = { 0 };

	fx_init(&f);
	vrandom_seed(seed);
	faults.conflict = (uint32_t)pw_random_below(200);
	faults.unknown_applied = (uint32_t)pw_random_below(200);
	faults.unknown_lost = (uint32_t)pw_random_below(200);
	faults.read_async = (uint32_t)pw_random_below(300);
	faults.delay_ns_max = pw_random_below(3 * PW_NS_PER_MS);
	connect(&m);
	vloop_settle(f.loop);
	assert_true(fake_take(m.c, &f.rsp, NULL, 0));
	m.ino = fx_file(&f, m.c, 1, "file");
	pws_kv_mem_set_faults(f.kv, &faults);
	for (uint32_t i = 0; i < 600; i++)
		random_step(&m);
	for (uint32_t i = 0; i < 1000; i++) {
		vloop_advance(f.loop, 10 * PW_NS_PER_MS);
		take_answers(&m);
	}
	for (uint16_t s = 1; s < FX_SLOTS; s++)
		assert_false(m.slots[s].waiting);
	pws_kv_mem_set_faults(f.kv, &(struct pws_kv_mem_faults){ 0 });
	check_file(&m);
	assert_true(pw_list_empty(&f.node->appends));
	fx_fini(&f);
}

static void test_random__each_request_applies_once(void **state)
{
	const char *one = getenv("PW_SEED");

	(void)state;
	if (one) {
		run_seed(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= 60; seed++) {
		fprintf(stderr, "seed %u\r", (unsigned int)seed);
		run_seed(seed);
	}
}

static void test_open__truncates_an_empty_file_once(void **state)
{
	static const uint8_t data[500];
	static struct fx f;
	struct pw_conn *c;
	struct pw_cmd cmd;
	uint64_t ino, change;

	(void)state;
	fx_init(&f);
	c = fx_connect(&f, 1, 1);
	ino = fx_file(&f, c, 1, "a");
	cmd = fx_send(&f, c, 1, 2, fx_ino(PW_OP_OPEN, ino, PW_OPEN_TRUNC | PW_OPEN_WRITE), NULL);
	assert_int_equal(fx_wait(&f, c), 0);
	change = f.rsp.attr.attr.change;
	assert_int_equal(fx_call(&f, c, 1, 1, fx_io(PW_OP_WRITE, ino, 0, 500, 0), data), 0);
	fx_restart(&f);
	c = fx_connect(&f, 1, 2);
	assert_true(fake_deliver(c, &cmd, NULL));
	assert_int_equal(fx_wait(&f, c), 0);
	assert_int_equal(f.rsp.attr.attr.size, 500);
	assert_int_equal(f.rsp.attr.attr.change, change + 1);
	fx_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open__truncates_an_empty_file_once),
		cmocka_unit_test(test_random__each_request_applies_once),
	};

	pw_log_init("test");
	pw_log_set_level(PW_LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
