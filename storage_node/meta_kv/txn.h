/* SPDX-License-Identifier: Apache-2.0 */
/* txn.h -- one optimistic transaction: a function that reads, decides and writes, run until it
 * commits
 *
 * @attempt is pure but for what it does through pws_txn_get/next/put/del and its own result fields.
 * It may run several times: after -EAGAIN of a read (the engine fetches, then it runs again from
 * the start) and after a conflict. It sees its own puts. Its return value decides:
 *	0        commit what was put; with nothing put, wait until what was read is durable
 *	-EAGAIN  a get or next said so: come again. With t->again set: what was kept (pws_txn_keep)
 *		 is committed, and all that was kept or read is brought to media first
 *	-errno   refuse: nothing is written, done(err) after what was read is durable; but puts made
 *		 with pws_txn_keep() survive (the reply row of a refused mutation)
 * So no answer ever reveals a state that a power cut could take back.
 * An engine may lose the outcome of a commit (-EINPROGRESS). Then attempt runs again, behind a
 * barrier that the lost commit cannot pass, and must find out by itself whether it was applied: a
 * mutation keeps its reply row and looks for it first. An attempt that cannot tell may be applied
 * twice.
 * Thread: loop thread.      Allocates: only when a transaction outgrows its inline buffer.
 */
#ifndef PWS_TXN_H
#define PWS_TXN_H

#include "storage_node/meta_kv/meta_kv.h"

#define PWS_TXN_INLINE_BYTES 6144u
#define PWS_TXN_INLINE_KEYS 48u

struct pws_txn_key { /* one key that was read or written */
	struct pws_slice key, val; /* in the transaction's buffer; val.p NULL and put: deleted */
	uint64_t seq; /* version read; valid if read */
	bool read, put, keep;
};

struct pws_txn {
	struct pws_kv *kv;
	int (*attempt)(struct pws_txn *t);
	void (*done)(struct pws_txn *t, int err); /* from the loop, never from within start */
	bool sync; /* may be set by attempt */
	bool again; /* may be set by attempt, which then returns -EAGAIN */
	/* The outcome of an attempt was lost, and none since has said pws_txn_sure(). With an error
	 * in done(): it may have been applied all the same. */
	bool unsure;
	/* private to txn.c */
	int result;
	uint32_t tries;
	int oops; /* -ENOMEM or -E2BIG: what overflow ends in */
	bool fetching; /* a read is on its way; attempt runs again when it is in */
	bool barrier; /* the waiter stands for an unknown outcome: attempt runs again behind it */
	uint64_t seen_seq; /* newest version that was read */
	struct pws_kv_commit commit;
	struct pws_kv_waiter waiter;
	struct pws_kv_fetch fetch;
	struct pw_ready ready;
	struct pw_timer timer; /* pause between tries of a transaction that keeps losing */
	struct pws_txn_key *keys;
	uint32_t nr_keys, max_keys; /* sorted by key */
	uint32_t nr_puts, put_bytes;
	uint8_t *buf;
	uint32_t used, size;
	bool overflow; /* out of memory or over the engine's limits: ends in -ENOMEM or -E2BIG */
	struct pws_txn_key inline_keys[PWS_TXN_INLINE_KEYS];
	uint8_t inline_buf[PWS_TXN_INLINE_BYTES];
};

/* Once per object; not per transaction. */
void pws_txn_init(struct pws_txn *t, struct pws_kv *kv);
void pws_txn_fini(struct pws_txn *t); /* idle */
/* Runs attempt, possibly before returning; done comes later, from the loop, exactly once. */
void pws_txn_start(struct pws_txn *t, int (*attempt)(struct pws_txn *),
		   void (*done)(struct pws_txn *, int err));

/* Only inside attempt: it has found out whether an earlier one was applied. */
static inline void pws_txn_sure(struct pws_txn *t)
{
	t->unsure = false;
}

/* Only inside attempt. @ret: borrowed until attempt returns. 0; -ENOENT; -EAGAIN (return it); -EIO
 */
int pws_txn_get(struct pws_txn *t, struct pws_slice key, struct pws_slice *ret);
/* Is the version of @key that this attempt has read on media? */
bool pws_txn_on_media(const struct pws_txn *t, struct pws_slice key);
/* First live record in [begin, end), own puts and deletes seen. */
int pws_txn_next(struct pws_txn *t, struct pws_slice begin, struct pws_slice end,
		 struct pws_slice *ret_key, struct pws_slice *ret_val);
void pws_txn_put(struct pws_txn *t, struct pws_slice key, struct pws_slice val); /* copies */
void pws_txn_del(struct pws_txn *t, struct pws_slice key);
/* As put, but written also when attempt refuses. */
void pws_txn_keep(struct pws_txn *t, struct pws_slice key, struct pws_slice val);
/* Bytes and keys still free in this commit, for work that is cut into several (reclaim). */
bool pws_txn_room(const struct pws_txn *t, uint32_t keys, uint32_t bytes);

#endif
