/* SPDX-License-Identifier: Apache-2.0 */
/* rdma_stranger.c -- the other end of an RDMA connection, which is no pagewire's of this version
 *
 *	rdma_stranger node ADDRESS PORT MIN MAX    refuses every HELLO: we speak MIN to MAX
 *	rdma_stranger other ADDRESS PORT           accepts with private data of a later version
 *	rdma_stranger client ADDRESS PORT MIN MAX  says HELLO with these versions, prints the answer
 *	rdma_stranger bad ADDRESS PORT HOW         one thing that no client does: the node has to
 *	                                           end the connection
 *
 * HOW: cm-magic, cm-version: private data; magic, type, grants, short, long: the first message;
 * early: a request before HELLO; proof: a guess instead of a proof; write: RDMA WRITE to a place
 * that nobody granted.
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_verbs.h>

#include "common/rdma_wire.h"

#define NR_RECV 4u
#define LONG (2 * PW_RDMA_MSG_BYTES)
#define LIMIT_MS 60000
#define STATUS_VERSION 24u

struct end {
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	struct pw_rdma_cm cm;
	/* received ones, then what is sent */
	uint8_t mem[NR_RECV][PW_RDMA_MSG_BYTES];
	uint8_t out[LONG];
};

struct msg {
	struct pw_rdma_head head;
	struct pw_cmd cmd;
};

static void prepare(struct end *e, struct rdma_cm_id *id)
{
	memset(e, 0, sizeof(*e));
	e->id = id;
	e->cm = (struct pw_rdma_cm){ .magic = PW_RDMA_MAGIC,
				     .version = PW_RDMA_VERSION,
				     .credits = NR_RECV,
				     .msg_bytes = PW_RDMA_MSG_BYTES };
	e->mr = rdma_reg_msgs(id, e->mem, sizeof(e->mem) + sizeof(e->out));
	if (!e->mr)
		err(1, "memory");
	for (uint32_t i = 0; i < NR_RECV; i++)
		if (rdma_post_recv(id, NULL, e->mem[i], sizeof(e->mem[i]), e->mr))
			err(1, "receive");
}

static struct rdma_conn_param parameters(struct end *e)
{
	return (struct rdma_conn_param){ .private_data = &e->cm,
					 .private_data_len = sizeof(e->cm),
					 .responder_resources = 1,
					 .initiator_depth = 1,
					 .retry_count = 7 };
}

static struct rdma_cm_id *endpoint(const char *addr, const char *port, int flags)
{
	struct rdma_addrinfo hints = { .ai_flags = flags, .ai_port_space = RDMA_PS_TCP }, *res;
	struct ibv_qp_init_attr a = { .qp_type = IBV_QPT_RC,
				      .sq_sig_all = 1,
				      .cap = { .max_send_wr = NR_RECV,
					       .max_recv_wr = NR_RECV,
					       .max_send_sge = 1,
					       .max_recv_sge = 1 } };
	struct rdma_cm_id *id;

	if (rdma_getaddrinfo(addr, port, &hints, &res) || rdma_create_ep(&id, res, NULL, &a))
		err(1, "no RDMA at %s", addr);
	rdma_freeaddrinfo(res);
	return id;
}

/* The next completion of a queue: was it a success? Not when the peer has ended the connection,
 * which only the connection manager tells. What does not come in time ends the program. */
static bool completed(struct end *e, struct ibv_cq *cq, struct ibv_comp_channel *ch,
		      struct ibv_wc *wc)
{
	struct pollfd p[] = { { .fd = ch->fd, .events = POLLIN },
			      { .fd = e->id->channel->fd, .events = POLLIN } };
	void *context;
	int n;

