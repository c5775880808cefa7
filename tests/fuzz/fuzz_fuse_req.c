/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_fuse_req.c -- requests of a kernel that lies
 *
 * Every one is answered once, and a node would take what is asked of it.
 *
 * Input: records of {u8 mode, u8 opcode, u16 length, bytes}. The bytes are what follows the header:
 * the operation's own header, then names or data. Mode: bit 0 through the form of /dev/fuse or of
 * the ring, bit 1 a header length that is off by the first byte, bits 2-3 how the node answers, bit
 * 4 no room for an answer but 8 KiB, bit 5 (of the ring) the data of a READ or WRITE lies in a
 * region: behind the operation's header come u8 whether a list of runs says where, the kernel's u64
 * about it, and the list. The loop is replaced: ready objects run until none is left.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client_fs/fuse_reg.h"
#include "client_fs/ops.h"
#include "client_fs/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX 65536u
#define REQ_MAX 32768u

enum answer {
	ANSWER_OK,
	ANSWER_ERROR,
	ANSWER_GARBAGE, /* payload of 0xff.. */
	ANSWER_AWAY, /* a local error */
};

static struct pw_list ready = PW_LIST_INIT(ready);
static struct pw_list calls = PW_LIST_INIT(calls);
static struct pwc_shard *sh;
static struct pwc_req req;
static uint32_t nr_replies;
static enum answer how;
static uint8_t *out_mem, *in_mem;
static struct iovec runs_v[PW_RUNS_MAX];
static struct pw_runs runs;

/* ---------------------------------------------------------------------------- loop, shard,
 * notifications */

uint64_t pw_loop_now(const struct pw_loop *loop)
{
	(void)loop;
	return 1;
}

void pw_timer_init(struct pw_timer *t, void (*fn)(struct pw_timer *t))
{
	t->heap_idx = UINT32_MAX;
	t->fn = fn;
}

void pw_timer_arm(struct pw_loop *loop, struct pw_timer *t, uint64_t deadline_ns)
{
	(void)loop;
	(void)t;
	(void)deadline_ns;
}

void pw_timer_cancel(struct pw_loop *loop, struct pw_timer *t)
{
	(void)loop;
	(void)t;
}

void pw_loop_ready(struct pw_loop *loop, struct pw_ready *r)
{
	(void)loop;
	if (pw_list_empty(&r->node))
		pw_list_add_tail(&ready, &r->node);
}

/* Of region_sock.c, which has no socket here. */

void pw_ready_init(struct pw_ready *r, void (*step)(struct pw_ready *r))
{
	pw_list_init(&r->node);
	r->step = step;
}

void pw_ready_cancel(struct pw_ready *r)
{
	pw_list_del(&r->node);
}

uint32_t pwc_shard_max_io(const struct pwc_shard *s)
{
	return s->max_io;
}

bool pwc_shard_prepare_ring(struct pwc_shard *s)
{
	(void)s;
	return false;
}

void pwc_shard_on_init(struct pwc_shard *s)
{
	(void)s;
}

void pwc_notify_inval_attr(struct pwc_notify *n, struct pwc_notify_job *job)
{
	(void)n;
	job->done(job);
}

void pwc_notify_inval_data(struct pwc_notify *n, struct pwc_notify_job *job)
{
	pwc_notify_inval_attr(n, job);
}

void pwc_notify_inval_all(struct pwc_notify *n, struct pwc_notify_job *job)
{
	pwc_notify_inval_attr(n, job);
}

/* -------------------------------------------------------------------------------------------- the
 * node */

void pwc_peer_call(struct pwc_peer *p, struct pwc_call *c)
{
	struct pw_cmd cmd = c->send.cmd;
	uint32_t sum = 0;
	int err;

	(void)p;
	cmd.slot = cmd.seq = 1;
	err = pw_cmd_check(&cmd, true);
	assert(!err);
	/* what peer_runs.c does where the connection cannot */
	if (c->runs && cmd.payload_len)
		pw_runs_read(c->runs, c->spare, cmd.payload_len);
	for (uint32_t i = 0; i < cmd.payload_len; i++)
		sum += ((const uint8_t *)(c->runs ? c->spare : c->payload))[i];
	if (c->out)
		memset(c->out, (int)(sum & 1), c->out_max);
	if (c->runs && !cmd.payload_len)
		pw_runs_fill(c->runs, c->out, c->out_max);
	pw_list_add_tail(&calls, &c->node);
}

void pwc_call_abort(struct pwc_peer *p, struct pwc_call *c)
{
	(void)p;
	(void)c;
}

