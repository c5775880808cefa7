/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli_text.c -- human.c, config_text.c, json_path.c, counters.c: words in, words out */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/cli/config_text.h"
#include "client_fs/cli/human.h"
#include "client_fs/cli/json_path.h"
#include "client_fs/cli/survey.h"

static void test_human__bytes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 10 * PW_KIB, "10 KiB" },
		{ PW_MIB + PW_MIB / 2, "1.5 MiB" },
		{ UINT64_MAX, "15 EiB" },
	};
	char buf[PWC_HUMAN_LEN];

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(cases); i++)
		assert_string_equal(pwc_human_bytes(cases[i].n, buf), cases[i].text);
}

static void test_human__seconds(void **state)
{
	char buf[PWC_HUMAN_LEN];

	(void)state;
	assert_string_equal(pwc_human_seconds(0, buf), "0 s");
	assert_string_equal(pwc_human_seconds(119, buf), "119 s");
	assert_string_equal(pwc_human_seconds(120, buf), "2 min");
	assert_string_equal(pwc_human_seconds(7260, buf), "2 h 1 min");
	assert_string_equal(pwc_human_seconds(3 * 86400 + 3600, buf), "3 d 1 h");
}

static void test_config_text__sections_keys_origins(void **state)
{
	char text[] = "[node]\n"
		      "dir = /srv/a b ; /etc/pw.conf:3\n"
		      "; key_file =  ; default\n"
		      "\n"
		      "[other]\n"
		      "x = 1\n";
	json_t *j = pwc_config_text_json(text, "/etc/pw.conf");

	(void)state;
	assert_string_equal(pwc_json_text(j, "schema"), "pagewire.config/1");
	assert_string_equal(pwc_json_text(j, "sections.node.dir.value"), "/srv/a b");
	assert_string_equal(pwc_json_text(j, "sections.node.dir.origin"), "/etc/pw.conf:3");
	assert_string_equal(pwc_json_text(j, "sections.node.key_file.value"), "");
	assert_string_equal(pwc_json_text(j, "sections.node.key_file.origin"), "default");
	assert_string_equal(pwc_json_text(j, "sections.other.x.value"), "1");
	json_decref(j);
}

static void test_json_path__what_is_missing(void **state)
{
	json_t *j = json_pack("{s:{s:i, s:s, s:b, s:f}}", "a", "n", 7, "s", "x", "b", 1, "f", 2.9);

	(void)state;
	assert_int_equal(pwc_json_number(j, "a.n"), 7);
	assert_int_equal(pwc_json_number(j, "a.f"), 2);
	assert_int_equal(pwc_json_number(j, "a.s"), 0);
	assert_int_equal(pwc_json_number(j, "a.n.n"), 0);
	assert_int_equal(pwc_json_number(NULL, "a"), 0);
	assert_string_equal(pwc_json_text(j, "a.s"), "x");
	assert_string_equal(pwc_json_text(j, "a.none"), "");
	assert_string_equal(pwc_json_text(j, "a.n"), "");
	assert_true(pwc_json_true(j, "a.b"));
	assert_false(pwc_json_true(j, "a.n"));
	json_decref(j);
}

static void test_counters__sums(void **state)
{
	json_t *a = json_pack(
		"{s:{s:{s:i, s:i}, s:{s:i, s:i}}, s:{s:{s:i, s:i, s:i}}, s:i, s:i, s:i,"
		" s:{s:i, s:i}, s:{s:i}}",
		"requests", "read", "total", 3, "errors", 1, "write", "total", 4, "errors", 0,
		"paths", "pool", "requests", 7, "read_bytes", 100, "written_bytes", 200,
		"payload_bytes", 300, "copied_bytes", 300, "user_copied_bytes", 0, "stalls", "slot",
		2, "dev_buf", 3, "fallbacks", "no_ring", 5);
	json_t *c = pwc_survey_mount_counters(a);

	(void)state;
	assert_int_equal(pwc_json_number(c, "requests"), 7);
	assert_int_equal(pwc_json_number(c, "errors"), 1);
	assert_int_equal(pwc_json_number(c, "stalls"), 5);
	assert_int_equal(pwc_json_number(c, "fallbacks"), 5);
	assert_int_equal(pwc_json_number(c, "bytes_read_pool"), 100);
	assert_int_equal(pwc_json_number(c, "bytes_written_pool"), 200);
	assert_int_equal(pwc_json_number(c, "payload_bytes"), 300);
	json_decref(c);
	json_decref(a);
	/* an answer with nothing in it */
	a = json_object();
	c = pwc_survey_node_counters(a);
	assert_int_equal(pwc_json_number(c, "requests"), 0);
	json_decref(c);
	json_decref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_human__bytes),
		cmocka_unit_test(test_human__seconds),
		cmocka_unit_test(test_config_text__sections_keys_origins),
		cmocka_unit_test(test_json_path__what_is_missing),
		cmocka_unit_test(test_counters__sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
