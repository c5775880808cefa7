/* SPDX-License-Identifier: Apache-2.0 */
/* test_show.c -- the screens of status and stats from documents as daemons give them, and from
 * others */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/cli/show.h"

static const char status_doc[] =
	"{\"schema\": \"pagewire.status/1\", \"mounts\": [{\"dir\": \"/m\","
	" \"source\": \"h:7470:/\","
	" \"state\": \"serving\", \"pid\": 17, \"uptime_s\": 300, \"path\": \"pool\","
	" \"path_reason\": \"one copy\", \"transport\": \"tcp\","
	" \"transport_reason\": \"nobody listens\","
	" \"fuse\": {\"form\": \"entry\", \"queues\": 2, \"depth\": 64, \"max_io_bytes\": 1048576},"
	" \"nodes\": [{\"address\": \"h:7470\", \"transport\": \"tcp\", \"state\": \"waiting\"}],"
	" \"timeout_ms\": 1500, \"cache\": \"auto\","
	" \"space\": {\"total_bytes\": 2147483648, \"avail_bytes\": 1073741824},"
	" \"errors\": [{\"time\": \"2026-01-01T00:00:00Z\", \"line\": \"a\\u001b[2Jb\"}],"
	" \"problems\": [{\"text\": \"node is away\", \"fix\": \"start it\"}], \"notes\": []}],"
	" \"nodes\": [{\"dir\": \"/d\", \"listen\": \"127.0.0.1:7470\", \"state\": \"serving\","
	" \"pid\": 18, \"transport\": \"tcp and rdma\", \"store\": \"memory\","
	" \"durability\": \"none\", \"volatile\": true,"
	" \"space\": {\"total\": 1024, \"free\": 512}, \"clients\": [{\"state\": \"active\","
	" \"address\": \"127.0.0.1:9\", \"transport\": \"tcp\", \"open_files\": 2, \"busy\": 1}],"
	" \"rdma_receives\": [{\"device\": \"rxe0\", \"sharing\": 2, \"own\": 1, \"posted\": 96,"
	" \"reserve\": 64, \"bytes\": 1048576, \"why_own\": \"too old\"},"
	" {\"device\": \"rxe1\"}],"
	" \"problems\": [], \"notes\": [{\"text\": \"KEEPS NOTHING\", \"fix\": \"\"}]}]}";

static const char status_text[] =
	"mount /m  h:7470:/  serving  process 17, 5 min\n"
	"  node        h:7470 over tcp, waiting; 0 calls under way, 0 waiting, 0 reconnects\n"
	"  transport   tcp (no RDMA: nobody listens)\n"
	"  data path   pool: FUSE over io_uring (entry, 2 queues of 64)\n"
	"              one copy\n"
	"  options     read-write, requests up to 1.0 MiB, node away: EIO after 1.5 s, cache auto\n"
	"  space       1.0 GiB free of 2.0 GiB\n"
	"  PROBLEM     node is away\n"
	"    fix:      start it\n"
	"  last errors 2026-01-01T00:00:00Z a?[2Jb\n"
	"node /d  127.0.0.1:7470  serving  process 18\n"
	"  transport   tcp and rdma\n"
	"  store       memory, durability none\n"
	"  space       512 B free of 1.0 KiB\n"
	"  clients     1\n"
	"              active 127.0.0.1:9 tcp, 2 open files, 1 requests under way\n"
	"  receives    rxe0: 1.0 MiB; 2 connections share 96, 64 of them in reserve;"
	" 1 connections have their own (too old)\n"
	"  note        KEEPS NOTHING\n"
	"status: degraded\n";

static json_t *load(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	if (!j)
		fail_msg("%s at %d", e.text, e.position);
	return j;
}

static char *status_of(const char *doc_text, bool color)
{
	json_t *doc = load(doc_text);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	pwc_show_status(doc, f, color);
	fclose(f);
	json_decref(doc);
	return text;
}

