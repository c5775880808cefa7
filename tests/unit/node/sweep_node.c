/* SPDX-License-Identifier: Apache-2.0 */
/* sweep_node.c -- a node that has to live through any one fault, or end cleanly and start again
 *
 * Start, write files, fsync, truncate, unlink, restart, look. With one fault point
 * failing on the way an operation may fail and the node may not start, once; but nothing hangs or
 * leaks, the next start works, and what was acknowledged is there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"

#include "tcp_rig.h"

#define NR_FILES   4u
#define FILE_BYTES 100000u
#define CUT_BYTES  5000u
#define TRIES	   6u

#define MUST(cond)                                                                 \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

enum fate {
	NONE,
	WRITTEN,
	CUT,
	GONE,
	UNKNOWN
};

struct file {
	char name[8];
	uint64_t ino;
	enum fate fate; /* by what was acknowledged */
};

static struct tcp_rig rig;
static struct file files[NR_FILES];
static uint8_t want[FILE_BYTES], got[FILE_BYTES];
static uint32_t nr_failed; /* operations and starts */

static void fill(uint32_t i)
{
	for (uint32_t k = 0; k < FILE_BYTES; k++)
		want[k] = (uint8_t)(k * 31 + k / 251 + i * 17);
}

/* Faults come once: the second try works. */
static void node_up(void)
{
	for (uint32_t i = 0; rig_up(&rig); i++) {
		nr_failed++;
		MUST(i < TRIES);
	}
}

static void node_down(void)
{
	if (rig_down(&rig))
		nr_failed++;
	MUST(!rig.node);
}

static void client_up(void)
{
	uint32_t i = 0;
	int err = -ENOTCONN;

	if (rig.client.up)
		return;
	while (rig_connect(&rig)) {
		nr_failed++;
		MUST(++i < TRIES);
		if (!pws_listen_is_open(rig.node)) {
			node_down();
			node_up();
		}
	}
	for (i = 0; err && rig.client.up && i < TRIES; i++) {
		err = raw_reclaim(&rig.client, NULL, 0, true);
		nr_failed += err != 0;
	}
	MUST(!err || !rig.client.up);
}

/* What raw_*() did last, answered at last: 0 or -errno. */
static int settle(int err)
{
	for (uint32_t i = 0; err == -ENOTCONN && i < TRIES; i++) {
		nr_failed++;
		client_up();
		raw_again(&rig.client, 1);
		err = raw_wait(&rig.client, 1);
	}
	MUST(err != -ETIMEDOUT);
	if (err)
		nr_failed++;
	return err;
}

static void make_file(uint32_t i)
{
	struct file *f = &files[i];
	struct pw_attr attr;

	snprintf(f->name, sizeof(f->name), "f%u", i);
	client_up();
	if (settle(raw_create(&rig.client, 1, f->name, 0, &attr))) {
		f->fate = UNKNOWN;
		return;
	}
	f->ino = rig.client.calls[1].rsp.attr.attr.ino;
	fill(i);
	client_up();
	f->fate = settle(raw_write(&rig.client, f->ino, 0, want, FILE_BYTES, 0, NULL)) ? UNKNOWN
										       : WRITTEN;
	client_up();
	settle(raw_fsync(&rig.client, f->ino));
}

static void change_files(void)
{
	client_up();
	if (files[1].fate == WRITTEN)
		files[1].fate = settle(raw_truncate(&rig.client, files[1].ino, CUT_BYTES)) ? UNKNOWN
											   : CUT;
	client_up();
	if (files[2].fate == WRITTEN)
		files[2].fate = settle(raw_unlink(&rig.client, 1, files[2].name)) ? UNKNOWN : GONE;
	client_up();
	if (files[2].fate == GONE)
		settle(raw_release(&rig.client, files[2].ino, 1));
	client_up();
	if (files[3].fate == WRITTEN)
		settle(raw_open(&rig.client, files[3].ino, 0));
}

/* Reads may fail once, and only with an error. */
static void check_content(uint32_t i, uint32_t len)
{
	uint32_t n = 0;
	int err = -EIO;

	fill(i);
	for (uint32_t k = 0; err && k < TRIES; k++) {
		client_up();
		err = settle(raw_read(&rig.client, files[i].ino, 0, got, FILE_BYTES, &n));
		n = rig.client.calls[1].rsp.payload_len;
	}
	MUST(!err && n == len && !memcmp(got, want, len));
}

static void check_file(uint32_t i)
{
	struct file *f = &files[i];
	struct pw_attr attr;
	int err = -EIO;

	if (f->fate == UNKNOWN)
		return;
	for (uint32_t k = 0; err && err != -ENOENT && k < TRIES; k++) {
		client_up();
		err = settle(raw_lookup(&rig.client, 1, f->name, &attr));
	}
	MUST(err == (f->fate == GONE ? -ENOENT : 0));
	if (f->fate == WRITTEN)
		check_content(i, FILE_BYTES);
	else if (f->fate == CUT)
		check_content(i, CUT_BYTES);
}

static void scenario(void)
{
	node_up();
	for (uint32_t i = 0; i < NR_FILES; i++)
		make_file(i);
	change_files();
	node_down();
	MUST(rig_run_until(rig.loop, &rig.client.down));
	node_up();
	for (uint32_t i = 0; i < NR_FILES; i++)
		check_file(i);
	if (rig.client.up)
		raw_close(&rig.client, true);
	node_down();
}

int main(void)
{
	const char *fault = getenv("PW_FAULT");
	int err;

	pw_log_init("sweep");
	pw_log_set_level(PW_LOG_ERR);
	alarm(100);
	err = rig_init(&rig, PWS_STORE_CHUNK);
	if (err) {
		bool swept = fault && strcmp(fault, "count");

		fprintf(stderr, "no event loop: %s\n", pw_err_text(err));
		rig_fini(&rig);
		return swept ? 0 : 77;
	}
	scenario();
	rig_fini(&rig);
	/* without a fault all of it has to work; ENOENT of the file that is gone counts as one */
	if (!fault || !strcmp(fault, "count"))
		MUST(nr_failed == 1 && files[0].fate == WRITTEN && files[2].fate == GONE);
	return 0;
}
