/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c -- an abstract socket's name as a machine-wide lock, and the file of starts */
#include "storage_node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/random.h"
#include "common/uuid.h"

#define MAGIC "pagewire starts 1\n"

/* The kernel forgets the name with the process, however it ends: nothing can be stale. */
int pws_identity_hold(const char *dir, const uint8_t node_id[16], int *ret_fd,
		      struct pws_refusal *why)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char id[PW_UUID_TEXT];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n, err;

	*ret_fd = -1;
	pw_uuid_text(node_id, id);
	err = fd < 0 ? errno : 0;
	n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "pagewire-node-%s", id);
	if (!err && bind(fd, (struct sockaddr *)&a,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)))
		err = errno;
	if (!err) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (err == EADDRINUSE)
		return pws_refuse(why, PW_EXIT_LOCKED,
				  "data directory %s: node %s runs on this machine already, "
				  "this is a copy of its directory. Two of them would take each "
				  "other's clients: stop that one, or make this one a filesystem "
				  "of its own with --new-identity",
				  dir, id);
	pw_log_warn("identity: cannot look for another node of it on this machine, %s",
		    strerror(err));
	return 0;
}

void pws_starts_encode(const struct pws_starts *s, char buf[PWS_STARTS_RECORD])
{
	int n;

	memset(buf, '\n', PWS_STARTS_RECORD);
	n = snprintf(buf, PWS_STARTS_RECORD, MAGIC "count %" PRIu64 "\nboots", s->count);
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(s->boot); i++)
		n += snprintf(buf + n, PWS_STARTS_RECORD - (size_t)n, " %016" PRIx64, s->boot[i]);
	n += snprintf(buf + n, PWS_STARTS_RECORD - (size_t)n, "\n");
	n += snprintf(buf + n, PWS_STARTS_RECORD - (size_t)n, "crc32c %08x",
		      pw_crc32c(0, buf, (size_t)n));
	buf[n] = '\n'; /* over the final zero */
}

int pws_starts_decode(const char buf[PWS_STARTS_RECORD], struct pws_starts *ret)
{
	char text[PWS_STARTS_RECORD + 1], again[PWS_STARTS_RECORD];
	struct pws_starts s = { .count = 0 };
	int n = 0, more;

	memcpy(text, buf, PWS_STARTS_RECORD);
	text[PWS_STARTS_RECORD] = 0;
	if (sscanf(text, MAGIC "count %" SCNu64 " boots%n", &s.count, &n) != 1 || !n)
		return -EBADMSG;
	for (uint32_t i = 0; i < PW_ARRAY_SIZE(s.boot); i++, n += more) {
		more = 0;
		if (sscanf(text + n, " %" SCNx64 "%n", &s.boot[i], &more) != 1 || !more)
			return -EBADMSG;
	}
	/* exactly what encode writes, the checksum in it */
	pws_starts_encode(&s, again);
	if (memcmp(again, buf, sizeof(again)) || !s.count)
		return -EBADMSG;
	*ret = s;
	return 0;
}

/* The record with the larger count; all zero when there is none. */
static void read_last(int fd, struct pws_starts *ret)
{
	char buf[PWS_STARTS_RECORD];
	struct pws_starts s;

	*ret = (struct pws_starts){ .count = 0 };
	for (uint32_t i = 0; i < 2; i++)
		if (pread(fd, buf, sizeof(buf), i * (off_t)sizeof(buf)) == (ssize_t)sizeof(buf) &&
		    !pws_starts_decode(buf, &s) && s.count > ret->count)
			*ret = s;
}

/* Return: 0 or errno. */
static int count_one(int fd, struct pws_starts *s)
{
	char buf[PWS_STARTS_RECORD];
	struct pws_starts last;
	off_t off;
	int err = -PW_FAULT("starts.write");

	read_last(fd, &last);
	/* Without a record the count begins with the clock: larger than any that a client may
	 * have heard before the record was lost, so that it cannot compare, rather than refuse. */
	s->count = last.count ? last.count + 1 : (uint64_t)time(NULL);
	memcpy(s->boot + 1, last.boot, sizeof(last.boot) - sizeof(last.boot[0]));
	pws_starts_encode(s, buf);
	off = (off_t)(s->count % 2 * sizeof(buf));
	if (err)
		return err;
	if (pwrite(fd, buf, sizeof(buf), off) != (ssize_t)sizeof(buf))
		return errno ? errno : ENOSPC;
	return fsync(fd) ? errno : 0;
}

void pws_starts_record(const char *dir, struct pws_starts *ret)
{
	struct pws_starts s = { .boot = { pw_random_u64() } };
	char path[4200];
	int fd, err;

	s.boot[0] |= !s.boot[0]; /* 0 says that there is none */
	snprintf(path, sizeof(path), "%s/starts", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	errno = fd < 0 ? errno : 0;
	err = fd < 0 ? errno : count_one(fd, &s);
	if (fd >= 0)
		close(fd);
	if (err) {
		pw_log_warn("%s: this start is not recorded, %s: clients cannot tell this data "
			    "from a copy of it", path, strerror(err));
		s = (struct pws_starts){ .boot = { s.boot[0] } };
	}
	*ret = s;
}
