/* SPDX-License-Identifier: Apache-2.0 */
/* rail.c -- see rail.h; nothing here can fail but for want of room */
#include "client_fs/rail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"

/* Probes of a way that is better than the one in use, and of others. */
#define PROBE_SOON_NS (2 * PW_NS_PER_S)
#define PROBE_NS (15 * PW_NS_PER_S)
#define PROBE_MAX_NS (60 * PW_NS_PER_S)
/* How long a way has to answer before it is worth a move; twice that after each loss. */
#define GOOD_NS (4 * PW_NS_PER_S)
#define LOSSES_MAX 7u
/* A connection that has lived this long wipes out the losses before it. */
#define STEADY_NS (600 * PW_NS_PER_S)

#define BY_DOUBT (4u * PWC_RAILS_MAX)
#define BY_WAY (2u * PWC_RAILS_MAX)
#define BY_LOSS PWC_RAILS_MAX

void pwc_rails_init(struct pwc_rails *t, enum pw_transport wanted, uint32_t spread)
{
	memset(t, 0, sizeof(*t));
	t->wanted = wanted;
	t->spread = spread;
}

bool pwc_rails_wants(const struct pwc_rails *t, enum pwc_way way)
{
	switch (t->wanted) {
	case PW_TRANSPORT_TCP:
		return way == PWC_WAY_TCP;
	case PW_TRANSPORT_RDMA:
		return way == PWC_WAY_RDMA;
	default:
		return true;
	}
}

uint32_t pwc_rails_preferred(const struct pwc_rails *t)
{
	return t->nr ? t->spread % t->nr : 0;
}

const char *pwc_rail_state_name(enum pwc_rail_state s)
{
	static const char *const names[PWC_RAIL_NR_STATES] = {
		[PWC_RAIL_UNTRIED] = "untried",
		[PWC_RAIL_UP] = "up",
		[PWC_RAIL_DOWN] = "down",
		[PWC_RAIL_NOT_OFFERED] = "not offered",
	};

	return s < PWC_RAIL_NR_STATES ? names[s] : "?";
}

/* What is known -------------------------------------------------------------------------------- */

static bool is_address(const char *host)
{
	uint8_t b[16];

	return inet_pton(AF_INET, host, b) == 1 || inet_pton(AF_INET6, host, b) == 1;
}

static struct pwc_rail *find(struct pwc_rails *t, const char *addr, const char *local)
{
	for (uint32_t i = 0; i < t->nr; i++) {
		struct pwc_rail *r = &t->rail[i];

		if (!strcmp(r->addr, addr) &&
		    (!*local || !*r->local || !strcmp(r->local, local)))
			return r;
	}
	return NULL;
}

int pwc_rails_add(struct pwc_rails *t, const char *host, uint16_t port, const char *local,
		  enum pwc_rail_source source)
{
	struct pwc_rail *r;
	char addr[sizeof(r->addr)] = "";

	local = local ? local : "";
	if (!*host || strlen(host) >= sizeof(r->host) || strlen(local) >= sizeof(r->local))
		return -EINVAL;
	if (is_address(host))
		pw_addr_host_port(host, port, addr, sizeof(addr));
	r = *addr ? find(t, addr, local) : NULL;
	if (r) {
		if (!*r->local)
			strcpy(r->local, local);
		return 0;
	}
	if (t->nr == PWC_RAILS_MAX)
		return -ENOSPC;
	r = &t->rail[t->nr++];
	*r = (struct pwc_rail){ .port = port, .source = source };
	strcpy(r->host, host);
	strcpy(r->local, local);
	strcpy(r->addr, addr);
	return 0;
}

static void set_state(struct pwc_rail_way *w, enum pwc_rail_state s, uint64_t now)
{
	if (w->state != s)
		w->since_ns = now;
	w->state = s;
}

static void set_offers(struct pwc_rail *r, uint32_t transports)
{
	static const uint32_t bit[PWC_NR_WAYS] = { [PWC_WAY_RDMA] = PW_RAIL_RDMA,
						   [PWC_WAY_TCP] = PW_RAIL_TCP };

	for (uint32_t i = 0; i < PWC_NR_WAYS; i++) {
		struct pwc_rail_way *w = &r->way[i];

		if (!(transports & bit[i]))
			w->state = PWC_RAIL_NOT_OFFERED;
		else if (w->state == PWC_RAIL_NOT_OFFERED)
			*w = (struct pwc_rail_way){ .state = PWC_RAIL_UNTRIED };
	}
}

static bool is_loopback(const uint8_t a[16])
{
	static const uint8_t v4[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };
	static const uint8_t v6[16] = { [15] = 1 };

	return !memcmp(a, v4, sizeof(v4)) || !memcmp(a, v6, sizeof(v6));
}

static bool in_network(const uint8_t a[16], const struct pw_local_addr *l)
{
	uint32_t bytes = PW_MIN(l->bits, 128u) / 8, rest = PW_MIN(l->bits, 128u) % 8;

	if (memcmp(a, l->addr, bytes))
		return false;
	return !rest || !((a[bytes] ^ l->addr[bytes]) >> (8 - rest));
}

