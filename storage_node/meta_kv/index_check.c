/* SPDX-License-Identifier: Apache-2.0 */
/* index_check.c -- LMDB's file format (0.9, data version 1), read with distrust
 *
 *	page 0, 1	meta: the one with the larger transaction number counts
 *	free tree	transaction number -> pages that are free
 *	main tree	key -> value; a large value lies in pages of its own
 *
 * All leaves of a tree are on one level. The keys of a branch bound those below it; its first key
 * is never looked at, by LMDB neither.
 */
#include "storage_node/meta_kv/index_check.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "storage_node/meta_kv/kv_map.h"

#define MAGIC	     0xbeefc0deu
#define DATA_VERSION 1u
#define PSIZE_MIN    512u
#define PSIZE_MAX    65536u
#define DEPTH_MAX    32u
#define NO_PAGE	     UINT64_MAX
#define FREE_FLAGS   8u /* integer keys */

enum {
	P_BRANCH = 1,
	P_LEAF = 2,
	P_OVERFLOW = 4,
	P_META = 8
};
#define F_BIGDATA 1u

struct page_head {
	uint64_t pgno;
	uint16_t pad, flags;
	uint16_t lower, upper; /* of overflow pages: one number, how many pages */
};
static_assert(sizeof(struct page_head) == 16, "LMDB's format");

struct node_head { /* of a leaf: length of the data; of a branch: 48 bits of page number */
	uint16_t lo, hi, flags, ksize;
};
static_assert(sizeof(struct node_head) == 8, "LMDB's format");

