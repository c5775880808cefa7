/* SPDX-License-Identifier: Apache-2.0 */
/* session.c -- pw_open(): from any path to the socket of its mount
 *
 * Happy path: open the path, or the nearest folder above it that may be opened -> PW_IOC_INFO ->
 * connect. Can fail: no pagewire there (-EOPNOTSUPP; with PW_OPTIONAL that is no failure), zc=off,
 * no socket because the mount has no rights in /run.
 */
#include "libpagewire/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546

/* A descriptor on which an ioctl reaches the mount of @path. Never opens what is neither a file nor
 * a folder: that could wait, or do something. */
static int open_near(const char *path)
{
	char name[PATH_MAX], *slash;
	struct stat st;

	if (!realpath(path, name))
		return -errno;
	for (;;) {
		if (stat(name, &st))
			return -errno;
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
			int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

			if (fd >= 0 || errno != EACCES)
				return fd >= 0 ? fd : -errno;
		}
		slash = strrchr(name, '/');
		if (!slash || !name[1])
			return -EACCES;
		slash[slash == name] = '\0';
	}
}

static int ask_info(const char *path, struct pw_region_info *ret)
{
	struct statfs fs;
	int fd = open_near(path), err = 0;

	if (fd < 0)
		return fd;
	/* the number of our ioctl could mean anything elsewhere */
	if (fstatfs(fd, &fs))
		err = -errno;
	else if (fs.f_type != FUSE_MAGIC)
		err = -EOPNOTSUPP;
	else if (ioctl(fd, PW_IOC_INFO, ret) < 0)
		err = errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	else if (ret->version != PW_REGION_VERSION)
		err = -EPROTONOSUPPORT;
	close(fd);
	return err;
}

static int dial(struct pw *pw)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int err = 0;

	if (!*pw->info.socket)
		return -EOPNOTSUPP;
	memcpy(to.sun_path, pw->info.socket, sizeof(to.sun_path) - 1);
	pw->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (pw->sock < 0)
		return -errno;
	if (connect(pw->sock, (struct sockaddr *)&to, sizeof(to)))
		err = -errno;
	if (err) {
		close(pw->sock);
		pw->sock = -1;
	}
	return err;
}

PW_API int pw_open(pw_t **ret, const char *path_on_mount, unsigned int flags)
{
	struct pw *pw;
	int err;

	if (!ret || !path_on_mount || flags & ~PW_OPTIONAL)
		return -EINVAL;
	pw = calloc(1, sizeof(*pw));
	if (!pw)
		return -ENOMEM;
	pw->sock = -1;
	err = ask_info(path_on_mount, &pw->info);
	if (!err)
		err = dial(pw);
	if (err && flags & PW_OPTIONAL && err != -ENOENT && err != -ENOTDIR) {
		memset(&pw->info, 0, sizeof(pw->info));
		err = 0;
	}
	if (!err)
		err = -pthread_mutex_init(&pw->lock, NULL);
	if (err) {
		if (pw->sock >= 0)
			close(pw->sock);
		free(pw);
		return err;
	}
	*ret = pw;
	return 0;
}

PW_API void pw_close(pw_t *pw)
{
	if (!pw)
		return;
	/* the mount lets go of everything when the connection ends */
	if (pw->sock >= 0)
		close(pw->sock);
	pw->sock = -1;
	while (pw->first) {
		pw->first->registered = false;
		pw_release(pw->first, 0);
	}
	pthread_mutex_destroy(&pw->lock);
	free(pw);
}

static void format_uuid(const uint8_t *b, char *ret, size_t len)
{
	snprintf(ret, len, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
}

PW_API int pw_get_info(pw_t *pw, struct pw_info *info)
{
	const struct pw_region_info *i = &pw->info;
	struct pw_info all = {
		.version = i->version,
		.max_regions = i->max_regions,
		.max_bytes = i->max_bytes,
		.max_io = i->max_io,
		.plain_io = atomic_load(&pw->plain_io),
	};

	if (info->size < sizeof(all.size) || info->size > 4096)
		return -EINVAL;
	all.size = info->size;
	if (i->version) {
		all.features = PW_FEATURE_REGIONS;
		if (i->flags & PW_REGION_INFO_KERNEL)
			all.features |= PW_FEATURE_KERNEL;
		format_uuid(i->fsid, all.fsid, sizeof(all.fsid));
		memcpy(all.transport, i->transport, sizeof(all.transport));
	}
	pthread_mutex_lock(&pw->lock);
	memcpy(all.why, pw->why, sizeof(all.why));
	pthread_mutex_unlock(&pw->lock);
	memset(info, 0, all.size);
	memcpy(info, &all, all.size < sizeof(all) ? all.size : sizeof(all));
	return 0;
}

static int converse(int sock, const struct pw_region_msg *m, int fd, struct pw_region_answer *ret)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		h.msg_control = control.buf;
		h.msg_controllen = sizeof(control.buf);
		*CMSG_FIRSTHDR(&h) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(sock, &h, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(*m))
		return -ENOTCONN;
	do {
		n = recv(sock, ret, sizeof(*ret), 0);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*ret) ? 0 : -ENOTCONN;
}

int pw_session_ask(struct pw *pw, const struct pw_region_msg *m, int fd,
		   struct pw_region_answer *ret)
{
	int err = -ENOTCONN;

	pthread_mutex_lock(&pw->lock);
	if (pw->sock >= 0)
		err = converse(pw->sock, m, fd, ret);
	/* an answer that was not read would be taken for that of the next question */
	if (err && pw->sock >= 0)
		shutdown(pw->sock, SHUT_RDWR);
	if (!err && ret->err && *ret->text)
		snprintf(pw->why, sizeof(pw->why), "%.*s", (int)sizeof(ret->text) - 1, ret->text);
	pthread_mutex_unlock(&pw->lock);
	return err;
}
