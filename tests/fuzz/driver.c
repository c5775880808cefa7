/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c -- main() for a fuzz target without libFuzzer: replays files, then mutates them
 *
 *	fuzz_X [-runs=N] [-seed=S] [-only=I] [FILE|FOLDER...]
 *
 * Input I of a seed depends on the seed, I and the files alone: a crash prints both, -only=I
 * repeats it. This finds shallow bugs in a gcc build; libFuzzer (meson -Dfuzz=true) is the one that
 * searches.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/compiler.h"

#define INPUT_MAX 4096u
#define FILES_MAX 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* of the sanitizers, when there is one */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

struct input {
	uint8_t *data; /* owns */
	size_t size;
};

static struct input files[FILES_MAX];
static size_t nr_files;
static unsigned long long seed = 1, runs = 5000, only, current;
static const char *current_file;

static void say_where(void)
{
	if (current_file)
		fprintf(stderr, "fuzz: in file %s\n", current_file);
	else
		fprintf(stderr, "fuzz: repeat with -seed=%llu -only=%llu and the same files\n",
			seed, current);
}

static void on_abort(int sig)
{
	say_where();
	raise(sig);
}

static uint64_t next_random(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void run_one(const uint8_t *data, size_t size)
{
	/* exactly as large as the input, so that a byte too far is seen */
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void load(const char *path)
{
	struct dirent **list;
	struct stat st;
	FILE *f;
	int n;

	if (stat(path, &st)) {
		fprintf(stderr, "fuzz: %s: %m\n", path);
		exit(2);
	}
	if (S_ISDIR(st.st_mode)) {
		n = scandir(path, &list, NULL, by_name);
		for (int i = 0; i < n; i++) {
			char child[4096];

			snprintf(child, sizeof(child), "%s/%s", path, list[i]->d_name);
			if (list[i]->d_name[0] != '.')
				load(child);
			free(list[i]);
		}
		free(list);
		return;
	}
	f = fopen(path, "re");
	if (!f || nr_files == FILES_MAX) {
		fprintf(stderr, "fuzz: %s: %s\n", path, f ? "too many files" : strerror(errno));
		exit(2);
	}
	files[nr_files].data = malloc((size_t)st.st_size + 1);
	files[nr_files].size = fread(files[nr_files].data, 1, (size_t)st.st_size, f);
	fclose(f);
	current_file = path;
	run_one(files[nr_files].data, files[nr_files].size);
	current_file = NULL;
	nr_files++;
}

static size_t mutate_once(uint8_t *buf, size_t size, uint64_t *s)
{
	static const uint32_t numbers[] = { 0,	   1,	      2,	   7,	      8,    127,
					    128,   255,	      256,	   4095,      4096, 65535,
					    65536, INT32_MAX, 0x80000000u, UINT32_MAX };
	size_t at = size ? next_random(s) % size : 0;
	size_t n = next_random(s) % 8 + 1;
	uint32_t number;

	switch (next_random(s) % 6) {
	case 0:
		if (size)
			buf[at] ^= (uint8_t)(1u << next_random(s) % 8);
		return size;
	case 1:
		if (size)
			buf[at] = (uint8_t)next_random(s);
		return size;
	case 2:
		number = numbers[next_random(s) % PW_ARRAY_SIZE(numbers)];
		memcpy(buf + at, &number, PW_MIN(sizeof(number), size - at));
		return size;
	case 3:
		n = PW_MIN(n, INPUT_MAX - size);
		memmove(buf + at + n, buf + at, size - at);
		memset(buf + at, (int)next_random(s), n);
		return size + n;
	case 4:
		n = PW_MIN(n, size - at);
		memmove(buf + at, buf + at + n, size - at - n);
		return size - n;
	default:
		/* a piece of itself, as when records are repeated */
		n = PW_MIN(PW_MIN(n * 8, size - at), INPUT_MAX - size);
		memcpy(buf + size, buf + at, n);
		return size + n;
	}
}

static void run_mutated(unsigned long long i)
{
	uint64_t s = seed * 0x2545f4914f6cdd1dull + i;
	uint8_t buf[INPUT_MAX];
	size_t size = 0;

	current = i;
	if (nr_files && next_random(&s) % 16) {
		const struct input *in = &files[next_random(&s) % nr_files];

		size = PW_MIN(in->size, INPUT_MAX);
		memcpy(buf, in->data, size);
	} else {
		size = next_random(&s) % 300;
		for (size_t j = 0; j < size; j++)
			buf[j] = (uint8_t)next_random(&s);
	}
	for (uint64_t n = next_random(&s) % 6; n; n--)
		size = mutate_once(buf, size, &s);
	run_one(buf, size);
}

static bool is_option(const char *arg, const char *name, unsigned long long *ret)
{
	size_t len = strlen(name);
	char *end;

	if (strncmp(arg, name, len) || arg[len] < '0' || arg[len] > '9')
		return false;
	*ret = strtoull(arg + len, &end, 10);
	return !*end;
}

int main(int argc, char **argv)
{
	/* SA_RESETHAND: the second one kills */
	const struct sigaction sa = { .sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGABRT, &sa, NULL);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_where);
	for (int i = 1; i < argc; i++) {
		if (is_option(argv[i], "-runs=", &runs) || is_option(argv[i], "-seed=", &seed) ||
		    is_option(argv[i], "-only=", &only))
			continue;
		if (argv[i][0] == '-') {
			fprintf(stderr, "fuzz: unknown option %s\n", argv[i]);
			return 2;
		}
		load(argv[i]);
	}
	for (unsigned long long i = only ? only : 1; i <= (only ? only : runs); i++)
		run_mutated(i);
	printf("fuzz: %zu files, %llu mutated inputs, seed %llu\n", nr_files, only ? 1 : runs,
	       seed);
	for (size_t i = 0; i < nr_files; i++)
		free(files[i].data);
	return 0;
}
