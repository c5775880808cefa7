/* SPDX-License-Identifier: Apache-2.0 */
/* test_shard.c -- operations from the kernel's packet to the node's command and back */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "client_fs/attr.h"
#include "fake_kernel.h"
#include "fake_peer.h"

static uint32_t nr_notified; /* before the answer to the last open */

static int setup(void **state)
{
	(void)state;
	fake_peer_reset();
	kernel_start("rw");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kernel_stop();
	assert_int_equal(kernel.exit_code, 0);
	/* whatever was asked was well formed */
	assert_int_equal(fake.bad_cmds, 0);
	return 0;
}

static const struct fuse_entry_out *entry(void)
{
	return (const void *)kernel.answer.data;
}

static const struct fuse_attr *attr(void)
{
	return &((const struct fuse_attr_out *)(const void *)kernel.answer.data)->attr;
}

static int lookup(const char *name)
{
	return kernel_call(FUSE_LOOKUP, 1, NULL, 0, name, strlen(name) + 1);
}

static int open_file(uint64_t ino, uint32_t flags, uint32_t *ret_flags)
{
	struct fuse_open_in in = { .flags = flags };
	const struct fuse_open_out *out = (const void *)kernel.answer.data;
	uint64_t unique = kernel_send(FUSE_OPEN, ino, &in, sizeof(in), NULL, 0);

	nr_notified = 0;
	for (kernel_receive(); !kernel.answer.unique; kernel_receive())
		nr_notified++;
	assert_int_equal(kernel.answer.unique, unique);
	if (!kernel.answer.error) {
		assert_int_equal(kernel.answer.len, sizeof(*out));
		*ret_flags = out->open_flags;
	}
	return kernel.answer.error;
}

static void release_file(uint64_t ino)
{
	struct fuse_release_in in = { .flags = O_RDWR };

	assert_int_equal(kernel_call(FUSE_RELEASE, ino, &in, sizeof(in), NULL, 0), 0);
}

/* A close is told to the node behind its answer. */
static void wait_closed(const struct fake_inode *n)
{
	while (__atomic_load_n(&n->opens, __ATOMIC_RELAXED))
		kernel_expect_silence();
}

static int write_file(uint64_t ino, uint64_t off, const void *data, uint32_t len, uint32_t flags,
		      uint32_t write_flags)
{
	struct fuse_write_in in = {
		.offset = off, .size = len, .flags = flags, .write_flags = write_flags,
	};

	return kernel_call(FUSE_WRITE, ino, &in, sizeof(in), data, len);
}

static void test_init__answers_what_we_want_of_what_is_offered(void **state)
{
	uint32_t must = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_ASYNC_DIO | FUSE_MAX_PAGES |
			FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_AUTO_INVAL_DATA;

	(void)state;
	assert_int_equal(kernel.init.major, 7);
	assert_int_equal(kernel.init.minor, 40);
	assert_int_equal(kernel.init.flags & must, must);
	assert_int_equal(kernel.init.flags & FUSE_WRITEBACK_CACHE, 0);
	assert_int_equal(kernel.init.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0);
	assert_int_equal(kernel.init.max_write, 1 << 20);
	assert_int_equal(kernel.init.max_pages, 256);
}

static void test_init_answer__ring_only_when_offered(void **state)
{
	struct fuse_init_in in = { .major = 7, .minor = 46, .flags = FUSE_INIT_EXT };
	struct fuse_init_out out;

	(void)state;
	out = pwc_mount_init_answer(&in, 65536, FUSE_OVER_IO_URING);
	assert_int_equal(out.flags2, 0);
	in.flags2 = FUSE_OVER_IO_URING >> 32;
	out = pwc_mount_init_answer(&in, 65536, FUSE_OVER_IO_URING);
	assert_int_equal(out.flags2, FUSE_OVER_IO_URING >> 32);
	assert_true(out.flags & FUSE_INIT_EXT);
	out = pwc_mount_init_answer(&in, 65536, 0);
	assert_int_equal(out.flags2, 0);
	in.flags |= FUSE_AUTO_INVAL_DATA;
	assert_false(pwc_mount_init_answer(&in, 65536, 0).flags & FUSE_AUTO_INVAL_DATA);
	in.minor = 44; /* reads during a direct write would stay in the page cache */
	assert_true(pwc_mount_init_answer(&in, 65536, 0).flags & FUSE_AUTO_INVAL_DATA);
	in.flags = 0; /* flags2 is not there without INIT_EXT, whatever it holds */
	out = pwc_mount_init_answer(&in, 65536, FUSE_OVER_IO_URING);
	assert_int_equal(out.flags2, 0);
	assert_int_equal(out.max_pages, 16);
}

