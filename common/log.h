/* SPDX-License-Identifier: Apache-2.0 */
/* log.h -- one line per event to stderr, object first: "conn node3/1: write failed, ..."
 *
 * Lines carry journald's <N> priority prefix when JOURNAL_STREAM names stderr's device and inode
 * (sd-daemon(3), systemd.exec(5)); otherwise a time stamp and the level. The function that turns an
 * error into a decision logs it, once. Nothing on the data path logs, but for pw_log_rl().
 * Thread: any.      Allocates: never.
 */
#ifndef PW_LOG_H
#define PW_LOG_H

#include "common/compiler.h"

enum pw_log_level {
	PW_LOG_ERR = 3, /* the operator must act */
	PW_LOG_WARN = 4, /* degraded */
	PW_LOG_INFO = 6, /* mounts and connections change */
	PW_LOG_DEBUG = 7, /* proportional to objects */
};

/* Called once by main(); @name is borrowed for ever. Level from PW_LOG=err|warn|info|debug, default
 * info. */
void pw_log_init(const char *name);
void pw_log_set_level(enum pw_log_level level);
enum pw_log_level pw_log_level(void);

void pw_log_at(enum pw_log_level level, const char *fmt, ...) PW_PRINTF(2, 3);

#define pw_log_err(...) pw_log_at(PW_LOG_ERR, __VA_ARGS__)
#define pw_log_warn(...) pw_log_at(PW_LOG_WARN, __VA_ARGS__)
#define pw_log_info(...) pw_log_at(PW_LOG_INFO, __VA_ARGS__)
#define pw_log_debug(...)                                                                          \
	do {                                                                                       \
		if (pw_unlikely(pw_log_level() >= PW_LOG_DEBUG))                                   \
			pw_log_at(PW_LOG_DEBUG, __VA_ARGS__);                                      \
	} while (0)

/* At most 10 lines per second and call site; says how many it left out. */
struct pw_log_rate {
	uint64_t window_ns;
	uint32_t nr, dropped;
};
bool pw_log_rate_ok(struct pw_log_rate *r);
#define pw_log_rl(level, ...)                                                                      \
	do {                                                                                       \
		static struct pw_log_rate rate_;                                                   \
		if (pw_log_rate_ok(&rate_))                                                        \
			pw_log_at(level, __VA_ARGS__);                                             \
	} while (0)

/**
 * pw_log_last_errors - the newest lines of level warn or err, for `pagewire status`
 * @fn: called per line, oldest first; @when_ns is CLOCK_REALTIME; at most 16 are kept
 */
void pw_log_last_errors(void (*fn)(void *arg, uint64_t when_ns, const char *line), void *arg);

#endif
