/* SPDX-License-Identifier: Apache-2.0 */
/* auth.h -- the cluster key: its file, and the proof of knowing it
 *
 * A proof is the keyed BLAKE2b-256 of a transcript with a fixed layout (common/PROTOCOL.md):
 *
 *	 0  16  "pagewire-auth-1" and a zero
 *	16   8  role of who proves: "node" or "client", padded with zeros
 *	24  96  HELLO body as sent: client id, fsid, nonce, versions, role, incarnation...
 *	120 64  CHALLENGE body up to its proof: fsid, node id, nonce
 *
 * Both nonces are in it, so no proof is of use on another connection; the role is, so none can be
 * sent back.
 * Thread: any.      Allocates: never.
 */
#ifndef PW_AUTH_H
#define PW_AUTH_H

#include "common/wire.h"

#define PW_KEY_BYTES 32u
#define PW_PROOF_BYTES 32u

/* @role: at most 8 bytes. @ch->proof is not part of the transcript, it may be @out. */
void pw_auth_proof(uint8_t out[PW_PROOF_BYTES], const uint8_t key[PW_KEY_BYTES], const char *role,
		   const struct pw_body_hello *hello, const struct pw_body_challenge *ch);

/* Compares two proofs in constant time. */
bool pw_auth_equal(const uint8_t a[PW_PROOF_BYTES], const uint8_t b[PW_PROOF_BYTES]) PW_WARN_UNUSED;

/**
 * pw_auth_key_load - read a cluster key file: 64 hexadecimal digits (white space after them), or 32
 * raw bytes
 * @path: a regular file that only its owner, and its group if need be, can read
 * @ret_key: set only on success
 * @err: gets the sentence for the user, with @path in it
 *
 * Return: 0; -ENOENT and what else open(2) gives; -EPERM others may read it or write to it; -EINVAL
 * not a key.
 */
int pw_auth_key_load(const char *path, uint8_t ret_key[PW_KEY_BYTES], char *err, size_t err_len);

#endif
