/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h -- one connection between a client shard and a storage node
 *
 * Above: the session's two sides (client_fs/peer.c, storage_node/session.c). Below: a transport
 * (xprt.h). conn.c does what every transport needs: HELLO and the mutual proof of the cluster key,
 * heartbeats, the order of the hand-shake, message dispatch, and the one error door pw_conn_fail().
 *
 *	DOWN -> CONNECTING -> HELLO -> UP -> DRAINING -> DOWN
 *
 * Data goes one way: calls go down, results come back through struct pw_conn_ops, from the loop,
 * never from within a call. After on_down() nothing refers to any buffer of this connection any
 * more.
 * Thread: loop thread.      Must not know: FUSE, placement, disks.
 */
#ifndef PW_CONN_H
#define PW_CONN_H

#include "common/list.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/runs.h"
#include "common/wire.h"

struct pw_conn;
struct pw_xprt;

enum pw_conn_state {
	PW_CONN_DOWN,
	PW_CONN_CONNECTING,
	PW_CONN_HELLO,
	PW_CONN_UP,
	PW_CONN_DRAINING,
	PW_CONN_NR_STATES
};

enum pw_transport {
	PW_TRANSPORT_AUTO, /* the best that reaches the other side */
	PW_TRANSPORT_TCP,
	PW_TRANSPORT_RDMA,
	PW_TRANSPORT_NR
};

/* A node's port number is that of TCP; over RDMA it is reached at the next one, because iWARP
 * devices share the ports of TCP. */
#define PW_RDMA_PORT(port) ((uint16_t)((port) + 1))

/* One message on its way out; embedded in the request that it belongs to. The answer to a request
 * may arrive before its done(): with zero copy the kernel still holds the payload then. Whoever
 * reuses the request or the payload waits for both. */
struct pw_send {
	struct pw_list node;
	struct pw_cmd cmd; /* owned here until done */
	const void *payload; /* borrowed until done; NULL when cmd.payload_len is 0 */
	/* In place of @payload, only where pw_conn_gathers() has said yes; borrowed until done */
	const struct pw_runs *runs;
	/* Of a request: where its answer's payload may land, so that the node can put it there;
	 * what on_payload() will return. Borrowed until done and the answer. NULL: not known. */
	void *answer;
	/* It is memory of an application that is promised no copy: however short the answer is,
	 * the node is to put it there, where the transport can. */
	bool answer_direct;
	uint32_t answer_max; /* bytes */
	/* The transport needs neither any more. @err: 0, or why it failed. May be NULL. */
	void (*done)(struct pw_send *s, int err);
};

struct pw_conn_ops {
	/* Node: somebody proved the key. Fill @welcome (slots, max_io, lease, flags, boot), or
	 * refuse with -errno (-EMEDIUMTYPE another fsid, -ESTALE older incarnation, -ENOMEM no
	 * slots left, ...). */
	int (*on_hello)(struct pw_conn *c, const struct pw_body_hello *hello,
			struct pw_body_welcome *welcome);
	/* Hand-shake done. Client: @welcome as granted. Node: as given. */
	void (*on_up)(struct pw_conn *c, const struct pw_body_welcome *welcome);
	/* Where does the payload of this checked message land: cmd->payload_len bytes, borrowed
	 * until on_msg() or on_down(). NULL: nobody wants it (bad slot, bad seq) -> the connection
	 * fails. */
	void *(*on_payload)(struct pw_conn *c, const struct pw_cmd *cmd);
	/* Optional, asked before on_payload(): it lands in these runs, which pw_conn_gathers()
	 * has said yes to; borrowed as above. NULL: it does not. */
	const struct pw_runs *(*on_runs)(struct pw_conn *c, const struct pw_cmd *cmd);
	/* Optional: where the next payload will probably land, so that command and payload can come
	 * in with one receive; borrowed until the next on_msg() or on_down(): anything may be
	 * written there until then. A wrong guess costs a copy of what had arrived. Return NULL for
	 * no guess; with @ret_len set, a payload that is to come to its place at once will probably
	 * be next. */
	void *(*guess_payload)(struct pw_conn *c, uint32_t *ret_len);
	/* A REQ (node) or RSP (client) is complete. @cmd is valid during the call only. */
	void (*on_msg)(struct pw_conn *c, const struct pw_cmd *cmd, void *payload);
	/* Optional, client: a part of the list of the node's addresses, in order. */
	void (*on_rails)(struct pw_conn *c, const struct pw_body_rails *part);
	/* Ended and drained. @err: why, -errno; @why: text. The conn may be freed or reconnected
	 * here. */
	void (*on_down)(struct pw_conn *c, int err, const char *why);
};

