/* SPDX-License-Identifier: Apache-2.0 */
/* list.h -- intrusive doubly linked list with a head; an object is on at most one list per node
 *
 * Thread: none of its own; the caller's.      Allocates: never.
 */
#ifndef PW_LIST_H
#define PW_LIST_H

#include "common/compiler.h"

struct pw_list {
	struct pw_list *next, *prev;
};

#define PW_LIST_INIT(name) { &(name), &(name) }

static inline void pw_list_init(struct pw_list *l)
{
	l->next = l->prev = l;
}

/* A node that is on no list points to itself: init it before first use. */
static inline bool pw_list_empty(const struct pw_list *l)
{
	return l->next == l;
}

static inline void pw_list_insert(struct pw_list *n, struct pw_list *prev, struct pw_list *next)
{
	next->prev = n;
	n->next = next;
	n->prev = prev;
	prev->next = n;
}

static inline void pw_list_add_tail(struct pw_list *head, struct pw_list *n)
{
	pw_list_insert(n, head->prev, head);
}

static inline void pw_list_add_head(struct pw_list *head, struct pw_list *n)
{
	pw_list_insert(n, head, head->next);
}

/* Safe on a node that is on no list. */
static inline void pw_list_del(struct pw_list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	pw_list_init(n);
}

/* Moves everything on @from to the tail of @to; @from is empty afterwards. */
static inline void pw_list_splice_tail(struct pw_list *to, struct pw_list *from)
{
	if (pw_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	pw_list_init(from);
}

#define pw_list_entry(ptr, type, member) pw_container_of(ptr, type, member)
#define pw_list_first(head, type, member) pw_list_entry((head)->next, type, member)

/* NULL when the list is empty; otherwise the first object, taken off the list. */
static inline struct pw_list *pw_list_pop(struct pw_list *head)
{
	struct pw_list *n = head->next;

	if (n == head)
		return NULL;
	pw_list_del(n);
	return n;
}

#define pw_list_for_each(pos, head) for (pos = (head)->next; pos != (head); pos = pos->next)
/* Safe against deletion of @pos only. */
#define pw_list_for_each_safe(pos, tmp, head)                                                      \
	for (pos = (head)->next, tmp = pos->next; pos != (head); pos = tmp, tmp = pos->next)

#endif