enum pwc_peer_state pwc_peer_state(const struct pwc_peer *p)
{
	(void)p;
	return PWC_PEER_UP;
}

const char *pwc_peer_transport(const struct pwc_peer *p)
{
	(void)p;
	return "tcp";
}

static uint32_t fill_page(struct pwc_call *c)
{
	struct pw_attr attr = { .ino = 77, .mode = S_IFREG | 0644 };
	size_t pos = 0;

	for (uint64_t i = 3; i < 200; i++)
		if (pw_dirent_put(c->out, c->out_max, &pos, i / 2 + 2, &attr, "a name", i % 6 + 1))
			break;
	return (uint32_t)pos;
}

static uint32_t fill_answer(struct pwc_call *c, struct pw_cmd *rsp)
{
	struct pw_attr attr = { .ino = 9, .mode = S_IFREG | 0644, .change = 5, .size = 100 };
	uint32_t len = 0;

	switch (c->send.cmd.op) {
	case PW_OP_READ:
		len = c->send.cmd.io.len / 2;
		break;
	case PW_OP_READLINK:
		len = PW_MIN(c->out_max, 100u);
		break;
	case PW_OP_READDIR:
		rsp->readdir_rsp.dir = attr;
		len = fill_page(c);
		break;
	case PW_OP_STATFS:
		rsp->statfs = (struct pw_body_statfs){ 1, 1, 1, 1, 1, 4096, 255 };
		break;
	default:
		rsp->attr.attr = attr;
		break;
	}
	if (how == ANSWER_GARBAGE && len)
		memset(c->out, 0xff, len);
	return len;
}

static void answer_call(struct pwc_call *c)
{
	struct pw_cmd rsp;
	uint32_t len = 0;
	int err = how == ANSWER_ERROR ? -ENOSPC : how == ANSWER_AWAY ? -EINTR : 0;

	pw_cmd_init(&rsp, PW_MSG_RSP, c->send.cmd.op);
	if (!err)
		len = fill_answer(c, &rsp);
	assert(len <= c->out_max);
	c->done(c, err, err ? NULL : &rsp, len);
}

static void run_all(void)
{
	struct pw_list *n;

	while ((n = pw_list_pop(&calls)))
		answer_call(pw_list_entry(n, struct pwc_call, node));
}

/* --------------------------------------------------------------------------------------------
 * requests */

static void reply(struct pwc_req *r, int err, uint32_t out_len)
{
	uint32_t sum = 0;

	assert(err <= 0 && err > -512);
	assert(out_len <= r->out_max);
	assert(!err || !out_len);
	for (uint32_t i = 0; i < out_len; i++)
		sum += r->out[i];
	r->out[0] ^= (uint8_t)sum;
	nr_replies++;
	pwc_req_free(r);
}

static void do_init(void)
{
	struct {
		struct fuse_in_header h;
		struct fuse_init_in in;
	} q = { { .len = sizeof(q), .opcode = FUSE_INIT, .unique = 2 },
		{ .major = 7, .minor = 40, .flags = ~0u } };

	pwc_mount_on_init(&sh->mnt, &q, sizeof(q));
	assert(sh->mnt.init_done);
}

/* One that requests can name: id 0, key 0. */
static void make_region(void)
{
	struct pwc_region *r = &sh->regions.region[0];

	r->len = 8 * 4096;
	r->base = calloc(1, r->len);
	assert(r->base);
	r->sm.state = PWC_REGION_LIVE;
	r->in_kernel = true;
}

