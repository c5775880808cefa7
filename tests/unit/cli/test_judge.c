/* SPDX-License-Identifier: Apache-2.0 */
/* test_judge.c -- what is a problem, what is a note, and the command that helps */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client_fs/cli/json_path.h"
#include "client_fs/cli/survey.h"

static json_t *load(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	if (!j)
		fail_msg("%s at %d", e.text, e.position);
	return j;
}

static const char *part(const json_t *entry, const char *list, size_t i, const char *key)
{
	return pwc_json_text(json_array_get(json_object_get(entry, list), i), key);
}

static size_t nr(const json_t *entry, const char *list)
{
	return json_array_size(json_object_get(entry, list));
}

static void test_mount__all_is_well(void **state)
{
	json_t *m = load("{\"dir\": \"/m\", \"state\": \"serving\", \"path\": \"pool\","
			 " \"nodes\": [{\"state\": \"up\"}]}");

	(void)state;
	pwc_survey_judge_mount(m);
	assert_int_equal(nr(m, "problems"), 0);
	assert_int_equal(nr(m, "notes"), 0);
	json_decref(m);
}

static void test_mount__nobody_answers(void **state)
{
	static const struct {
		const char *state, *fix;
	} cases[] = {
		{ "stopped", "kill -CONT 17" },
		{ "silent", "pagewire umount -f /m" },
		{ "dead", "pagewire umount -f /m" },
		{ "hung", "pagewire umount -f /m" },
	};

	(void)state;
	for (size_t i = 0; i < PW_ARRAY_SIZE(cases); i++) {
		json_t *m = json_pack("{s:s, s:s, s:i}", "dir", "/m", "state", cases[i].state,
				      "pid", 17);

		pwc_survey_judge_mount(m);
		assert_int_equal(nr(m, "problems"), 1);
		assert_string_equal(part(m, "problems", 0, "fix"), cases[i].fix);
		json_decref(m);
	}
}

static void test_mount__who_may_not_ask_is_no_problem(void **state)
{
	json_t *m =
		load("{\"dir\": \"/m\", \"state\": \"unknown\", \"why\": \"permission denied\"}");

	(void)state;
	pwc_survey_judge_mount(m);
	assert_int_equal(nr(m, "problems"), 0);
	assert_int_equal(nr(m, "notes"), 1);
	json_decref(m);
}

static void test_mount__node_is_away(void **state)
{
	json_t *m = load("{\"dir\": \"/m\", \"state\": \"serving\", \"timeout_ms\": 0, \"nodes\": ["
			 "{\"state\": \"waiting\", \"address\": \"h:1\", \"down_ms\": 12345,"
			 " \"why\": \"connection refused\"}]}");

	(void)state;
	pwc_survey_judge_mount(m);
	assert_int_equal(nr(m, "problems"), 1);
	assert_string_equal(
		part(m, "problems", 0, "text"),
		"node h:1 is not reachable for 12.3 s: connection refused; calls wait, a "
		"signal ends them");
	json_decref(m);
}

static void test_mount__the_ring_is_switched_off(void **state)
{
	json_t *m = load("{\"dir\": \"/m\", \"state\": \"serving\", \"path\": \"dev\","
			 " \"path_reason\": \"fuse.enable_uring is N: echo Y > /sys/x\"}");

	(void)state;
	pwc_survey_judge_mount(m);
	assert_int_equal(nr(m, "problems"), 0);
	assert_int_equal(nr(m, "notes"), 1);
	assert_string_equal(part(m, "notes", 0, "fix"),
			    "echo Y > /sys/x; then mount again: pagewire umount /m");
	json_decref(m);
}

static void test_node__keeps_nothing(void **state)
{
	json_t *n = load("{\"state\": \"serving\", \"volatile\": true, \"store\": \"memory\"}");

	(void)state;
	pwc_survey_judge_node(n);
	assert_int_equal(nr(n, "problems"), 0);
	assert_int_equal(nr(n, "notes"), 1);
	assert_non_null(strstr(part(n, "notes", 0, "text"), "KEEPS NOTHING"));
	json_decref(n);
}

static void test_node__space_and_checksums(void **state)
{
	json_t *n = load("{\"state\": \"serving\", \"space\": {\"total\": 1000, \"free\": 10,"
			 " \"full\": true}, \"scrub\": {\"errors\": 2}}");

	(void)state;
	pwc_survey_judge_node(n);
	assert_int_equal(nr(n, "problems"), 2);
	json_decref(n);
	n = load("{\"state\": \"serving\", \"space\": {\"total\": 1000, \"free\": 10}}");
	pwc_survey_judge_node(n);
	assert_int_equal(nr(n, "problems"), 0);
	assert_int_equal(nr(n, "notes"), 1);
	json_decref(n);
}

static void test_node__stopped_or_silent(void **state)
{
	json_t *n = load("{\"state\": \"stopped\", \"pid\": 5}");

	(void)state;
	pwc_survey_judge_node(n);
	assert_string_equal(part(n, "problems", 0, "fix"), "kill -CONT 5");
	json_decref(n);
	n = load("{\"state\": \"silent\", \"pid\": 5}");
	pwc_survey_judge_node(n);
	assert_int_equal(nr(n, "problems"), 1);
	json_decref(n);
}

static void test_is_good__any_problem_counts(void **state)
{
	json_t *doc = load("{\"mounts\": [{\"problems\": []}], \"nodes\": [{\"problems\": []}]}");

	(void)state;
	assert_true(pwc_survey_is_good(doc));
	json_decref(doc);
	doc = load("{\"mounts\": [{\"problems\": []}], \"nodes\": [{\"problems\": [{}]}]}");
	assert_false(pwc_survey_is_good(doc));
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mount__all_is_well),
		cmocka_unit_test(test_mount__nobody_answers),
		cmocka_unit_test(test_mount__who_may_not_ask_is_no_problem),
		cmocka_unit_test(test_mount__node_is_away),
		cmocka_unit_test(test_mount__the_ring_is_switched_off),
		cmocka_unit_test(test_node__keeps_nothing),
		cmocka_unit_test(test_node__space_and_checksums),
		cmocka_unit_test(test_node__stopped_or_silent),
		cmocka_unit_test(test_is_good__any_problem_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
