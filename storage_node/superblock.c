/* SPDX-License-Identifier: Apache-2.0 */
/* superblock.c -- the data directory: lock it, find out what it is, make it when it is new
 *
 * Order: directory -> lock -> superblock. Nothing is changed before the lock is held, and nothing
 * at all in a directory that holds something which is not ours.
 */
#include "storage_node/superblock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/random.h"
#include "common/uuid.h"

#define NAME	  "superblock"
#define TMP_NAME  "superblock.tmp"
#define LOCK_NAME "lock"

int pws_refuse(struct pws_refusal *r, enum pw_exit code, const char *fmt, ...)
{
	va_list ap;

	r->code = code;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return -1;
}

/* A system call on @what in @dir failed. */
static int refuse_errno(struct pws_refusal *why, const char *dir, const char *what)
{
	int err = errno;
	bool perm = err == EACCES || err == EPERM || err == EROFS;

	return pws_refuse(why, perm ? PW_EXIT_PERM : PW_EXIT_ERROR, "data directory %s: %s: %s",
			  dir, what, strerror(err));
}

static int open_dir(const char *dir, int *ret_fd, struct pws_refusal *why)
{
	int fd;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return refuse_errno(why, dir, "cannot be made");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return refuse_errno(why, dir, "cannot be opened");
	*ret_fd = fd;
	return 0;
}

/* Files that a first start may have left behind when it was killed. */
static bool is_leftover(const char *name)
{
	return !strcmp(name, LOCK_NAME) || !strcmp(name, TMP_NAME) || !strcmp(name, "lost+found") ||
	       !strcmp(name, ".") || !strcmp(name, "..");
}

/* A directory without a superblock may hold nothing else either. */
static int check_empty(const char *dir, struct pws_refusal *why)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	int err = 0;

	if (!d)
		return refuse_errno(why, dir, "cannot be read");
	while (!err && (e = readdir(d)))
		if (!is_leftover(e->d_name))
			err = pws_refuse(
				why, PW_EXIT_NOT_OURS,
				"data directory %s: not a pagewire data directory: it has no "
				"superblock and holds other files (\"%.64s\")",
				dir, e->d_name);
	closedir(d);
	return err;
}

static int take_lock(const char *dir, int dir_fd, int *ret_fd, struct pws_refusal *why)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = openat(dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return refuse_errno(why, dir, "cannot make the lock file");
	if (!fcntl(fd, F_OFD_SETLK, &l)) {
		*ret_fd = fd;
		return 0;
	}
	if (errno == EAGAIN || errno == EACCES)
		pws_refuse(why, PW_EXIT_LOCKED, "data directory %s: another node runs on it", dir);
	else
		refuse_errno(why, dir, "cannot lock");
	close(fd);
	return -1;
}

static int write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int fault(const char *name)
{
	int err = PW_FAULT(name);

	(void)name;
	if (err)
		errno = -err;
	return err;
}