static void ip_text(const uint8_t a[16], char *buf, socklen_t len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (!memcmp(a, mapped, sizeof(mapped)))
		inet_ntop(AF_INET, a + sizeof(mapped), buf, len);
	else
		inet_ntop(AF_INET6, a, buf, len);
}

static bool over_loopback(const struct pwc_rails *t)
{
	const char *addr = t->rail[t->cur.rail].addr;

	return !strncmp(addr, "127.", 4) || !strncmp(addr, "[::1]", 5);
}

static void drop(struct pwc_rails *t, uint32_t i)
{
	memmove(&t->rail[i], &t->rail[i + 1], (t->nr - i - 1) * sizeof(t->rail[0]));
	t->nr--;
	t->cur.rail -= t->cur.rail > i;
	t->late_set = t->late_set && t->late != i;
	t->late -= t->late > i;
}

static void drop_withdrawn(struct pwc_rails *t, const struct pw_rail_addr *list, uint32_t nr)
{
	for (uint32_t i = t->nr; i--;) {
		const struct pwc_rail *r = &t->rail[i];
		bool told = r->source != PWC_RAIL_OF_NODE || i == t->cur.rail;

		for (uint32_t j = 0; j < nr && !told; j++) {
			char ip[INET6_ADDRSTRLEN], addr[sizeof(r->addr)];

			ip_text(list[j].addr, ip, sizeof(ip));
			pw_addr_host_port(ip, list[j].port, addr, sizeof(addr));
			told = !strcmp(r->addr, addr);
		}
		if (!told)
			drop(t, i);
	}
}

void pwc_rails_offer(struct pwc_rails *t, const struct pw_rail_addr *list, uint32_t nr,
		     const struct pw_local_addr *locals, uint32_t nr_locals)
{
	drop_withdrawn(t, list, nr);
	for (uint32_t i = 0; i < nr; i++) {
		const struct pw_rail_addr *a = &list[i];
		char ip[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN], addr[64];

		ip_text(a->addr, ip, sizeof(ip));
		pw_addr_host_port(ip, a->port, addr, sizeof(addr));
		for (uint32_t j = 0; j < nr_locals; j++) {
			if (!in_network(a->addr, &locals[j]) ||
			    (is_loopback(a->addr) && !over_loopback(t)))
				continue;
			ip_text(locals[j].addr, local, sizeof(local));
			/* one that is known without a local address stays as it is */
			if (!find(t, addr, local))
				pwc_rails_add(t, ip, a->port, local, PWC_RAIL_OF_NODE);
		}
		for (uint32_t j = 0; j < t->nr; j++)
			if (!strcmp(t->rail[j].addr, addr))
				set_offers(&t->rail[j], a->transports);
	}
}

/* What comes next ------------------------------------------------------------------------------ */

static uint32_t distance(const struct pwc_rails *t, uint32_t rail)
{
	return (rail + t->nr - pwc_rails_preferred(t)) % t->nr;
}

static uint32_t rank(const struct pwc_rails *t, struct pwc_pick p)
{
	return p.way * BY_WAY + distance(t, p.rail);
}

static bool is_possible(const struct pwc_rails *t, struct pwc_pick p)
{
	return pwc_rails_wants(t, p.way) &&
	       t->rail[p.rail].way[p.way].state != PWC_RAIL_NOT_OFFERED;
}

/* Every possible way, by its number below @t->nr * PWC_NR_WAYS. */
static struct pwc_pick pick_nr(uint32_t n)
{
	return (struct pwc_pick){ n / PWC_NR_WAYS, (enum pwc_way)(n % PWC_NR_WAYS) };
}

bool pwc_rails_next(struct pwc_rails *t, bool *ret_pause)
{
	uint32_t best = UINT32_MAX;
	bool first = true;

	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++) {
		struct pwc_pick p = pick_nr(n);
		const struct pwc_rail_way *w = pwc_rails_way(t, p);
		uint32_t key = rank(t, p);

		if (!is_possible(t, p))
			continue;
		first = first && !w->tried;
		if (w->tried)
			continue;
		key += w->doubtful * BY_DOUBT + (t->late_set && t->late == p.rail) * BY_LOSS;
		if (key >= best)
			continue;
		best = key;
		t->cur = p;
	}
	*ret_pause = first && t->late_set && t->cur.rail == t->late;
	if (best == UINT32_MAX)
		return false;
	pwc_rails_way(t, t->cur)->tried = true;
	return true;
}

void pwc_rails_round(struct pwc_rails *t)
{
	t->late_set = false;
	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++) {
		struct pwc_rail_way *w = pwc_rails_way(t, pick_nr(n));

		w->tried = w->doubtful = false;
	}
}