static void set_up(void)
{
	static struct pwc_options o = { .source = "fuzz:1:/", .attr_timeout_ms = 1000 };
	int err;

	sh = calloc(1, sizeof(*sh));
	out_mem = malloc(OUT_MAX);
	in_mem = malloc(REQ_MAX);
	assert(sh && out_mem && in_mem);
	sh->o = &o;
	sh->max_io = 32768;
	sh->layout = (struct pwc_layout){ .nr_nodes = 1, .chunk_bytes = PWC_CHUNK_BYTES };
	sh->dir_page = malloc(sh->max_io);
	sh->reqs = calloc(1, sizeof(*sh->reqs));
	assert(sh->dir_page && sh->reqs);
	sh->reqs[0] = &req;
	sh->nr_reqs = 1;
	pwc_interrupt_init(&sh->interrupts, sh);
	pwc_req_init(&req, sh, 0, PWC_PATH_DEV, reply);
	err = pwc_opens_init(&sh->opens, NULL);
	assert(!err);
	err = pwc_gone_init(&sh->gone);
	assert(!err);
	err = pwc_mount_open(&sh->mnt, sh);
	assert(!err);
	err = pwc_mount_attach(&sh->mnt, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert(!err);
	do_init();
	make_region();
}

/* As /dev/fuse gives it: one run of bytes. */
static bool as_dev(uint8_t mode, uint8_t opcode, const uint8_t *bytes, uint32_t len)
{
	struct fuse_in_header *h = (void *)in_mem;
	uint32_t total = (uint32_t)sizeof(*h) + len;

	*h = (struct fuse_in_header){ .len = total, .opcode = opcode, .unique = 4, .nodeid = 9 };
	if (mode & 2 && len)
		h->len = total + bytes[0] - 128;
	memcpy(h + 1, bytes, len);
	return !pwc_req_parse(&req, in_mem, total);
}

/* As fuse_ring.c gives it: the operation's header apart, of a length that it only believes. */
static bool as_ring(uint8_t mode, uint8_t opcode, const uint8_t *bytes, uint32_t len)
{
	static uint64_t op_in[16];
	uint32_t op_in_len = PW_MIN(len, mode & 2 ? 20u : (uint32_t)sizeof(op_in));
	const struct pwc_op *op = pwc_op_get(opcode);

	if (op)
		op_in_len = PW_MIN(op_in_len, op->op_in_len);
	memset(op_in, 0, sizeof(op_in));
	memcpy(op_in, bytes, op_in_len);
	memcpy(in_mem, bytes + op_in_len, len - op_in_len);
	req.unique = 4;
	req.nodeid = 9;
	req.opcode = opcode;
	req.op_in = op_in;
	req.op_in_len = op_in_len;
	req.in = in_mem;
	req.in_len = len - op_in_len;
	return true;
}

/* As fuse_ring.c does it; @bytes: what follows the operation's header. Return: false, such a
 * request has no data that could lie there. */
static bool in_region(const uint8_t *bytes, uint32_t len)
{
	struct fuse_uring_ent_in_out ent = { .flags = FUSE_URING_ENT_REG };
	bool write = req.opcode == FUSE_WRITE;
	struct pwc_reg_hit hit;
	uint32_t size;

	if ((!write && req.opcode != FUSE_READ) || len < 9 ||
	    req.op_in_len < pwc_op_get(req.opcode)->op_in_len)
		return false;
	size = write ? ((const struct fuse_write_in *)req.op_in)->size :
		       ((const struct fuse_read_in *)req.op_in)->size;
	if (size > sh->max_io)
		return false;
	if (bytes[0] & 1)
		ent.flags |= FUSE_URING_ENT_REG_SG;
	memcpy(&ent.reserved, bytes + 1, sizeof(ent.reserved));
	memset(in_mem, 0, FUSE_URING_REG_MAX_SEGS * sizeof(struct fuse_uring_reg_seg));
	memcpy(in_mem, bytes + 9, len - 9);
	req.in_len = write ? size : 0;
	if (!pwc_reg_find(&sh->regions, &ent, size, (const void *)in_mem, runs_v, &hit)) {
		req.op_in_len = 0;
		return true;
	}
	req.region = hit.region;
	pwc_region_hold(hit.region);
	runs = (struct pw_runs){ runs_v, hit.nr_runs, false };
	req.runs = &runs;
	return true;
}

static void one_request(uint8_t mode, uint8_t opcode, const uint8_t *bytes, uint32_t len)
{
	nr_replies = 0;
	how = mode >> 2 & 3;
	req.region = NULL;
	req.runs = NULL;
	if (!(mode & 1 ? as_ring : as_dev)(mode, opcode, bytes, len))
		return;
	if ((mode & 33) == 33 && !in_region(bytes + req.op_in_len, req.in_len))
		return;
	req.out = out_mem;
	req.out_max = mode & 16 ? 8192 : OUT_MAX;
	if (opcode == FUSE_INIT || opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET ||
	    opcode == FUSE_INTERRUPT)
		return; /* fuse_dev.c keeps them from here */
	pwc_req_start(&req);
	run_all();
	assert(nr_replies == 1);
	assert(pwc_req_is_free(&req));
	assert(!sh->regions.region[0].users);
	assert(!sh->opens.nr_reserved && !sh->opens.nr_releasing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!sh)
		set_up();
	while (size >= 4) {
		uint32_t len = data[2] | (uint32_t)data[3] << 8;

		len = PW_MIN(len, (uint32_t)PW_MIN(size - 4, REQ_MAX - 256u));
		one_request(data[0], data[1], data + 4, len);
		data += 4 + len;
		size -= 4 + len;
	}
	while (sh->opens.nr_opens)
		pwc_opens_put(&sh->opens, 9), run_all();
	pwc_opens_forget(&sh->opens, 9);
	return 0;
}