/* Complete or not at all: a new file, on media, takes the name of the old one. */
static int write_file(const char *dir, int dir_fd, const struct pws_superblock *sb,
		      struct pws_refusal *why)
{
	char text[1024];
	size_t len = pws_superblock_encode(sb, text, sizeof(text));
	int fd = openat(dir_fd, TMP_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int err;

	if (fd < 0)
		return refuse_errno(why, dir, "cannot write the superblock");
	err = fault("superblock.write") || write_all(fd, text, len) || fault("superblock.fsync") ||
	      fsync(fd);
	if (err)
		refuse_errno(why, dir, "cannot write the superblock");
	close(fd);
	if (err)
		return -1;
	if (fault("superblock.rename") || renameat(dir_fd, TMP_NAME, dir_fd, NAME) ||
	    fault("superblock.fsync_dir") || fsync(dir_fd))
		return refuse_errno(why, dir, "cannot put the superblock in place");
	return 0;
}

/* RFC 9562, version 4. */
static void random_uuid(uint8_t uuid[16])
{
	pw_random_bytes(uuid, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static int make(const char *dir, int dir_fd, const struct pws_superblock_want *want,
		struct pws_superblock *ret, struct pws_refusal *why)
{
	struct pws_superblock sb = {
		.journal_bytes = want->journal_bytes,
		.data_off = want->data_off,
		.block_bytes = want->block_bytes,
	};
	struct timespec now;

	if (check_empty(dir, why))
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	sb.created_ns = (uint64_t)now.tv_sec * PW_NS_PER_S + (uint64_t)now.tv_nsec;
	random_uuid(sb.fsid);
	if (want->fsid)
		memcpy(sb.fsid, want->fsid, sizeof(sb.fsid));
	random_uuid(sb.node_id);
	pw_random_bytes(sb.sip_key, sizeof(sb.sip_key));
	snprintf(sb.store, sizeof(sb.store), "%s", want->store);
	if (write_file(dir, dir_fd, &sb, why))
		return -1;
	*ret = sb;
	return 0;
}

static int check_wanted(const char *dir, const struct pws_superblock *sb,
			const struct pws_superblock_want *want, struct pws_refusal *why)
{
	char have[37], wanted[37];

	if (want->fsid && memcmp(want->fsid, sb->fsid, sizeof(sb->fsid))) {
		pw_uuid_text(sb->fsid, have);
		pw_uuid_text(want->fsid, wanted);
		return pws_refuse(
			why, PW_EXIT_FSID,
			"data directory %s: it belongs to filesystem %s, the configuration "
			"says %s",
			dir, have, wanted);
	}
	if (strcmp(want->store, sb->store))
		return pws_refuse(
			why, PW_EXIT_CONFIG,
			"data directory %s: it was made with store = %s, the configuration says "
			"%s",
			dir, sb->store, want->store);
	if (sb->block_bytes != want->block_bytes)
		return pws_refuse(
			why, PW_EXIT_NOT_OURS,
			"data directory %s: its blocks are %u bytes, this version uses %u", dir,
			sb->block_bytes, want->block_bytes);
	return 0;
}

static int read_file(const char *dir, int fd, struct pws_superblock *ret, struct pws_refusal *why)
{
	char text[1024];
	ssize_t n = fault("superblock.read") ? -1 : pread(fd, text, sizeof(text), 0);

	if (n < 0)
		return refuse_errno(why, dir, "cannot read the superblock");
	switch (pws_superblock_decode(text, (size_t)n, ret)) {
	case 0:
		return 0;
	case -EPROTONOSUPPORT:
		return pws_refuse(
			why, PW_EXIT_NOT_OURS,
			"data directory %s: its format is of another version of pagewire than "
			"this one (format %u)",
			dir, PWS_SUPERBLOCK_VERSION);
	case -EINVAL:
		return pws_refuse(why, PW_EXIT_NOT_OURS,
				  "data directory %s: its file \"superblock\" is not pagewire's",
				  dir);
	default:
		return pws_refuse(why, PW_EXIT_DAMAGED,
				  "data directory %s: the superblock is damaged", dir);
	}
}

/* Also the fsid: a client of the original could not use what only the copy knows. The hash key of
 * the names stays, they were hashed with it. */
static int give_new_identity(const char *dir, int dir_fd, const struct pws_superblock_want *want,
			     struct pws_superblock *sb, struct pws_refusal *why)
{
	random_uuid(sb->node_id);
	random_uuid(sb->fsid);
	if (want->fsid)
		memcpy(sb->fsid, want->fsid, sizeof(sb->fsid));
	return write_file(dir, dir_fd, sb, why);
}

static int open_or_make(const char *dir, int dir_fd, const struct pws_superblock_want *want,
			struct pws_superblock *ret, struct pws_refusal *why)
{
	int fd = openat(dir_fd, NAME, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0 && errno == ENOENT)
		return make(dir, dir_fd, want, ret, why);
	if (fd < 0)
		return refuse_errno(why, dir, "cannot read the superblock");
	err = read_file(dir, fd, ret, why);
	close(fd);
	if (!err && want->new_identity)
		err = give_new_identity(dir, dir_fd, want, ret, why);
	return err ? err : check_wanted(dir, ret, want, why);
}

int pws_superblock_open(const char *dir, const struct pws_superblock_want *want,
			struct pws_superblock *ret, int *ret_lock_fd, struct pws_refusal *why)
{
	int dir_fd = -1, lock_fd = -1, err;

	if (open_dir(dir, &dir_fd, why))
		return -1;
	/* before the lock file is made in it */
	err = faccessat(dir_fd, NAME, F_OK, 0) ? check_empty(dir, why) : 0;
	if (!err)
		err = take_lock(dir, dir_fd, &lock_fd, why);
	if (!err) {
		err = open_or_make(dir, dir_fd, want, ret, why);
		if (err)
			close(lock_fd);
	}
	close(dir_fd);
	if (!err)
		*ret_lock_fd = lock_fd;
	return err;
}

int pws_superblock_set_formatted(const char *dir, struct pws_superblock *sb,
				 struct pws_refusal *why)
{
	int dir_fd = -1, err;

	if (open_dir(dir, &dir_fd, why))
		return -1;
	sb->formatted = true;
	err = write_file(dir, dir_fd, sb, why);
	close(dir_fd);
	return err;
}