static void test_lookup__found_and_not(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0640);

	(void)state;
	n->attr.size = 12345;
	n->attr.mtime_ns = -1500000000;
	assert_int_equal(lookup("file"), 0);
	assert_int_equal(kernel.answer.len, sizeof(struct fuse_entry_out));
	assert_int_equal(entry()->nodeid, n->attr.ino);
	assert_int_equal(entry()->generation, 7);
	assert_int_equal(entry()->attr.size, 12345);
	assert_int_equal(entry()->entry_valid, 1);
	assert_int_equal((int64_t)entry()->attr.mtime, -2);
	assert_int_equal(entry()->attr.mtimensec, 500000000);
	assert_int_equal(lookup("nothing"), -ENOENT);
	assert_int_equal(fake.last.name.cred.uid, 1000);
	assert_int_equal(fake.last.name.cred.gid, 1001);
}

static void test_names__too_long_or_unterminated_never_reach_the_node(void **state)
{
	char name[300];
	uint32_t before = fake.nr_calls[PW_OP_LOOKUP];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(kernel_call(FUSE_LOOKUP, 1, NULL, 0, name, 257), -ENAMETOOLONG);
	assert_int_equal(kernel_call(FUSE_LOOKUP, 1, NULL, 0, name, 200), -EIO);
	assert_int_equal(kernel_call(FUSE_LOOKUP, 1, NULL, 0, NULL, 0), -EIO);
	assert_int_equal(fake.nr_calls[PW_OP_LOOKUP], before);
	name[255] = '\0';
	assert_int_equal(kernel_call(FUSE_LOOKUP, 1, NULL, 0, name, 256), -ENOENT);
	assert_int_equal(fake.nr_calls[PW_OP_LOOKUP], before + 1);
	kernel.sh->stats.bad_requests = 0;
}