/* Who we are; borrowed by every connection for its life. */
struct pw_identity {
	uint8_t fsid[16]; /* client: zero until the first WELCOME, or from the mount options */
	uint8_t id[16]; /* client id or node id */
	uint8_t key[32];
	bool have_key;
};

struct pw_conn_stats {
	uint64_t msgs_tx, msgs_rx, bytes_tx, bytes_rx;
	uint64_t zc_sends, zc_copied; /* SEND_ZC issued; of them copied by the kernel after all */
	uint64_t copied_bytes; /* payload bytes that this side had to move after a wrong guess */
};

static inline void pw_conn_stats_add(struct pw_conn_stats *sum, const struct pw_conn_stats *s)
{
	sum->msgs_tx += s->msgs_tx;
	sum->msgs_rx += s->msgs_rx;
	sum->bytes_tx += s->bytes_tx;
	sum->bytes_rx += s->bytes_rx;
	sum->zc_sends += s->zc_sends;
	sum->zc_copied += s->zc_copied;
	sum->copied_bytes += s->copied_bytes;
}

/* Times in ms; zero takes the default in brackets. */
struct pw_conn_opts {
	uint32_t connect_timeout_ms; /* TCP connect and hand-shake together [5000] */
	uint32_t heartbeat_ms; /* silence after which a PING goes out [1000] */
	uint32_t dead_ms; /* silence after which the connection fails [5000] */
	uint32_t want_slots; /* [64] */
	uint32_t channel;
	enum pw_transport transport;
	/* Client: as soon as the node has proved who it is, the connection ends with -ECANCELED:
	 * it answers. Its sessions do not notice. */
	bool probe;
};

/* Client side: a connection in DOWN. @ops, @id borrowed for life. Return: 0 or -ENOMEM. */
int pw_conn_new(struct pw_loop *loop, const struct pw_conn_ops *ops, void *owner,
		const struct pw_identity *id, const struct pw_conn_opts *o, struct pw_conn **ret);
/* DOWN only (also inside on_down()). NULL is fine. */
void pw_conn_free(struct pw_conn *c);

/**
 * pw_conn_connect - DOWN -> CONNECTING
 * @host: name or address, @port: host order; copied
 * @incarnation: grows with every call for the same client id
 *
 * Name resolution never blocks the loop for literal addresses; for names it runs in a thread.
 * on_up() or on_down() follows. Return: 0; -EINVAL; -EBUSY not DOWN.
 */
int pw_conn_connect(struct pw_conn *c, const char *host, uint16_t port, uint64_t incarnation);

/* Queues; goes out with this turn's flush. UP only, else -ENOTCONN and @s->done is not called. */
int pw_conn_send(struct pw_conn *c, struct pw_send *s) PW_WARN_UNUSED;

/**
 * pw_conn_grant - the payload of requests in @slot lands in [@buf, @buf + @len) from now on
 * @buf: 4 KiB aligned; borrowed until the next grant of this slot or on_down(): the peer may write
 *	 there whenever it has nothing under way in @slot
 *
 * Node, from on_up() on: for each slot before its first request, and again, before the answer is
 * sent, when the slot has another buffer than before. A transport that lets the peer write tells it
 * with the next message; for others this is a no-op, they ask on_payload().
 */
void pw_conn_grant(struct pw_conn *c, uint16_t slot, void *buf, uint32_t len);
/* Somebody waits until a peer cannot write any more to what a slot was granted. */
struct pw_revoke {
	void (*done)(struct pw_revoke *r); /* from the loop */
};

/**
 * pw_conn_revoke - the end of a grant, before its memory is handed on without an answer yet
 * @r: borrowed until its done(), which comes in any case; one at a time for each slot
 *
 * Node; not from within on_down(). The next pw_conn_grant() of the slot ends this state.
 * Return: true, done() will be called when the peer cannot write there (or the connection is gone);
 * false, it cannot already.
 */
