/* SPDX-License-Identifier: Apache-2.0 */
/* test_meta.c -- namespace operations over the memory engine, each through a real transaction
 *
 * The suite runs twice: plain, and with injected conflicts, lost commits and asynchronous reads,
 * which must not change a single answer.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/uring.h"
#include "storage_node/meta/meta.h"

struct world {
	struct pw_loop *loop;
	struct pws_kv *kv;
	struct pws_meta meta;
	struct pws_txn txn;
	struct pws_meta_op op;
	struct pw_cmd cmd, rsp;
	uint8_t out[4096];
	char payload[2 * PW_NAME_MAX + PW_SYMLINK_MAX + 1];
	int64_t now;
	int err;
	bool full;
};

static struct world *w;

static void space(void *arg, uint64_t *total, uint64_t *free_bytes)
{
	(void)arg;
	*total = 1ull << 30;
	*free_bytes = 1ull << 29;
}

static bool has_room(void *arg)
{
	return !((struct world *)arg)->full;
}

static int attempt(struct pws_txn *t)
{
	w->op.now_ns = ++w->now;
	return pws_meta_attempt(&w->op, t);
}

static int attempt_format(struct pws_txn *t)
{
	return pws_meta_format_attempt(t, ++w->now);
}

static void done(struct pws_txn *t, int err)
{
	(void)t;
	w->err = err;
	pw_loop_stop(w->loop);
}

static int run(int (*fn)(struct pws_txn *))
{
	w->err = 1;
	pws_txn_start(&w->txn, fn, done);
	assert_int_equal(pw_loop_run(w->loop), 0);
	assert_true(w->err <= 0);
	return w->err;
}

static int op_run(void)
{
	w->op.meta = &w->meta;
	w->op.cmd = &w->cmd;
	w->op.rsp = &w->rsp;
	w->op.payload = (uint8_t *)w->payload;
	w->op.out = w->out;
	w->op.out_max = sizeof(w->out);
	/* What a peer could send is what these tests send. */
	assert_int_equal(pw_cmd_check(&w->cmd, true), 0);
	return run(attempt);
}

static void cmd_begin(enum pw_op op, const char *a, const char *b)
{
	pw_cmd_init(&w->cmd, PW_MSG_REQ, op);
	w->cmd.slot = 1;
	w->cmd.seq = 1;
	w->cmd.payload_len = (uint32_t)snprintf(w->payload, sizeof(w->payload), "%s%s", a ? a : "",
						b ? b : "");
}

static uint64_t answered(void)
{
	return w->rsp.attr.attr.ino;
}

static int mknode(uint64_t parent, const char *name, uint32_t mode, const char *target)
{
	cmd_begin(PW_OP_MKNODE, name, target);
	w->cmd.mknode.parent = parent;
	w->cmd.mknode.mode = mode;
	w->cmd.mknode.cred = (struct pw_cred){ 1000, 100 };
	w->cmd.mknode.name_len = (uint32_t)strlen(name);
	return op_run();
}

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
	assert_int_equal(mknode(parent, name, mode, NULL), 0);
	return answered();
}

static int by_name(enum pw_op op, uint64_t parent, const char *name)
{
	cmd_begin(op, name, NULL);
	w->cmd.name.parent = parent;
	return op_run();
}

static int rename_op(uint64_t p1, const char *n1, uint64_t p2, const char *n2, uint32_t flags)
{
	cmd_begin(PW_OP_RENAME, n1, n2);
	w->cmd.rename.old_parent = p1;
	w->cmd.rename.new_parent = p2;
	w->cmd.rename.old_len = (uint32_t)strlen(n1);
	w->cmd.rename.flags = flags;
	return op_run();
}

static struct pw_attr getattr(uint64_t ino)
{
	cmd_begin(PW_OP_GETATTR, NULL, NULL);
	w->cmd.ino.ino = ino;
	assert_int_equal(op_run(), 0);
	return w->rsp.attr.attr;
}

static int setup_with(const struct pws_kv_mem_faults *faults)
{
	const struct pw_loop_opts lo = { .sq_entries = 8, .max_ios = 8 };

	w = calloc(1, sizeof(*w));
	assert_non_null(w);
	assert_int_equal(pw_loop_new(&w->loop, &lo), 0);
	assert_int_equal(pws_kv_mem_open(w->loop, &w->kv), 0);
	if (faults)
		pws_kv_mem_set_faults(w->kv, faults);
	w->meta.space = space;
	w->meta.has_room = has_room;
	w->meta.arg = w;
	w->now = 1000;
	pws_txn_init(&w->txn, w->kv);
	return run(attempt_format);
}