static void note_error(struct pwc_rail_way *w, uint64_t now, int err, const char *why)
{
	set_state(w, PWC_RAIL_DOWN, now);
	w->failures++;
	w->good_since_ns = 0;
	w->err = err;
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static void note_answer(struct pwc_rail_way *w)
{
	w->doubtful = false;
	w->misses = 0;
	w->err = 0;
	w->why[0] = 0;
}

void pwc_rails_up(struct pwc_rails *t, uint64_t now, const char *addr)
{
	struct pwc_rail *r = &t->rail[t->cur.rail];
	struct pwc_rail_way *w = &r->way[t->cur.way];

	if (!*r->addr && t->cur.way == PWC_WAY_TCP)
		snprintf(r->addr, sizeof(r->addr), "%s", addr);
	w->state = PWC_RAIL_UP;
	w->since_ns = now;
	w->good_since_ns = now;
	note_answer(w);
	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++) {
		w = pwc_rails_way(t, pick_nr(n));
		w->probe_ns = PW_MAX(w->probe_ns, now + PROBE_SOON_NS);
	}
	pwc_rails_round(t);
}

void pwc_rails_failed(struct pwc_rails *t, uint64_t now, int err, const char *why, bool refused)
{
	struct pwc_rail *r = &t->rail[t->cur.rail];

	note_error(&r->way[t->cur.way], now, err, why);
	if (refused)
		for (uint32_t i = 0; i < PWC_NR_WAYS; i++)
			r->way[i].tried = true;
	if (err != -ENOSYS || t->cur.way != PWC_WAY_RDMA)
		return;
	/* no library: not on the other rails either */
	for (uint32_t i = 0; i < t->nr; i++) {
		struct pwc_rail_way *w = &t->rail[i].way[PWC_WAY_RDMA];

		if (i != t->cur.rail && w->state != PWC_RAIL_NOT_OFFERED)
			note_error(w, now, err, why);
		w->tried = w->hopeless = true;
	}
}

void pwc_rails_lost(struct pwc_rails *t, uint64_t now, int err, const char *why)
{
	struct pwc_rail_way *w = pwc_rails_way(t, t->cur);

	w->losses = now - w->since_ns >= STEADY_NS ? 1 : PW_MIN(w->losses + 1, LOSSES_MAX);
	note_error(w, now, err, why);
	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++)
		pwc_rails_way(t, pick_nr(n))->tried = false;
	t->late_set = true;
	t->late = t->cur.rail;
}

void pwc_rails_leave(struct pwc_rails *t, struct pwc_pick to)
{
	pwc_rails_round(t);
	t->cur = to;
	pwc_rails_way(t, to)->tried = true;
}

/* Probes --------------------------------------------------------------------------------------- */

static bool is_cur(const struct pwc_rails *t, struct pwc_pick p)
{
	return p.rail == t->cur.rail && p.way == t->cur.way;
}

bool pwc_rails_probe_next(const struct pwc_rails *t, struct pwc_pick *ret, uint64_t *ret_when)
{
	bool found = false;

	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++) {
		struct pwc_pick p = pick_nr(n);
		const struct pwc_rail_way *w = &t->rail[p.rail].way[p.way];

		if (!is_possible(t, p) || is_cur(t, p) || w->hopeless)
			continue;
		if (found && w->probe_ns >= *ret_when)
			continue;
		found = true;
		*ret = p;
		*ret_when = w->probe_ns;
	}
	return found;
}

void pwc_rails_probed(struct pwc_rails *t, struct pwc_pick p, uint64_t now, int err,
		      const char *why)
{
	struct pwc_rail_way *w = pwc_rails_way(t, p);
	uint64_t every = rank(t, p) < rank(t, t->cur) ? PROBE_SOON_NS : PROBE_NS;

	if (err) {
		note_error(w, now, err, why);
		w->doubtful = true;
		w->hopeless = w->hopeless || err == -ENOSYS;
		every = PW_MIN(every << PW_MIN(w->misses, 6u), PROBE_MAX_NS);
		w->misses++;
	} else {
		set_state(w, PWC_RAIL_UP, now);
		w->good_since_ns = w->good_since_ns ? w->good_since_ns : now;
		note_answer(w);
	}
	w->probe_ns = now + every;
}

bool pwc_rails_better(const struct pwc_rails *t, uint64_t now, struct pwc_pick *ret)
{
	uint32_t best = rank(t, t->cur);
	bool found = false;

	for (uint32_t n = 0; n < t->nr * PWC_NR_WAYS; n++) {
		struct pwc_pick p = pick_nr(n);
		const struct pwc_rail_way *w = &t->rail[p.rail].way[p.way];

		if (!is_possible(t, p) || w->state != PWC_RAIL_UP || !w->good_since_ns ||
		    rank(t, p) >= best || now < w->good_since_ns + (GOOD_NS << w->losses))
			continue;
		found = true;
		best = rank(t, p);
		*ret = p;
	}
	return found;
}

void pwc_rails_put_off(struct pwc_rails *t, struct pwc_pick p, uint64_t now)
{
	pwc_rails_way(t, p)->good_since_ns = now;
}
