/* SPDX-License-Identifier: Apache-2.0 */
/* random.c -- randomness from libsodium, in the programs; the simulation links its own */
#include "common/random.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/log.h"

static void init_sodium(void)
{
	if (sodium_init() < 0) {
		/* UNTESTED: no random device; nonces and ids would be guessable */
		pw_log_err("random: libsodium does not start");
		abort();
	}
}

void pw_random_bytes(void *buf, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_sodium);
	randombytes_buf(buf, len);
}

uint64_t pw_random_u64(void)
{
	uint64_t v;

	pw_random_bytes(&v, sizeof(v));
	return v;
}

uint64_t pw_random_below(uint64_t n)
{
	uint64_t v, min;

	if (n < 2)
		return 0;
	/* the first 2^64 mod n values would make small results likelier */
	min = -n % n;
	do
		v = pw_random_u64();
	while (v < min);
	return v % n;
}