struct tree {
	uint32_t psize; /* of the free tree; else 0 */
	uint16_t flags, depth;
	uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
static_assert(sizeof(struct tree) == 48, "LMDB's format");

struct meta {
	uint32_t magic, version;
	uint64_t address, map_bytes;
	struct tree tree[2]; /* free, main */
	uint64_t last_pg, txnid;
};
static_assert(sizeof(struct meta) == 136, "LMDB's format");

struct check {
	int fd;
	pws_index_row_fn row_fn;
	char *why;
	size_t why_len;
	uint32_t psize;
	struct meta meta;
	uint64_t nr_pages; /* that the file has */
	uint64_t highest;  /* page that is used, or free */
	uint8_t *used;	   /* owns; a bit for each */
	uint8_t *mem;	   /* owns; a page for each level of a tree */
	uint8_t *large;	   /* owns; a large value */
	size_t large_size;
	bool is_free;	   /* which tree is walked */
	struct tree found; /* counts */
};

/* A key that stands in a page that is in memory; p NULL: no bound. */
struct bounds {
	struct pws_slice lo, hi; /* lo <= key < hi */
};

static int bad(struct check *c, uint64_t pgno, const char *what)
{
	snprintf(c->why, c->why_len, "page %llu: %s", (unsigned long long)pgno, what);
	return -EBADMSG;
}

/* Pages -------------------------------------------------------------------------------------- */

static int read_at(const struct check *c, uint64_t off, void *buf, size_t len)
{
	int err = PW_FAULT("kv.index.check");

	for (size_t done = 0; !err && done < len;) {
		ssize_t n = pread(c->fd, (uint8_t *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		done += (size_t)n;
	}
	return err;
}

/* Pages behind the end of the file were given out and never written: they can only be free. */
static int claim(struct check *c, uint64_t from, uint64_t pgno)
{
	uint8_t bit = (uint8_t)(1u << pgno % 8);

	if (pgno < 2 || pgno > c->meta.last_pg)
		return bad(c, from, "names a page that cannot be");
	c->highest = PW_MAX(c->highest, pgno);
	if (pgno >= c->nr_pages)
		return 0;
	if (c->used[pgno / 8] & bit)
		return bad(c, pgno, "is used twice");
	c->used[pgno / 8] |= bit;
	return 0;
}

static int read_page(struct check *c, uint64_t from, uint64_t pgno, uint8_t *buf)
{
	int err = claim(c, from, pgno);

	if (!err && pgno >= c->nr_pages)
		err = bad(c, pgno, "is behind the end of the file");
	return err ? err : read_at(c, pgno * c->psize, buf, c->psize);
}

static struct page_head head_of(const uint8_t *page)
{
	struct page_head h;

	memcpy(&h, page, sizeof(h));
	return h;
}

static int check_head(struct check *c, uint64_t pgno, const struct page_head *h, uint16_t flags)
{
	if (h->pgno != pgno)
		return bad(c, pgno, "has another number written in it");
	return h->flags == flags ? 0 : bad(c, pgno, "is of another kind than it has to be");
}

/* Nodes -------------------------------------------------------------------------------------- */

static uint32_t nr_keys(const struct page_head *h)
{
	return (h->lower - (uint32_t)sizeof(*h)) / 2;
}

/* The node @i lies within the page; so does its key. */
static int get_node(struct check *c, const uint8_t *page, uint32_t i, struct node_head *ret,
		    struct pws_slice *ret_key)
{
	struct page_head h = head_of(page);
	uint16_t at;

	memcpy(&at, page + sizeof(h) + 2 * (size_t)i, sizeof(at));
	if (at % 2 || at < h.upper || at + sizeof(*ret) > c->psize)
		return bad(c, h.pgno, "an entry lies outside of it");
	memcpy(ret, page + at, sizeof(*ret));
	if (at + sizeof(*ret) + ret->ksize > c->psize)
		return bad(c, h.pgno, "a key is longer than it");
	*ret_key = (struct pws_slice){ page + at + sizeof(*ret), ret->ksize };
	return 0;
}

static int compare(const struct check *c, struct pws_slice a, struct pws_slice b)
{
	uint64_t x, y;

	if (!c->is_free)
		return pws_slice_cmp(a, b);
	memcpy(&x, a.p, sizeof(x));
	memcpy(&y, b.p, sizeof(y));
	return x < y ? -1 : x > y;
}

static int check_key(struct check *c, uint64_t pgno, struct pws_slice key, const struct bounds *b)
{
	if (c->is_free ? key.n != sizeof(uint64_t) : !key.n)
		return bad(c, pgno, "a key has a length that cannot be");
	if ((b->lo.p && compare(c, key, b->lo) < 0) || (b->hi.p && compare(c, key, b->hi) >= 0))
		return bad(c, pgno, "a key is not where it is looked for");
	return 0;
}

/* A value in pages of its own: they hold it, and nothing else. */
static int read_large(struct check *c, uint64_t from, const uint8_t *ref, uint32_t len,
		      struct pws_slice *ret)
{
	uint64_t nr = (sizeof(struct page_head) - 1 + (uint64_t)len) / c->psize + 1, pgno;
	size_t bytes = (size_t)(nr * c->psize);
	struct page_head h;
	uint32_t says;
	int err = 0;

	memcpy(&pgno, ref, sizeof(pgno));
	if (pgno > c->nr_pages || nr > c->nr_pages - pgno)
		return bad(c, from, "names pages that cannot be");
	for (uint64_t i = 0; !err && i < nr; i++)
		err = claim(c, from, pgno + i);
	if (!err && c->large_size < bytes) {
		free(c->large);
		c->large = malloc(bytes);
		c->large_size = c->large ? bytes : 0;
		err = c->large ? 0 : -ENOMEM;
	}
	if (!err)
		err = read_at(c, pgno * c->psize, c->large, bytes);
	if (err)
		return err;
	h = head_of(c->large);
	memcpy(&says, &h.lower, sizeof(says));
	err = check_head(c, pgno, &h, P_OVERFLOW);
	if (!err && says != nr)
		err = bad(c, pgno, "is not as long as its value");
	c->found.overflow_pages += nr;
	*ret = (struct pws_slice){ c->large + sizeof(h), len };
	return err;
}

/* A list begins with how many there are; each of them is free, and nothing else. */
static int check_free(struct check *c, uint64_t from, struct pws_slice key, struct pws_slice val)
{
	uint64_t nr, pgno, txnid;
	int err = 0;

	memcpy(&txnid, key.p, sizeof(txnid));
	if (txnid > c->meta.txnid || val.n < sizeof(nr) || val.n % sizeof(nr))
		return bad(c, from, "a list of free pages cannot be");
	memcpy(&nr, val.p, sizeof(nr));
	if (nr > val.n / sizeof(nr) - 1)
		return bad(c, from, "a list of free pages is longer than its value");
	for (uint64_t i = 1; !err && i <= nr; i++) {
		memcpy(&pgno, (const uint8_t *)val.p + i * sizeof(pgno), sizeof(pgno));
		err = claim(c, from, pgno);
	}
	return err;
}

static int check_entry(struct check *c, uint64_t pgno, const struct node_head *n,
		       struct pws_slice key, const uint8_t *end)
{
	const uint8_t *data = (const uint8_t *)key.p + key.n;
	uint32_t len = n->lo | (uint32_t)n->hi << 16;
	struct pws_slice val = { data, len };
	int err = 0;

	if (n->flags & ~F_BIGDATA)
		return bad(c, pgno, "an entry is of another kind than it has to be");
	if (n->flags & F_BIGDATA ? (size_t)(end - data) < sizeof(uint64_t)
				 : (size_t)(end - data) < len)
		return bad(c, pgno, "a value lies outside of it");
	if (n->flags & F_BIGDATA)
		err = read_large(c, pgno, data, len, &val);
	if (err)
		return err;
	c->found.entries++;
	if (c->is_free)
		return check_free(c, pgno, key, val);
	return c->row_fn(key, val) ? 0 : bad(c, pgno, "a row has another checksum");
}

/* Trees -------------------------------------------------------------------------------------- */

static int check_leaf(struct check *c, const uint8_t *page, struct bounds b)
{
	struct page_head h = head_of(page);
	struct pws_slice key, last = { NULL, 0 };
	struct node_head n;
	int err = 0;

	c->found.leaf_pages++;
	for (uint32_t i = 0; !err && i < nr_keys(&h); i++) {
		err = get_node(c, page, i, &n, &key);
		if (!err)
			err = check_key(c, h.pgno, key, &b);
		if (!err && last.p && compare(c, last, key) >= 0)
			err = bad(c, h.pgno, "keys are not in order");
		if (!err)
			err = check_entry(c, h.pgno, &n, key, page + c->psize);
		last = key;
	}
	return err;
}

static int walk(struct check *c, uint64_t from, uint64_t pgno, uint32_t levels, struct bounds b);

static int check_branch(struct check *c, const uint8_t *page, uint32_t levels, struct bounds b)
{
	struct page_head h = head_of(page);
	struct bounds below = { .lo = b.lo };
	struct pws_slice key;
	struct node_head n, next = { 0 };
	int err = get_node(c, page, 0, &n, &key);

	c->found.branch_pages++;
	for (uint32_t i = 0, nr = nr_keys(&h); !err && i < nr; i++) {
		uint64_t child = n.lo | (uint64_t)n.hi << 16 | (uint64_t)n.flags << 32;

		below.hi = b.hi;
		if (i + 1 < nr) {
			err = get_node(c, page, i + 1, &next, &below.hi);
			/* not below the one before it, so that the keys ascend */
			if (!err)
				err = check_key(c, h.pgno, below.hi,
						&(struct bounds){ below.lo, b.hi });
		}
		if (!err)
			err = walk(c, h.pgno, child, levels - 1, below);
		below.lo = below.hi;
		n = next;
	}
	return err;
}

static int walk(struct check *c, uint64_t from, uint64_t pgno, uint32_t levels, struct bounds b)
{
	uint8_t *page = c->mem + (size_t)levels * c->psize;
	int err = read_page(c, from, pgno, page);
	struct page_head h;

	if (err)
		return err;
	h = head_of(page);
	err = check_head(c, pgno, &h, levels ? P_BRANCH : P_LEAF);
	if (err)
		return err;
	if (h.lower % 2 || h.lower <= sizeof(h) || h.lower > h.upper || h.upper > c->psize)
		return bad(c, pgno, "its bounds cannot be");
	return levels ? check_branch(c, page, levels, b) : check_leaf(c, page, b);
}

static int check_tree(struct check *c, bool is_free)
{
	const struct tree *t = &c->meta.tree[is_free ? 0 : 1];
	uint64_t at = c->meta.txnid & 1;
	int err = 0;

	c->is_free = is_free;
	c->found = (struct tree){ .depth = t->depth };
	if (t->flags != (is_free ? FREE_FLAGS : 0) || t->depth > DEPTH_MAX ||
	    !t->depth != (t->root == NO_PAGE))
		return bad(c, at, "its trees cannot be");
	if (t->depth)
		err = walk(c, at, t->root, t->depth - 1u, (struct bounds){ { NULL, 0 } });
	if (err)
		return err;
	if (c->found.entries != t->entries || c->found.branch_pages != t->branch_pages ||
	    c->found.leaf_pages != t->leaf_pages || c->found.overflow_pages != t->overflow_pages)
		return bad(c, at, "counts other pages and rows than there are");
	return 0;
}

/* The file ----------------------------------------------------------------------------------- */

static int read_meta(struct check *c, uint64_t off, uint64_t nr, struct meta *ret)
{
	struct {
		struct page_head h;
		struct meta m;
	} p;
	int err = read_at(c, off, &p, sizeof(p));

	if (err == -EBADMSG)
		return bad(c, nr, "is behind the end of the file");
	if (err)
		return err;
	if (p.m.magic != MAGIC || p.h.pgno != nr || p.h.flags != P_META)
		return bad(c, nr, "is no meta page");
	if (p.m.tree[0].psize < PSIZE_MIN || p.m.tree[0].psize > PSIZE_MAX ||
	    (p.m.tree[0].psize & (p.m.tree[0].psize - 1)))
		return bad(c, nr, "its page size cannot be");
	*ret = p.m;
	return 0;
}

/* Each commit writes the meta page that the one before did not: they are neighbours. If they are
 * not, the newest was damaged, and LMDB would go back to the state before it. (One that is whole,
 * but old, as if it had never been written, the journal notices, or makes good.) */
static int pick_meta(struct check *c)
{
	struct meta m[2];
	uint32_t newest;
	int err = read_meta(c, 0, 0, &m[0]);

	if (!err)
		err = read_meta(c, m[0].tree[0].psize, 1, &m[1]);
	if (err)
		return err;
	if (m[0].version != DATA_VERSION && m[0].version == m[1].version) {
		snprintf(c->why, c->why_len, "its format is version %u of LMDB's, not %u",
			 m[0].version, DATA_VERSION);
		return -EINVAL;
	}
	newest = m[1].txnid > m[0].txnid;
	if (m[0].version != m[1].version || m[0].tree[0].psize != m[1].tree[0].psize ||
	    (m[newest].txnid & 1) != newest ||
	    (m[newest].txnid && m[newest].txnid != m[!newest].txnid + 1))
		return bad(c, newest, "is not the successor of the other meta page");
	c->meta = m[newest];
	c->psize = m[0].tree[0].psize;
	return 0;
}

static int check_file(struct check *c)
{
	off_t size = lseek(c->fd, 0, SEEK_END);
	int err;

	if (size < 0)
		return -errno;
	if (!size)
		return -ENOENT;
	err = pick_meta(c);
	if (err)
		return err;
	posix_fadvise(c->fd, 0, 0, POSIX_FADV_WILLNEED);
	c->nr_pages = (uint64_t)size / c->psize;
	c->used = calloc(1, c->nr_pages / 8 + 1);
	c->mem = malloc((size_t)(DEPTH_MAX + 1) * c->psize);
	if (!c->used || !c->mem)
		return -ENOMEM;
	err = check_tree(c, true);
	if (!err)
		err = check_tree(c, false);
	if (!err && c->meta.last_pg >= c->nr_pages && c->meta.last_pg > c->highest)
		err = bad(c, c->meta.txnid & 1, "makes the file longer than it is");
	return err;
}

int pws_index_check(const char *path, pws_index_row_fn row_fn, char *why, size_t why_len)
{
	struct check c = { .row_fn = row_fn, .why = why, .why_len = why_len };
	int err;

	c.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c.fd < 0)
		return -errno;
	err = check_file(&c);
	free(c.used);
	free(c.mem);
	free(c.large);
	close(c.fd);
	return err;
}