static void test_write_read__bytes_and_flags(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	struct fuse_read_in in = { .offset = 1, .size = 4096 };
	uint8_t *data = malloc(1 << 20);

	(void)state;
	for (uint32_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(write_file(n->attr.ino, 0, data, 1 << 20, O_WRONLY, 0), 0);
	assert_int_equal(((struct fuse_write_out *)(void *)kernel.answer.data)->size, 1 << 20);
	assert_int_equal(fake.last.io.flags, 0);
	assert_memory_equal(n->data, data, 1 << 20);
	assert_int_equal(kernel_call(FUSE_READ, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(kernel.answer.len, 4096);
	assert_memory_equal(kernel.answer.data, data + 1, 4096);
	in.offset = (1 << 20) - 10;
	assert_int_equal(kernel_call(FUSE_READ, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(kernel.answer.len, 10);

	write_file(n->attr.ino, 3, "x", 1, O_WRONLY | O_DSYNC, 0);
	assert_int_equal(fake.last.io.flags, PW_IO_SYNC);
	write_file(n->attr.ino, 3, "x", 1, O_WRONLY | O_APPEND, 0);
	assert_int_equal(fake.last.io.flags, PW_IO_APPEND);
	write_file(n->attr.ino, 3, "x", 1, O_WRONLY | O_SYNC, FUSE_WRITE_KILL_SUIDGID);
	assert_int_equal(fake.last.io.flags, PW_IO_SYNC | PW_IO_KILLPRIV);
	assert_int_equal(kernel.sh->stats.bytes_written[PWC_PATH_DEV], (1 << 20) + 3);
	assert_int_equal(kernel.sh->stats.bytes_read[PWC_PATH_DEV], 4096 + 10);
	free(data);
}

static void test_write__a_length_that_does_not_add_up(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	struct fuse_write_in in = { .size = 100 };

	(void)state;
	assert_int_equal(kernel_call(FUSE_WRITE, n->attr.ino, &in, sizeof(in), "short", 5), -EIO);
	in = (struct fuse_write_in){ .size = 5, .offset = INT64_MAX - 2 };
	assert_int_equal(kernel_call(FUSE_WRITE, n->attr.ino, &in, sizeof(in), "short", 5), -EFBIG);
	in.offset = PW_FILE_MAX - 4;
	assert_int_equal(kernel_call(FUSE_WRITE, n->attr.ino, &in, sizeof(in), "short", 5), -EFBIG);
	assert_int_equal(kernel_call(FUSE_WRITE, n->attr.ino, &in, 20, NULL, 0), -EIO);
	assert_int_equal(fake.nr_calls[PW_OP_WRITE], 0);
}

static void test_errors__what_an_application_may_see(void **state)
{
	static const int map[][2] = {
		{ -EBADMSG, -EIO }, { -ENOSPC, -ENOSPC }, { -EPROTO, -EIO }, { -ESTALE, -ESTALE },
		{ -ETIMEDOUT, -EIO }, { -EINTR, -EINTR }, { -EDQUOT, -EDQUOT },
	};
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(map); i++) {
		fake.fail_op = PW_OP_WRITE;
		fake.fail_err = map[i][0];
		assert_int_equal(write_file(n->attr.ino, 0, "x", 1, O_WRONLY, 0), map[i][1]);
	}
	assert_int_equal(kernel.sh->stats.errors[FUSE_WRITE], PW_ARRAY_SIZE(map));
}

static void test_open__page_cache_is_kept_while_only_we_change_the_file(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	uint32_t flags;

	(void)state;
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_RDWR, &flags), 0);
	assert_int_equal(flags, 0);
	assert_int_equal(fake.last.ino.flags, PW_OPEN_WRITE);
	write_file(n->attr.ino, 0, "abc", 3, O_RDWR, 0);
	write_file(n->attr.ino, 3, "abc", 3, O_RDWR, 0);
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(flags, FOPEN_KEEP_CACHE);
	assert_int_equal(fake.last.ino.flags, 0);
	fake.extra_changes = 1;
	write_file(n->attr.ino, 0, "abc", 3, O_RDWR, 0);
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(flags, 0);
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(flags, FOPEN_KEEP_CACHE);
	for (int i = 0; i < 4; i++)
		release_file(n->attr.ino);
	wait_closed(n);
	assert_int_equal(kernel.sh->opens.nr_opens, 0);
	/* closed, and remembered */
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(flags, FOPEN_KEEP_CACHE);
	release_file(n->attr.ino);
}

static void test_open__old_attributes_are_forgotten_before_the_answer(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	const struct fuse_notify_inval_inode_out *inval = (const void *)kernel.answer.data;
	struct fuse_open_in in = { .flags = O_RDONLY };
	uint32_t flags;
	uint64_t unique;

	(void)state;
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(nr_notified, 0);
	release_file(n->attr.ino);
	n->attr.change += 5; /* somebody else */
	unique = kernel_send(FUSE_OPEN, n->attr.ino, &in, sizeof(in), NULL, 0);
	kernel_receive();
	assert_int_equal(kernel.answer.unique, 0);
	assert_int_equal(kernel.answer.error, FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(inval->ino, n->attr.ino);
	assert_true(inval->off < 0);
	kernel_receive();
	assert_int_equal(kernel.answer.unique, unique);
	assert_int_equal(kernel.answer.error, 0);
	release_file(n->attr.ino);
}

static void test_getattr__pages_that_others_have_changed_go_before_the_answer(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	const struct fuse_notify_inval_inode_out *inval = (const void *)kernel.answer.data;
	const struct fuse_attr_out *attr = (const void *)kernel.answer.data;
	struct fuse_getattr_in in = { 0 };
	uint32_t flags;
	uint64_t unique;

	(void)state;
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	assert_int_equal(kernel_call(FUSE_GETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	n->attr.change += 5; /* somebody else */
	n->attr.size = 77;
	unique = kernel_send(FUSE_GETATTR, n->attr.ino, &in, sizeof(in), NULL, 0);
	kernel_receive();
	assert_int_equal(kernel.answer.unique, 0);
	assert_int_equal(kernel.answer.error, FUSE_NOTIFY_INVAL_INODE);
	assert_int_equal(inval->ino, n->attr.ino);
	assert_int_equal(inval->off, 0);
	kernel_receive();
	assert_int_equal(kernel.answer.unique, unique);
	assert_int_equal(kernel.answer.error, 0);
	assert_int_equal(attr->attr.size, 77);
	assert_int_equal(kernel_call(FUSE_GETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	release_file(n->attr.ino);
}

static void test_open__append_and_direct_go_past_the_page_cache(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	const uint32_t direct = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	uint32_t flags;

	(void)state;
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_WRONLY | O_APPEND, &flags), 0);
	assert_int_equal(flags, direct);
	assert_int_equal(open_file(n->attr.ino, O_RDWR | O_DIRECT, &flags), 0);
	assert_int_equal(flags, direct);
	release_file(n->attr.ino);
	release_file(n->attr.ino);
}

static void test_open__truncate_by_who_may_not_keep_set_id_bits(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 06755);
	struct fuse_open_in in = {
		.flags = O_WRONLY | O_TRUNC, .open_flags = FUSE_OPEN_KILL_SUIDGID,
	};
	uint32_t flags;

	(void)state;
	n->attr.size = 100;
	lookup("file");
	kernel_send(FUSE_OPEN, n->attr.ino, &in, sizeof(in), NULL, 0);
	do
		kernel_receive();
	while (!kernel.answer.unique);
	assert_int_equal(kernel.answer.error, 0);
	assert_int_equal(n->attr.size, 0);
	assert_int_equal(n->attr.mode & 07777, 0755);
	n->attr.size = 100;
	n->attr.mode = S_IFREG | 04755;
	lookup("file");
	assert_int_equal(open_file(n->attr.ino, O_WRONLY | O_TRUNC, &flags), 0);
	assert_int_equal(fake.last.ino.flags, PW_OPEN_TRUNC | PW_OPEN_WRITE);
	/* the kernel knows by itself what O_TRUNC does */
	assert_int_equal(nr_notified, 0);
	assert_int_equal(n->attr.mode & 07777, 04755);
	/* the node refuses the truncation: no open, no leaked reservation */
	fake.fail_op = PW_OP_SETATTR;
	fake.fail_err = -ENOSPC;
	assert_int_equal(kernel_call(FUSE_OPEN, n->attr.ino, &in, sizeof(in), NULL, 0), -ENOSPC);
	assert_int_equal(kernel.sh->opens.nr_reserved, 0);
	release_file(n->attr.ino);
	release_file(n->attr.ino);
}

static void test_create__entry_and_handle_in_one_answer(void **state)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0600 };
	struct fake_inode *n;

	(void)state;
	assert_int_equal(kernel_call(FUSE_CREATE, 1, &in, sizeof(in), "new", 4), 0);
	assert_int_equal(kernel.answer.len,
			 sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out));
	n = fake_peer_find(entry()->nodeid);
	assert_non_null(n);
	assert_int_equal(n->attr.uid, 1000);
	assert_int_equal(fake.last.mknode.flags, PW_CREATE_EXCL);
	assert_int_equal(n->opens, 1);
	assert_int_equal(kernel_call(FUSE_CREATE, 1, &in, sizeof(in), "new", 4), -EEXIST);
	assert_int_equal(kernel.sh->opens.nr_reserved, 0);
	release_file(n->attr.ino);
	wait_closed(n);
}

static void test_release__while_the_node_is_away_is_answered_and_told_later(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 0644);
	uint64_t iter = 0, ino;
	uint32_t flags, opens;

	(void)state;
	lookup("file");
	for (int i = 0; i < 3; i++)
		assert_int_equal(open_file(n->attr.ino, O_RDONLY, &flags), 0);
	fake.hold = true;
	release_file(n->attr.ino);
	release_file(n->attr.ino);
	release_file(n->attr.ino);
	kernel_expect_silence();
	assert_int_equal(n->opens, 3);
	/* what RECLAIM would say: all that the node has not confirmed */
	assert_true(pwc_opens_next(&kernel.sh->opens, &iter, &ino, &opens));
	assert_int_equal(ino, n->attr.ino);
	assert_int_equal(opens, 3);
	assert_false(pwc_opens_next(&kernel.sh->opens, &iter, &ino, &opens));
	fake.hold = false;
	fake_peer_go();
	wait_closed(n);
	/* three closes, two messages */
	assert_int_equal(fake.nr_calls[PW_OP_RELEASE], 2);
}

