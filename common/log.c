/* SPDX-License-Identifier: Apache-2.0 */
/* log.c -- see log.h; each line is one write(2), so lines of several threads do not mix */
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 1024u
#define KEPT_LINES 16u
#define KEPT_BYTES 256u
#define RATE_LINES 10u

struct kept_line {
	uint64_t when_ns;
	char text[KEPT_BYTES];
};

/* Of the process: there is one stderr. */
static const char *log_name = "";
static int log_level = PW_LOG_INFO; /* atomic */
static bool log_journal; /* set before threads start */

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept_line kept[KEPT_LINES]; /* under kept_lock */
static uint64_t nr_kept; /* under kept_lock */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * PW_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* systemd.exec(5): $JOURNAL_STREAM is device and inode of what it gave us; a redirect differs. */
static bool stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	char mine[48];
	struct stat st;

	if (!s || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(mine, sizeof(mine), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return !strcmp(s, mine);
}

void pw_log_init(const char *name)
{
	static const struct {
		const char *name;
		enum pw_log_level level;
	} levels[] = {
		{ "err", PW_LOG_ERR },
		{ "warn", PW_LOG_WARN },
		{ "info", PW_LOG_INFO },
		{ "debug", PW_LOG_DEBUG },
	};
	const char *s = getenv("PW_LOG");
	size_t i;

	log_name = name;
	log_journal = stderr_is_journal();
	if (!s || !*s)
		return;
	for (i = 0; i < PW_ARRAY_SIZE(levels); i++)
		if (!strcmp(s, levels[i].name))
			break;
	if (i < PW_ARRAY_SIZE(levels))
		pw_log_set_level(levels[i].level);
	else
		pw_log_warn("log: PW_LOG is '%s', known are err, warn, info, debug", s);
}

void pw_log_set_level(enum pw_log_level level)
{
	__atomic_store_n(&log_level, (int)level, __ATOMIC_RELAXED);
}

enum pw_log_level pw_log_level(void)
{
	return (enum pw_log_level)__atomic_load_n(&log_level, __ATOMIC_RELAXED);
}

static void keep(const char *text)
{
	struct kept_line *k;

	pthread_mutex_lock(&kept_lock);
	k = &kept[nr_kept++ % KEPT_LINES];
	k->when_ns = clock_ns(CLOCK_REALTIME);
	snprintf(k->text, sizeof(k->text), "%s", text);
	pthread_mutex_unlock(&kept_lock);
}

/* Writes the prefix; returns its length. */
static size_t put_prefix(char *buf, size_t len, enum pw_log_level level)
{
	static const char *const names[] = { [PW_LOG_ERR] = "err", [PW_LOG_WARN] = "warn",
					     [PW_LOG_INFO] = "info", [PW_LOG_DEBUG] = "debug" };
	const char *name = names[level];
	uint64_t now;
	struct tm tm;
	time_t sec;
	size_t n;

	if (log_journal)
		return (size_t)snprintf(buf, len, "<%d>", (int)level);
	now = clock_ns(CLOCK_REALTIME);
	sec = (time_t)(now / PW_NS_PER_S);
	localtime_r(&sec, &tm);
	n = strftime(buf, len, "%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(buf + n, len - n, ".%03u %s%s%s: ",
			      (unsigned int)(now % PW_NS_PER_S / PW_NS_PER_MS), log_name,
			      *log_name ? " " : "", name);
	return n;
}

void pw_log_at(enum pw_log_level level, const char *fmt, ...)
{
	int saved = errno; /* for %m, and the caller's afterwards */
	char line[LINE_BYTES];
	size_t prefix, len;
	va_list ap;
	int n;

	if (level > pw_log_level())
		return;
	prefix = put_prefix(line, 128, level);
	errno = saved;
	va_start(ap, fmt);
	/* one byte stays for the newline */
	n = vsnprintf(line + prefix, sizeof(line) - prefix - 1, fmt, ap);
	va_end(ap);
	len = prefix + PW_MIN((size_t)PW_MAX(n, 0), sizeof(line) - prefix - 2);
	/* names come from users: one of them must not forge a line */
	for (size_t i = prefix; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (level <= PW_LOG_WARN)
		keep(line + prefix);
	line[len] = '\n';
	(void)!write(STDERR_FILENO, line, len + 1);
	errno = saved;
}

bool pw_log_rate_ok(struct pw_log_rate *r)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC_COARSE);
	uint64_t start = __atomic_load_n(&r->window_ns, __ATOMIC_RELAXED);
	uint32_t dropped;

	if (!start || now - start >= PW_NS_PER_S) {
		/* one thread opens the new window; the losers count in it */
		if (__atomic_compare_exchange_n(&r->window_ns, &start, now, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED)) {
			__atomic_store_n(&r->nr, 1, __ATOMIC_RELAXED);
			dropped = __atomic_exchange_n(&r->dropped, 0, __ATOMIC_RELAXED);
			if (dropped)
				pw_log_info("log: left out %u lines like the next one", dropped);
			return true;
		}
	}
	if (__atomic_fetch_add(&r->nr, 1, __ATOMIC_RELAXED) < RATE_LINES)
		return true;
	__atomic_fetch_add(&r->dropped, 1, __ATOMIC_RELAXED);
	return false;
}

void pw_log_last_errors(void (*fn)(void *arg, uint64_t when_ns, const char *line), void *arg)
{
	struct kept_line copy[KEPT_LINES];
	uint64_t first, end;

	pthread_mutex_lock(&kept_lock);
	memcpy(copy, kept, sizeof(copy));
	end = nr_kept;
	pthread_mutex_unlock(&kept_lock);
	first = end > KEPT_LINES ? end - KEPT_LINES : 0;
	for (uint64_t i = first; i < end; i++)
		fn(arg, copy[i % KEPT_LINES].when_ns, copy[i % KEPT_LINES].text);
}