	while (!(n = ibv_poll_cq(cq, 1, wc))) {
		if (ibv_req_notify_cq(cq, 0))
			err(1, "notify");
		n = ibv_poll_cq(cq, 1, wc);
		if (n)
			break;
		if (poll(p, 2, LIMIT_MS) < 1)
			errx(1, "nothing happened in %d ms", LIMIT_MS);
		if (!p[0].revents)
			return false;
		if (ibv_get_cq_event(ch, &cq, &context))
			err(1, "event");
		ibv_ack_cq_events(cq, 1);
	}
	if (n < 0)
		errx(1, "poll");
	return wc->status == IBV_WC_SUCCESS;
}

static bool sent(struct end *e, uint32_t bytes)
{
	struct ibv_wc wc;

	if (rdma_post_send(e->id, NULL, e->out, bytes, e->mr, 0))
		err(1, "send");
	return completed(e, e->id->send_cq, e->id->send_cq_channel, &wc);
}

/* The next message; false: the connection has ended. Receives come in their order. */
static bool received(struct end *e, uint32_t nr, struct msg **ret)
{
	struct ibv_wc wc;

	if (!completed(e, e->id->recv_cq, e->id->recv_cq_channel, &wc))
		return false;
	*ret = (struct msg *)e->mem[nr];
	return wc.byte_len >= sizeof(**ret) && (*ret)->head.type == PW_RDMA_MSG &&
	       !(*ret)->head.nr_grants;
}

static struct msg *compose(struct end *e, uint8_t type)
{
	struct msg *m = (struct msg *)e->out;

	memset(e->out, 0, sizeof(e->out));
	m->head.magic = PW_RDMA_MAGIC;
	m->head.type = PW_RDMA_MSG;
	m->head.credits = NR_RECV;
	m->cmd.magic = PW_WIRE_MAGIC;
	m->cmd.type = type;
	return m;
}

static struct msg *compose_hello(struct end *e, uint32_t min, uint32_t max)
{
	struct msg *m = compose(e, PW_MSG_HELLO);

	memset(m->cmd.hello.client_id, 0x5a, sizeof(m->cmd.hello.client_id));
	m->cmd.hello.version = max;
	m->cmd.hello.version_min = min;
	m->cmd.hello.role = 1;
	m->cmd.hello.incarnation = 1;
	m->cmd.hello.want_slots = 4;
	return m;
}

static void serve(struct rdma_cm_id *listener, bool other, uint32_t min, uint32_t max)
{
	struct end *e = calloc(1, sizeof(*e));
	struct rdma_conn_param p;
	struct rdma_cm_id *id;
	struct msg *m;

	if (!e || rdma_get_request(listener, &id))
		err(1, "request");
	prepare(e, id);
	e->cm.version += other;
	p = parameters(e);
	if (rdma_accept(id, &p))
		err(1, "accept");
	if (received(e, 0, &m) && !other) {
		if (m->cmd.type != PW_MSG_HELLO)
			errx(1, "message %u came first", m->cmd.type);
		m = compose(e, PW_MSG_REJECT);
		m->cmd.status = STATUS_VERSION;
		m->cmd.reject.version = max;
		m->cmd.reject.version_min = min;
		/* it ends the connection when it has read this */
		if (sent(e, sizeof(*m)))
			received(e, 1, &m);
	}
	rdma_disconnect(id);
	rdma_dereg_mr(e->mr);
	rdma_destroy_ep(id);
	free(e);
}

static bool connected(struct end *e, const char *addr, const char *port)
{
	struct rdma_cm_id *id = endpoint(addr, port, 0);
	struct pw_rdma_cm cm = e->cm;
	struct rdma_conn_param p;

	prepare(e, id);
	if (cm.magic)
		e->cm = cm;
	p = parameters(e);
	return !rdma_connect(id, &p);
}

static int client(struct end *e, uint32_t min, uint32_t max)
{
	struct msg *m = compose_hello(e, min, max);

	if (!sent(e, sizeof(*m)) || !received(e, 0, &m))
		errx(1, "no answer");
	printf("type %u status %u versions %u to %u\n", m->cmd.type, m->cmd.status,
	       m->cmd.reject.version_min, m->cmd.reject.version);
	if (received(e, 1, &m))
		errx(1, "more after it");
	return 0;
}