static void test_flush__never_asks_the_node(void **state)
{
	struct fuse_flush_in in = { .fh = 0 };

	(void)state;
	assert_int_equal(kernel_call(FUSE_FLUSH, 1, &in, sizeof(in), NULL, 0), -ENOSYS);
}

static void test_setattr__each_field(void **state)
{
	struct fake_inode *n = fake_peer_add(1, "file", S_IFREG | 06777);
	struct fuse_setattr_in in = { .valid = FATTR_MODE | FATTR_FH, .mode = 0100640 };

	(void)state;
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(attr()->mode, 0100640);
	assert_int_equal(fake.last.setattr.valid, PW_SET_MODE);
	in = (struct fuse_setattr_in){ .valid = FATTR_UID | FATTR_GID, .uid = 5, .gid = 6 };
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(fake.last.setattr.valid, PW_SET_UID | PW_SET_GID | PW_SET_KILL_SUIDGID);
	assert_int_equal(fake.last.setattr.gid, 6);
	in = (struct fuse_setattr_in){ .valid = FATTR_FH }; /* chown(path, -1, -1) */
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(fake.last.setattr.valid, PW_SET_KILL_SUIDGID);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 77 };
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(fake.last.setattr.valid, PW_SET_SIZE | PW_SET_KILL_SUIDGID);
	assert_int_equal(attr()->size, 77);
	in = (struct fuse_setattr_in){
		.valid = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME,
		.mtime = (uint64_t)-3, .mtimensec = 999999999,
	};
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	assert_int_equal(fake.last.setattr.valid, PW_SET_ATIME_NOW | PW_SET_MTIME);
	assert_int_equal(fake.last.setattr.mtime_ns, -3ll * 1000000000 + 999999999);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = PW_FILE_MAX };
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), 0);
	in.size++;
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), -EFBIG);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1ull << 63 };
	assert_int_equal(kernel_call(FUSE_SETATTR, n->attr.ino, &in, sizeof(in), NULL, 0), -EFBIG);
}