static int setup(void **state)
{
	(void)state;
	return setup_with(NULL);
}

static int setup_faults(void **state)
{
	/* Lost commits only: with an applied one the retry needs the reply row, which is
	 * node_req.c's. */
	const struct pws_kv_mem_faults f = { .conflict = 200, .unknown_lost = 100,
					     .read_async = 200, .delay_ns_max = 10000 };

	(void)state;
	return setup_with(&f);
}

static int teardown(void **state)
{
	(void)state;
	pws_txn_fini(&w->txn);
	w->kv->ops->close(w->kv);
	pw_loop_free(w->loop);
	free(w);
	return 0;
}

static void test_mkdir__counts_links_and_entries(void **state)
{
	struct pw_attr a;
	uint64_t d;

	(void)state;
	d = make(PWS_ROOT_INO, "d", S_IFDIR | 0755);
	a = getattr(PWS_ROOT_INO);
	assert_int_equal(a.nlink, 3);
	assert_int_equal(a.size, 1);
	a = getattr(d);
	assert_int_equal(a.nlink, 2);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.gid, 100);
	assert_int_equal(mknode(PWS_ROOT_INO, "d", S_IFDIR | 0755, NULL), -EEXIST);
	assert_int_equal(by_name(PW_OP_LOOKUP, PWS_ROOT_INO, "d"), 0);
	assert_int_equal(answered(), d);
	assert_int_equal(by_name(PW_OP_UNLINK, PWS_ROOT_INO, "d"), -EISDIR);
	assert_int_equal(by_name(PW_OP_RMDIR, PWS_ROOT_INO, "d"), 0);
	assert_int_equal(w->op.orphan_ino, d);
	/* the client keeps what it was */
	assert_int_equal(answered(), d);
	assert_int_equal(w->rsp.attr.attr.nlink, 0);
	assert_int_equal(w->rsp.attr.attr.mode, S_IFDIR | 0755);
	assert_int_equal(getattr(PWS_ROOT_INO).nlink, 2);
	assert_int_equal(getattr(d).nlink, 0);
	assert_int_equal(mknode(d, "x", S_IFREG | 0644, NULL), -ENOENT);
}

static void test_rmdir__refuses_what_is_not_empty(void **state)
{
	uint64_t d;

	(void)state;
	d = make(PWS_ROOT_INO, "d", S_IFDIR | 0755);
	make(d, "f", S_IFREG | 0644);
	assert_int_equal(by_name(PW_OP_RMDIR, PWS_ROOT_INO, "d"), -ENOTEMPTY);
	assert_int_equal(by_name(PW_OP_RMDIR, d, "f"), -ENOTDIR);
	assert_int_equal(by_name(PW_OP_UNLINK, d, "f"), 0);
	assert_int_equal(by_name(PW_OP_RMDIR, PWS_ROOT_INO, "d"), 0);
	assert_int_equal(by_name(PW_OP_RMDIR, PWS_ROOT_INO, "d"), -ENOENT);
}

static void test_mknode__set_gid_directory_gives_its_group(void **state)
{
	uint64_t d, sub;

	(void)state;
	d = make(PWS_ROOT_INO, "d", S_IFDIR | S_ISGID | 0775);
	cmd_begin(PW_OP_SETATTR, NULL, NULL);
	w->cmd.setattr.ino = d;
	w->cmd.setattr.valid = PW_SET_GID;
	w->cmd.setattr.gid = 77;
	assert_int_equal(op_run(), 0);
	assert_int_equal(getattr(make(d, "f", S_IFREG | 0644)).gid, 77);
	sub = make(d, "sub", S_IFDIR | 0755);
	assert_int_equal(getattr(sub).gid, 77);
	assert_true(getattr(sub).mode & S_ISGID);
}

static void test_symlink__target_is_read_back(void **state)
{
	uint64_t ino;

	(void)state;
	assert_int_equal(mknode(PWS_ROOT_INO, "l", S_IFLNK | 0777, "../some/where"), 0);
	ino = answered();
	assert_int_equal(getattr(ino).size, 13);
	cmd_begin(PW_OP_READLINK, NULL, NULL);
	w->cmd.ino.ino = ino;
	assert_int_equal(op_run(), 0);
	assert_int_equal(w->rsp.payload_len, 13);
	assert_memory_equal(w->out, "../some/where", 13);
	assert_int_equal(rename_op(PWS_ROOT_INO, "l", PWS_ROOT_INO, "m", 0), 0);
	assert_int_equal(getattr(ino).size, 13);
}