/* To a place that nobody granted; the network says no, and that is the end. */
static void write_somewhere(struct end *e)
{
	struct ibv_wc wc;

	if (rdma_post_write(e->id, NULL, e->out, 4096, e->mr, 0, 0x10000, 0x1234))
		err(1, "write");
	if (completed(e, e->id->send_cq, e->id->send_cq_channel, &wc))
		errx(1, "it was written");
}

static void be_bad(struct end *e, const char *how)
{
	struct msg *m = compose_hello(e, 1, 1), *answer;
	uint32_t bytes = sizeof(*m);

	if (!strcmp(how, "magic"))
		m->head.magic++;
	else if (!strcmp(how, "type"))
		m->head.type = 77;
	else if (!strcmp(how, "grants"))
		m->head.nr_grants = 1;
	else if (!strcmp(how, "short"))
		bytes = sizeof(m->head) + 1;
	else if (!strcmp(how, "long"))
		bytes = LONG;
	else if (!strcmp(how, "early"))
		m->cmd = (struct pw_cmd){ .magic = PW_WIRE_MAGIC,
					  .type = PW_MSG_REQ,
					  .op = PW_OP_STATFS,
					  .slot = 1,
					  .seq = 1 };
	else if (!strcmp(how, "write"))
		write_somewhere(e);
	else if (strcmp(how, "proof"))
		errx(2, "bad: how is '%s'?", how);
	if (strcmp(how, "write"))
		sent(e, bytes);
	if (!strcmp(how, "proof")) {
		if (!received(e, 0, &answer) || answer->cmd.type != PW_MSG_CHALLENGE)
			errx(1, "no challenge");
		m = compose(e, PW_MSG_PROOF);
		memset(m->cmd.proof.proof, 0x77, sizeof(m->cmd.proof.proof));
		sent(e, bytes);
		if (received(e, 1, &answer) && answer->cmd.type != PW_MSG_REJECT)
			errx(1, "message %u after a guess", answer->cmd.type);
		if (received(e, 2, &answer))
			errx(1, "the connection goes on after a guess");
	} else if (received(e, 0, &answer)) {
		errx(1, "%s was answered with message %u", how, answer->cmd.type);
	}
}

static int bad(struct end *e, const char *addr, const char *port, const char *how)
{
	bool cm = !strncmp(how, "cm-", 3);

	if (cm) {
		e->cm = (struct pw_rdma_cm){ .magic = PW_RDMA_MAGIC + !strcmp(how, "cm-magic"),
					     .version = PW_RDMA_VERSION + !strcmp(how,
										  "cm-version"),
					     .credits = NR_RECV,
					     .msg_bytes = PW_RDMA_MSG_BYTES };
		if (connected(e, addr, port))
			errx(1, "%s was accepted", how);
		return 0;
	}
	if (!connected(e, addr, port))
		err(1, "connect");
	be_bad(e, how);
	return 0;
}

int main(int argc, char **argv)
{
	struct end *e = calloc(1, sizeof(*e));
	struct rdma_cm_id *listener;
	const char *what = argc > 1 ? argv[1] : "";

	if (!e)
		err(1, "memory");
	if (argc == 5 && !strcmp(what, "bad"))
		return bad(e, argv[2], argv[3], argv[4]);
	if (argc == 6 && !strcmp(what, "client")) {
		if (!connected(e, argv[2], argv[3]))
			err(1, "connect");
		return client(e, (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]));
	}
	if (!(argc == 6 && !strcmp(what, "node")) && !(argc == 4 && !strcmp(what, "other")))
		errx(2, "see the head of rdma_stranger.c");
	listener = endpoint(argv[2], argv[3], RAI_PASSIVE);
	if (rdma_listen(listener, 4))
		err(1, "listen");
	printf("listening\n");
	fflush(stdout);
	for (;;)
		serve(listener, argc == 4, argc == 6 ? (uint32_t)atoi(argv[4]) : 0,
		      argc == 6 ? (uint32_t)atoi(argv[5]) : 0);
}