static void test_libfuse_ops__make_rename_link_remove(void **state)
{
	struct fuse_mkdir_in mkdir_in = { .mode = 0750 };
	struct fuse_mknod_in mknod_in = { .mode = S_IFCHR | 0600, .rdev = 0x12345 };
	struct fuse_rename2_in rename_in = { .newdir = 1, .flags = PW_RENAME_NOREPLACE };
	struct fuse_link_in link_in;
	uint64_t ino;

	(void)state;
	assert_int_equal(kernel_call(FUSE_MKDIR, 1, &mkdir_in, sizeof(mkdir_in), "dir", 4), 0);
	assert_int_equal(entry()->attr.mode, S_IFDIR | 0750);
	assert_int_equal(kernel_call(FUSE_MKNOD, 1, &mknod_in, sizeof(mknod_in), "dev", 4), 0);
	assert_int_equal(entry()->attr.rdev, 0x12345);
	assert_int_equal(fake.last.mknode.rdev, 0x123u << 20 | 0x45);
	assert_int_equal(kernel_call(FUSE_SYMLINK, 1, NULL, 0, "sym\0/some/where", 16), 0);
	ino = entry()->nodeid;
	assert_int_equal(kernel_call(FUSE_READLINK, ino, NULL, 0, NULL, 0), 0);
	assert_int_equal(kernel.answer.len, 11);
	assert_memory_equal(kernel.answer.data, "/some/where", 11);
	assert_int_equal(kernel_call(FUSE_RENAME2, 1, &rename_in, sizeof(rename_in),
				     "sym\0other", 10), 0);
	assert_int_equal(fake.last.rename.old_len, 3);
	assert_int_equal(fake.last.rename.flags, PW_RENAME_NOREPLACE);
	assert_memory_equal(fake.last_payload, "symother", 8);
	rename_in.flags = 4; /* RENAME_WHITEOUT */
	assert_int_equal(kernel_call(FUSE_RENAME2, 1, &rename_in, sizeof(rename_in), "a\0b", 4),
			 -EINVAL);
	link_in.oldnodeid = ino;
	assert_int_equal(kernel_call(FUSE_LINK, 1, &link_in, sizeof(link_in), "hard", 5), 0);
	assert_int_equal(entry()->attr.nlink, 2);
	assert_int_equal(kernel_call(FUSE_UNLINK, 1, NULL, 0, "dev", 4), 0);
	assert_int_equal(kernel_call(FUSE_RMDIR, 1, NULL, 0, "dir", 4), 0);
	assert_int_equal(kernel_call(FUSE_RMDIR, 1, NULL, 0, "dir", 4), -ENOENT);
	assert_int_equal(kernel_call(FUSE_SYMLINK, 1, NULL, 0, "sym\0", 5), -ENOENT);
}