static void test_link__shares_the_inode(void **state)
{
	uint64_t ino;

	(void)state;
	ino = make(PWS_ROOT_INO, "a", S_IFREG | 0644);
	cmd_begin(PW_OP_LINK, "b", NULL);
	w->cmd.link.ino = ino;
	w->cmd.link.new_parent = PWS_ROOT_INO;
	assert_int_equal(op_run(), 0);
	assert_int_equal(w->rsp.attr.attr.nlink, 2);
	/* Two names of one file: nothing happens, and both stay. */
	assert_int_equal(rename_op(PWS_ROOT_INO, "a", PWS_ROOT_INO, "b", 0), 0);
	assert_int_equal(by_name(PW_OP_LOOKUP, PWS_ROOT_INO, "a"), 0);
	assert_int_equal(by_name(PW_OP_UNLINK, PWS_ROOT_INO, "a"), 0);
	assert_int_equal(w->op.orphan_ino, 0);
	assert_int_equal(answered(), ino);
	assert_int_equal(w->rsp.attr.attr.nlink, 1);
	assert_int_equal(getattr(ino).nlink, 1);
	assert_int_equal(by_name(PW_OP_UNLINK, PWS_ROOT_INO, "b"), 0);
	assert_int_equal(w->op.orphan_ino, ino);
}

