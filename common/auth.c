/* SPDX-License-Identifier: Apache-2.0 */
/* auth.c -- proofs by libsodium's BLAKE2b, key files; see auth.h */
#include "common/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

/* hex digits, "\r\n", and one byte more to see that the file goes on */
#define READ_BYTES (2 * PW_KEY_BYTES + 3)

struct transcript {
	char magic[16];
	char role[8];
	struct pw_body_hello hello;
	uint8_t challenge[64];
};
static_assert(sizeof(struct transcript) == 184, "no padding: these bytes are hashed");
static_assert(offsetof(struct pw_body_challenge, proof) == 64,
	      "the transcript ends before the proof");
static_assert(PW_PROOF_BYTES == crypto_generichash_BYTES, "BLAKE2b-256");
static_assert(PW_KEY_BYTES == crypto_generichash_KEYBYTES, "BLAKE2b key");

void pw_auth_proof(uint8_t out[PW_PROOF_BYTES], const uint8_t key[PW_KEY_BYTES], const char *role,
		   const struct pw_body_hello *hello, const struct pw_body_challenge *ch)
{
	struct transcript t = { .magic = "pagewire-auth-1", .hello = *hello };

	assert(strlen(role) <= sizeof(t.role));
	memcpy(t.role, role, strlen(role));
	memcpy(t.challenge, ch, sizeof(t.challenge));
	crypto_generichash(out, PW_PROOF_BYTES, (const uint8_t *)&t, sizeof(t), key, PW_KEY_BYTES);
}

bool pw_auth_equal(const uint8_t a[PW_PROOF_BYTES], const uint8_t b[PW_PROOF_BYTES])
{
	return !sodium_memcmp(a, b, PW_PROOF_BYTES);
}

static int check_file(const char *path, const struct stat *st, char *err, size_t err_len)
{
	if (!S_ISREG(st->st_mode)) {
		snprintf(err, err_len, "key file %s: not a regular file", path);
		return -EINVAL;
	}
	if (st->st_mode & (S_IRWXO | S_IWGRP)) {
		snprintf(err, err_len,
			 "key file %s: mode %04o lets others at the key, run 'chmod 600 %s'", path,
			 (unsigned int)(st->st_mode & 07777), path);
		return -EPERM;
	}
	return 0;
}

/* @len bytes at @buf are the whole file. */
static bool decode(const uint8_t *buf, size_t len, uint8_t ret_key[PW_KEY_BYTES])
{
	size_t bytes;
	const char *end;

	if (len == PW_KEY_BYTES) {
		memcpy(ret_key, buf, PW_KEY_BYTES);
		return true;
	}
	while (len > 2 * PW_KEY_BYTES && strchr(" \t\r\n", buf[len - 1]) && buf[len - 1])
		len--;
	return len == 2 * PW_KEY_BYTES &&
	       !sodium_hex2bin(ret_key, PW_KEY_BYTES, (const char *)buf, len, NULL, &bytes, &end) &&
	       bytes == PW_KEY_BYTES && end == (const char *)buf + len;
}

static int read_key(int fd, const char *path, uint8_t ret_key[PW_KEY_BYTES], char *err,
		    size_t err_len)
{
	uint8_t buf[READ_BYTES], key[PW_KEY_BYTES];
	size_t len = 0;
	ssize_t n;
	int res = 0;

	do {
		n = read(fd, buf + len, sizeof(buf) - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len < sizeof(buf));
	if (n < 0) {
		res = -errno;
		snprintf(err, err_len, "key file %s: %s", path, pw_err_text(res));
	} else if (len == sizeof(buf) || !decode(buf, len, key)) {
		res = -EINVAL;
		snprintf(err, err_len,
			 "key file %s: not a key: want 64 hexadecimal digits or 32 raw bytes",
			 path);
	} else {
		memcpy(ret_key, key, PW_KEY_BYTES);
	}
	sodium_memzero(buf, sizeof(buf));
	sodium_memzero(key, sizeof(key));
	return res;
}

int pw_auth_key_load(const char *path, uint8_t ret_key[PW_KEY_BYTES], char *err, size_t err_len)
{
	/* O_NONBLOCK: a FIFO must not hold up the start */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int res;

	if (fd < 0 || fstat(fd, &st)) {
		res = -errno;
		snprintf(err, err_len, "key file %s: %s", path, pw_err_text(res));
		if (fd >= 0)
			close(fd);
		return res;
	}
	res = check_file(path, &st, err, err_len);
	if (!res)
		res = read_key(fd, path, ret_key, err, err_len);
	close(fd);
	return res;
}