static void test_statfs__numbers(void **state)
{
	const struct fuse_statfs_out *out = (const void *)kernel.answer.data;

	(void)state;
	assert_int_equal(kernel_call(FUSE_STATFS, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(out->st.blocks, 1000);
	assert_int_equal(out->st.bavail, 500);
	assert_int_equal(out->st.bsize, 4096);
	assert_int_equal(out->st.namelen, 255);
}

static void test_unknown__is_enosys_and_what_is_no_request_is_dropped(void **state)
{
	static const uint32_t none[] = {
		FUSE_POLL, FUSE_GETXATTR, FUSE_SETLK, FUSE_FALLOCATE, FUSE_LSEEK, FUSE_TMPFILE,
		FUSE_STATX, 63, 64, 100000,
	};
	struct fuse_in_header h = { .len = 4000, .opcode = FUSE_GETATTR, .unique = 4 };

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(none); i++)
		assert_int_equal(kernel_call(none[i], 1, NULL, 0, NULL, 0), -ENOSYS);
	kernel_send_raw(&h, sizeof(h));
	kernel_send_raw("?", 1);
	kernel_expect_silence();
	assert_int_equal(kernel_call(FUSE_GETATTR, 1, NULL, 0, NULL, 0), -EIO);
}

static void test_forget__is_silent(void **state)
{
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[2];
	} batch = { { .count = 2 }, { { 5, 1 }, { 6, 1 } } };
	struct fuse_forget_in one = { .nlookup = 1 };

	(void)state;
	kernel_send(FUSE_FORGET, 7, &one, sizeof(one), NULL, 0);
	kernel_send(FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, 0);
	batch.in.count = 0xffffffff; /* no kernel sends it */
	kernel_send(FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, 0);
	kernel_send(FUSE_BATCH_FORGET, 0, NULL, 0, NULL, 0);
	kernel_expect_silence();
	assert_int_equal(kernel.sh->stats.forgets, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_init__answers_what_we_want_of_what_is_offered),
		cmocka_unit_test(test_init_answer__ring_only_when_offered),
		T(test_lookup__found_and_not),
		T(test_names__too_long_or_unterminated_never_reach_the_node),
		T(test_write_read__bytes_and_flags),
		T(test_write__a_length_that_does_not_add_up),
		T(test_errors__what_an_application_may_see),
		T(test_open__page_cache_is_kept_while_only_we_change_the_file),
		T(test_open__old_attributes_are_forgotten_before_the_answer),
		T(test_getattr__pages_that_others_have_changed_go_before_the_answer),
		T(test_open__append_and_direct_go_past_the_page_cache),
		T(test_open__truncate_by_who_may_not_keep_set_id_bits),
		T(test_create__entry_and_handle_in_one_answer),
		T(test_release__while_the_node_is_away_is_answered_and_told_later),
		T(test_flush__never_asks_the_node),
		T(test_setattr__each_field),
		T(test_libfuse_ops__make_rename_link_remove),
		T(test_statfs__numbers),
		T(test_unknown__is_enosys_and_what_is_no_request_is_dropped),
		T(test_forget__is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