static void test_status__one_screen(void **state)
{
	char *text = status_of(status_doc, false);

	(void)state;
	assert_string_equal(text, status_text);
	free(text);
}

static void test_status__color(void **state)
{
	char *text = status_of(status_doc, true);

	(void)state;
	assert_non_null(strstr(text, "\033[31mdegraded\033[0m"));
	/* a terminal gets escapes of ours only */
	assert_null(strstr(text, "\033[2J"));
	free(text);
}

static void test_status__anything_may_be_missing(void **state)
{
	static const char *const docs[] = {
		"{}",
		"{\"mounts\": [{}], \"nodes\": [{}]}",
		"{\"mounts\": 7, \"nodes\": \"x\"}",
		"{\"mounts\": [{\"nodes\": [{}], \"errors\": [{}], \"problems\": [{}]}]}",
		"{\"nodes\": [{\"store\": \"chunk\", \"clients\": [{}, 3], \"errors\": 1}]}",
	};

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(docs); i++)
		free(status_of(docs[i], i & 1));
}

static void test_status__nothing_runs(void **state)
{
	char *text = status_of("{\"mounts\": [], \"nodes\": []}", false);

	(void)state;
	assert_string_equal(text, "nothing of pagewire runs here\n");
	free(text);
}

static const char stats_doc[] =
	"{\"mounts\": [{\"dir\": \"/m\", \"requests\": {\"read\": {\"total\": 5, \"errors\": 1},"
	" \"write\": {\"total\": 0, \"errors\": 0}}, \"paths\": {\"pool\": {\"requests\": 5,"
	" \"read_bytes\": 4096, \"written_bytes\": 0}}, \"payload_bytes\": 4096,"
	" \"copied_bytes\": 4096, \"user_copied_bytes\": 0, \"fallbacks\": {\"no_ring\": 2},"
	" \"stalls\": {\"slot\": 0}, \"counters\": {\"requests\": 100,"
	" \"bytes_read_pool\": 4096}}], \"nodes\": []}";

static void test_stats__text(void **state)
{
	json_t *doc = load(stats_doc);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	pwc_show_stats(doc, f);
	fclose(f);
	assert_non_null(strstr(text, "requests    read 5 (1 failed)\n"));
	assert_non_null(strstr(text, "pool: 5 requests, 4.0 KiB read, 0 B written\n"));
	assert_non_null(strstr(text, "4.0 KiB, 1.000 for each byte of payload, 0 B of it by"));
	assert_non_null(strstr(text, "fallbacks   no_ring 2\n"));
	assert_non_null(strstr(text, "stalls      none\n"));
	free(text);
	json_decref(doc);
}

static void test_rates__between_two_documents(void **state)
{
	json_t *before = load(stats_doc), *after = load(stats_doc);
	json_t *c =
		json_object_get(json_array_get(json_object_get(after, "mounts"), 0), "counters");
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	json_object_set_new(c, "requests", json_integer(300));
	json_object_set_new(c, "bytes_read_pool", json_integer(4096 + 2 * 1024 * 1024));
	pwc_show_rates(before, after, 2000, f);
	/* counters that went back belong to a daemon that was started anew */
	pwc_show_rates(after, before, 2000, f);
	fclose(f);
	assert_string_equal(text,
			    "mount /m  100 requests/s, 1.0 MiB/s read, 0 B/s written, 0 stalls/s\n"
			    "mount /m  0 requests/s, 0 B/s read, 0 B/s written, 0 stalls/s\n");
	free(text);
	json_decref(before);
	json_decref(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status__one_screen),
		cmocka_unit_test(test_status__color),
		cmocka_unit_test(test_status__anything_may_be_missing),
		cmocka_unit_test(test_status__nothing_runs),
		cmocka_unit_test(test_stats__text),
		cmocka_unit_test(test_rates__between_two_documents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