static void test_rename__replaces_and_moves(void **state)
{
	uint64_t d, e, f, g;

	(void)state;
	d = make(PWS_ROOT_INO, "d", S_IFDIR | 0755);
	e = make(PWS_ROOT_INO, "e", S_IFDIR | 0755);
	f = make(d, "f", S_IFREG | 0644);
	g = make(e, "g", S_IFREG | 0644);
	assert_int_equal(rename_op(d, "f", e, "g", PW_RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_op(d, "f", e, "g", 0), 0);
	assert_int_equal(w->op.orphan_ino, g);
	assert_int_equal(answered(), g);
	assert_int_equal(w->rsp.attr.attr.nlink, 0);
	assert_int_equal(getattr(d).size, 0);
	assert_int_equal(getattr(e).size, 1);
	assert_int_equal(by_name(PW_OP_LOOKUP, e, "g"), 0);
	assert_int_equal(answered(), f);
	assert_int_equal(rename_op(e, "g", PWS_ROOT_INO, "d", 0), -EISDIR);
	assert_int_equal(rename_op(PWS_ROOT_INO, "d", e, "g", 0), -ENOTDIR);
	assert_int_equal(rename_op(PWS_ROOT_INO, "d", PWS_ROOT_INO, "e", 0), -ENOTEMPTY);
	assert_int_equal(rename_op(PWS_ROOT_INO, "e", PWS_ROOT_INO, "d", 0), 0);
	assert_int_equal(w->op.orphan_ino, d);
	assert_int_equal(getattr(PWS_ROOT_INO).nlink, 3);
	assert_int_equal(getattr(PWS_ROOT_INO).size, 1);
}

static void test_rename__exchange_swaps_types_and_parents(void **state)
{
	uint64_t d, f, sub;

	(void)state;
	d = make(PWS_ROOT_INO, "d", S_IFDIR | 0755);
	f = make(PWS_ROOT_INO, "f", S_IFREG | 0644);
	sub = make(d, "sub", S_IFDIR | 0755);
	assert_int_equal(rename_op(PWS_ROOT_INO, "f", d, "sub", PW_RENAME_EXCHANGE), 0);
	assert_int_equal(answered(), 0);
	assert_int_equal(getattr(PWS_ROOT_INO).nlink, 4);
	assert_int_equal(getattr(d).nlink, 2);
	assert_int_equal(by_name(PW_OP_LOOKUP, d, "sub"), 0);
	assert_int_equal(answered(), f);
	assert_int_equal(by_name(PW_OP_LOOKUP, PWS_ROOT_INO, "f"), 0);
	assert_int_equal(answered(), sub);
	assert_int_equal(rename_op(PWS_ROOT_INO, "f", d, "none", PW_RENAME_EXCHANGE), -ENOENT);
}

static void test_rename__never_makes_a_loop(void **state)
{
	uint64_t a, b, c;

	(void)state;
	a = make(PWS_ROOT_INO, "a", S_IFDIR | 0755);
	b = make(a, "b", S_IFDIR | 0755);
	c = make(b, "c", S_IFDIR | 0755);
	assert_int_equal(rename_op(PWS_ROOT_INO, "a", c, "x", 0), -EINVAL);
	assert_int_equal(rename_op(PWS_ROOT_INO, "a", a, "x", 0), -EINVAL);
	assert_int_equal(rename_op(PWS_ROOT_INO, "a", b, "c", PW_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(rename_op(b, "c", PWS_ROOT_INO, "c", 0), 0);
	assert_int_equal(rename_op(PWS_ROOT_INO, "a", c, "a", 0), 0);
}

static void test_readdir__pages_give_every_name_once(void **state)
{
	enum { NAMES = 100 };
	bool seen[NAMES] = { false };
	const struct pw_dirent *e;
	uint64_t cookie = 0;
	const char *name;
	int i, nr = 0;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		char buf[8];

		snprintf(buf, sizeof(buf), "n%d", i);
		make(PWS_ROOT_INO, buf, S_IFREG | 0644);
	}
	do {
		size_t pos = 0;

		cmd_begin(PW_OP_READDIR, NULL, NULL);
		w->cmd.readdir.ino = PWS_ROOT_INO;
		w->cmd.readdir.cookie = cookie;
		w->cmd.readdir.max_bytes = 1000;
		assert_int_equal(op_run(), 0);
		while (pw_dirent_next(w->out, w->rsp.payload_len, &pos, &e, &name) == 1) {
			i = atoi(name + 1);
			assert_true(i >= 0 && i < NAMES && !seen[i]);
			seen[i] = true;
			nr++;
			assert_true(e->cookie >= cookie);
			cookie = e->cookie;
		}
	} while (!w->rsp.readdir_rsp.eof);
	assert_int_equal(nr, NAMES);
}

static void test_create__existing_name_sends_the_kernel_back(void **state)
{
	(void)state;
	cmd_begin(PW_OP_CREATE, "f", NULL);
	w->cmd.mknode.parent = PWS_ROOT_INO;
	w->cmd.mknode.mode = S_IFREG | 0600;
	w->cmd.mknode.name_len = 1;
	assert_int_equal(op_run(), 0);
	assert_int_equal(w->op.opened_ino, answered());
	assert_int_equal(op_run(), -ESTALE);
	w->cmd.mknode.flags = PW_CREATE_EXCL;
	assert_int_equal(op_run(), -EEXIST);
}

static void test_full_disk__makes_nothing_new_but_deletes(void **state)
{
	(void)state;
	make(PWS_ROOT_INO, "f", S_IFREG | 0644);
	w->full = true;
	assert_int_equal(mknode(PWS_ROOT_INO, "g", S_IFREG | 0644, NULL), -ENOSPC);
	assert_int_equal(by_name(PW_OP_UNLINK, PWS_ROOT_INO, "f"), 0);
}

static void test_setattr__times_and_set_id(void **state)
{
	struct pw_attr a;
	uint64_t f;

	(void)state;
	f = make(PWS_ROOT_INO, "f", S_IFREG | S_ISUID | S_ISGID | 0755);
	cmd_begin(PW_OP_SETATTR, NULL, NULL);
	w->cmd.setattr.ino = f;
	w->cmd.setattr.valid = PW_SET_MTIME | PW_SET_ATIME | PW_SET_ATIME_NOW | PW_SET_KILL_SUIDGID;
	w->cmd.setattr.mtime_ns = -5;
	assert_int_equal(op_run(), 0);
	a = getattr(f);
	assert_int_equal(a.mtime_ns, -5);
	assert_true(a.atime_ns > 1000);
	assert_int_equal(a.mode & 07777, 0755);
	w->cmd.setattr.ino = 12345;
	cmd_begin(PW_OP_GETATTR, NULL, NULL);
	w->cmd.ino.ino = 12345;
	assert_int_equal(op_run(), -ESTALE);
}

static int set_only(uint64_t ino, uint32_t valid)
{
	cmd_begin(PW_OP_SETATTR, NULL, NULL);
	w->cmd.setattr.ino = ino;
	w->cmd.setattr.valid = valid;
	return op_run();
}

/* As the client sends it: utimensat(2) with UTIME_NOW is the one bit, without a time. */
static void test_setattr__now_is_the_nodes_clock(void **state)
{
	struct pw_attr before, after;
	uint64_t f;

	(void)state;
	f = make(PWS_ROOT_INO, "f", S_IFREG | 0755);
	before = getattr(f);
	assert_int_equal(set_only(f, PW_SET_MTIME_NOW), 0);
	after = getattr(f);
	assert_true(after.mtime_ns > before.mtime_ns);
	assert_int_equal(after.atime_ns, before.atime_ns);
	assert_int_equal(set_only(f, PW_SET_ATIME_NOW), 0);
	assert_true(getattr(f).atime_ns > before.atime_ns);
	assert_int_equal(getattr(f).mtime_ns, after.mtime_ns);
}

static void test_setattr__set_id_goes_of_all_but_directories(void **state)
{
	static const struct {
		const char *name;
		uint32_t mode, want;
	} row[] = {
		{ "file", S_IFREG | 06755, 0755 },
		{ "lock", S_IFREG | 06745, 02745 }, /* set-gid without group x: a mandatory lock */
		{ "fifo", S_IFIFO | 06755, 0755 },
		{ "dir", S_IFDIR | 06755, 06755 },
	};

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(row); i++) {
		uint64_t ino = make(PWS_ROOT_INO, row[i].name, row[i].mode);

		assert_int_equal(set_only(ino, PW_SET_KILL_SUIDGID), 0);
		assert_int_equal(getattr(ino).mode & 07777, row[i].want);
	}
}

static void test_open__truncating_an_empty_file_moves_its_times(void **state)
{
	struct pw_attr before, after;
	uint64_t f;

	(void)state;
	f = make(PWS_ROOT_INO, "f", S_IFREG | S_ISUID | 0755);
	before = getattr(f);
	cmd_begin(PW_OP_OPEN, NULL, NULL);
	w->cmd.ino.ino = f;
	w->cmd.ino.flags = PW_OPEN_WRITE;
	assert_int_equal(op_run(), 0);
	assert_int_equal(getattr(f).change, before.change);
	cmd_begin(PW_OP_OPEN, NULL, NULL);
	w->cmd.ino.ino = f;
	w->cmd.ino.flags = PW_OPEN_WRITE | PW_OPEN_TRUNC;
	w->cmd.ino.cred = (struct pw_cred){ 1000, 100 };
	assert_int_equal(op_run(), 0);
	assert_false(w->op.truncate);
	after = getattr(f);
	assert_int_equal(after.change, before.change + 1);
	assert_true(after.mtime_ns > before.mtime_ns);
	assert_true(after.ctime_ns > before.ctime_ns);
	assert_int_equal(after.mode & 07777, 0755);
}

static void test_path__is_found_by_the_hints(void **state)
{
	char buf[256];
	uint64_t d, f;

	(void)state;
	d = make(PWS_ROOT_INO, "dir", S_IFDIR | 0755);
	f = make(d, "file", S_IFREG | 0644);
	pws_meta_path(&w->meta, w->kv, f, buf, sizeof(buf));
	assert_string_equal(buf, "/dir/file");
	pws_meta_path(&w->meta, w->kv, 999, buf, sizeof(buf));
	assert_string_equal(buf, "inode 999");
	pws_meta_path(&w->meta, w->kv, PWS_ROOT_INO, buf, sizeof(buf));
	assert_string_equal(buf, "/");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define CASE_FAULTS(fn) { #fn "__with_faults", fn, setup_faults, teardown, NULL }
#define BOTH(fn) CASE(fn), CASE_FAULTS(fn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_mkdir__counts_links_and_entries),
		BOTH(test_rmdir__refuses_what_is_not_empty),
		BOTH(test_mknode__set_gid_directory_gives_its_group),
		BOTH(test_symlink__target_is_read_back),
		BOTH(test_link__shares_the_inode),
		BOTH(test_rename__replaces_and_moves),
		BOTH(test_rename__exchange_swaps_types_and_parents),
		BOTH(test_rename__never_makes_a_loop),
		BOTH(test_readdir__pages_give_every_name_once),
		BOTH(test_create__existing_name_sends_the_kernel_back),
		BOTH(test_full_disk__makes_nothing_new_but_deletes),
		BOTH(test_setattr__times_and_set_id),
		BOTH(test_setattr__now_is_the_nodes_clock),
		BOTH(test_setattr__set_id_goes_of_all_but_directories),
		BOTH(test_open__truncating_an_empty_file_moves_its_times),
		CASE(test_path__is_found_by_the_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
