/* SPDX-License-Identifier: Apache-2.0 */
/* options.h -- the command line of pagewire-client: HOST:PORT:/ DIR [-o opts] [-f]
 *
 * An unknown option is an error that names its nearest match. What mount(8), fstab and systemd put
 * into the list for themselves (_netdev, nofail, x-systemd.*, noauto, user...) is accepted and
 * means nothing here.
 * Thread: before the loop runs.      Allocates: never.
 */
#ifndef PWC_OPTIONS_H
#define PWC_OPTIONS_H

#include <limits.h>

#include "client_fs/peer.h"
#include "common/wire.h"

enum pwc_io_uring {
	PWC_IO_URING_AUTO, /* where the kernel offers it */
	PWC_IO_URING_ON, /* or do not mount */
	PWC_IO_URING_OFF,
};

enum pwc_cache {
	PWC_CACHE_AUTO, /* attributes for a second, pages as long as the change counter matches */
	PWC_CACHE_NONE, /* every call asks the node */
};

/* Buffers that applications have registered. */
enum pwc_zc {
	PWC_ZC_AUTO,
	PWC_ZC_REQUIRE, /* and the kernel finds them by itself, or do not mount */
	PWC_ZC_OFF, /* none are taken */
};

/* Besides HOST of what is mounted. */
enum pwc_rails_mode {
	PWC_RAILS_AUTO, /* what the node tells, where this host has an address in that network */
	PWC_RAILS_LIST, /* what the user has listed */
	PWC_RAILS_OFF,
};

#define PWC_RAIL_OPTS_MAX 15u

struct pwc_options {
	char host[256];
	uint16_t port;
	char source[320]; /* "HOST:PORT:/" as /proc/mounts shows it */
	char dir[PATH_MAX]; /* absolute, without links */
	bool foreground;
	bool ro;
	bool allow_other;
	bool allow_other_set;
	char kernel_opts[256]; /* nosuid, noatime...: for mount(2), comma first */
	uint32_t timeout_ms; /* 0: wait for ever */
	enum pwc_io_uring io_uring;
	enum pwc_cache cache;
	enum pwc_zc zc;
	enum pw_transport transport;
	enum pwc_rails_mode rails_mode;
	struct pwc_rail_opt rails[PWC_RAIL_OPTS_MAX]; /* port 0: that of HOST */
	uint32_t nr_rails;
	uint32_t max_io; /* bytes */
	uint32_t slots;
	uint32_t queue_depth; /* ring entries per queue; 0: chosen by the number of queues */
	uint32_t poll_us; /* how long queues of RDMA devices are polled; 0: never */
	uint32_t attr_timeout_ms;
	uint32_t readahead; /* bytes; 0: the kernel's */
	char key_file[PATH_MAX];
	uint8_t fsid[16]; /* the only filesystem to mount; zero: any */
	bool have_key;
	uint8_t key[32];
};

#define PWC_MAX_IO_DEFAULT (1u << 20)
#define PWC_SLOTS_DEFAULT 64u
#define PWC_READAHEAD_DEFAULT (4u << 20)

/**
 * pwc_options_parse - read the command line
 * @ret:     filled; defaults where nothing was said
 * @ret_why: text for the user when it fails
 *
 * Return: 0; -EINVAL: wrong usage, @ret_why says what.
 */
int pwc_options_parse(int argc, char **argv, struct pwc_options *ret, char *ret_why,
		      size_t why_len);

/* One -o list; part of the above. */
int pwc_options_parse_list(struct pwc_options *o, const char *list, char *ret_why, size_t why_len);

/* "HOST:PORT:/", "HOST:/", "[ADDRESS]:PORT:/" */
int pwc_options_parse_source(struct pwc_options *o, const char *source, char *ret_why,
			     size_t why_len);

/**
 * pwc_options_load_key - read key_file, see pw_auth_key_load()
 * Return: 0; -errno with @ret_why set. Nothing to do without key_file.
 */
int pwc_options_load_key(struct pwc_options *o, char *ret_why, size_t why_len);

#endif