bool pw_conn_revoke(struct pw_conn *c, uint16_t slot, struct pw_revoke *r) PW_WARN_UNUSED;
/* The peer writes payloads where they were granted, whatever on_payload() returns: from another
 * place they have to be copied. UP only. */
bool pw_conn_places(const struct pw_conn *c);

enum pw_gather {
	PW_GATHER_OK, /* no byte is copied to bring them together */
	PW_GATHER_NEVER, /* this transport does not do it */
	PW_GATHER_UNREGISTERED, /* its device has no registration of the memory */
	PW_GATHER_TOO_MANY, /* its device takes fewer at once */
	PW_GATHER_NR
};

/**
 * pw_conn_gathers - can a message of this connection leave from, or land in, several runs?
 * @in: an answer lands there; else a request leaves from there
 *
 * Holds as long as the memory does not go and the connection is UP. What is not gathered here its
 * owner copies to, or from, one piece.
 */
enum pw_gather pw_conn_gathers(const struct pw_conn *c, const struct pw_runs *runs, bool in);

/**
 * pw_conn_tell_rails - tells the client where this node can be reached, and how
 * @list: @nr of them, at most PW_RAILS_MAX; copied
 *
 * Node, once per connection, from on_up(). A client of a version that does not know this message
 * is told nothing.
 */
void pw_conn_tell_rails(struct pw_conn *c, const struct pw_rail_addr *list, uint32_t nr);

/* The one error door: idempotent; -> DRAINING, every queued send gets done(err), then on_down(). */
void pw_conn_fail(struct pw_conn *c, int err, const char *why);

/* Orderly end by the client: GOODBYE, then as pw_conn_fail() with -ESHUTDOWN. */
void pw_conn_goodbye(struct pw_conn *c);

void *pw_conn_owner(const struct pw_conn *c);
void pw_conn_set_owner(struct pw_conn *c, void *owner);
/* For the next pw_conn_connect(); DOWN only. */
void pw_conn_set_transport(struct pw_conn *c, enum pw_transport transport);
/* For the next pw_conn_connect(), as above. @local: address to connect from, NULL or "" for any;
 * copied. @node: 16 bytes, the only node that will do, or NULL; copied. */
void pw_conn_set_local(struct pw_conn *c, const char *local);
void pw_conn_set_node(struct pw_conn *c, const uint8_t *node);
/* From now on; zero leaves a value as it is. */
void pw_conn_set_patience(struct pw_conn *c, uint32_t connect_timeout_ms, uint32_t dead_ms);
enum pw_conn_state pw_conn_state(const struct pw_conn *c);
const char *pw_conn_peer_name(const struct pw_conn *c); /* "127.0.0.1:7470" */
const uint8_t *pw_conn_peer_id(const struct pw_conn *c); /* 16 bytes; after the hand-shake */
const uint8_t *pw_conn_peer_fsid(const struct pw_conn *c);
void pw_conn_get_stats(const struct pw_conn *c, struct pw_conn_stats *ret);
/* "tcp"; "rdma rxe0 port 1, GID ..., MTU 4096": the first word is the transport, the rest says
 * which device it is. Borrowed until the connection ends. */
const char *pw_conn_transport(const struct pw_conn *c);

/* Node side: listens and makes a connection for each that comes. */
struct pw_listener;
struct pw_listener_ops {
	/* A connection that will do its hand-shake now. The callee owns @c from here on. */
	void (*on_accept)(struct pw_listener *l, struct pw_conn *c);
};
/**
 * pw_listener_new - listen on host:port
 * Return: 0; -EADDRINUSE; -EADDRNOTAVAIL; -EACCES; -EINVAL.
 * A listener on anything but loopback without a key is refused with -ENOKEY.
 */
int pw_listener_new(struct pw_loop *loop, const char *host, uint16_t port,
		    const struct pw_listener_ops *lops, const struct pw_conn_ops *cops, void *owner,
		    const struct pw_identity *id, const struct pw_conn_opts *o,
		    struct pw_listener **ret);
void *pw_listener_owner(const struct pw_listener *l);
uint16_t pw_listener_port(const struct pw_listener *l);
void pw_listener_free(struct pw_listener *l);

#endif
