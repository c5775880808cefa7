/* SPDX-License-Identifier: Apache-2.0 */
/* main.c -- pagewire-node: command line, start, signals, orderly end, exit code
 *
 *	configuration -> loop -> data directory -> control socket -> node -> "listening" -> signals
 *	-> node -> data -> control socket -> signals end -> loop ends
 *
 * Exit codes are those of common/err.h; each refusal is one sentence on stderr.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/sd_notify.h"
#include "common/sm.h"
#include "common/uring.h"
#include "common/uuid.h"
#include "storage_node/control.h"
#include "storage_node/data_dir.h"
#include "storage_node/node.h"
#include "storage_node/node_config.h"

#define NAME		 "pagewire-node"
#define DEFAULT_CONFIG	 "/etc/pagewire/pagewire.conf"
#define STOP_DEADLINE_MS 10000u
#define SETTINGS_MAX	 64

struct setting { /* from the command line: over those of the file */
	const char *key, *value;
};

struct program {
	const char *config_path;
	bool check_only, show_only, show_origin, new_identity;
	struct setting settings[SETTINGS_MAX];
	uint32_t nr_settings;
	struct pw_config loaded;
	struct pws_node_config config;

	struct pw_loop *loop;
	struct pws_data data;
	struct pws_node *node;
	struct pws_control *control;
	struct pws_status_source source;
	struct pw_fd signals;
	int signal_fd;
	bool ready, stopping, stop_wanted;
	int exit_code;
};

static void print(const char *fmt, ...) PW_PRINTF(1, 2);
static void print(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, NAME ": ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int refused(const struct pws_refusal *why)
{
	print("%s", why->text);
	return why->code;
}

/* Command line and configuration ------------------------------------------------------------ */

static void usage(FILE *f)
{
	fprintf(f,
		"usage: " NAME " [-c FILE] [--dir DIR] [--listen HOST:PORT[,...]]\n"
		"                     [-o KEY=VALUE]...\n"
		"Stores the files of a pagewire filesystem and serves them to clients.\n"
		"\n"
		"  -c, --config FILE       configuration, section [node] (default " DEFAULT_CONFIG
		"\n"
		"                          if it is there)\n"
		"      --dir DIR           data directory\n"
		"      --listen HOST:PORT  where clients connect\n"
		"      --store KIND        chunk, memory or null\n"
		"      --durability MODE   always, or interval:MS\n"
		"  -o, --set KEY=VALUE     any key of section [node]\n"
		"      --new-identity      the data directory is a copy: another filesystem now\n"
		"      --check-config      check the configuration, print all its errors, and end\n"
		"      --show-config[=origin]  print it, complete, with the origin of each value\n"
		"      --version, --help\n"
		"\n"
		"Signals: SIGTERM ends it in order, SIGHUP reads the log level again, SIGUSR1\n"
		"prints the trace of its state machines.\n");
}

static bool add_setting(struct program *p, const char *key, const char *value)
{
	if (p->nr_settings == SETTINGS_MAX)
		return false;
	p->settings[p->nr_settings++] = (struct setting){ key, value };
	return true;
}

/* Splits KEY=VALUE in place. */
static bool add_pair(struct program *p, char *pair)
{
	char *eq = strchr(pair, '=');

	if (!eq)
		return false;
	*eq = 0;
	return add_setting(p, pair, eq + 1);
}

enum {
	OPT_CHECK = 256,
	OPT_SHOW,
	OPT_NEW_IDENTITY,
	OPT_VERSION,
	OPT_KEY
};

/* -1: go on; else the exit code. */
static int parse_args(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "set", required_argument, NULL, 'o' },
		{ "dir", required_argument, NULL, OPT_KEY },
		{ "listen", required_argument, NULL, OPT_KEY },
		{ "store", required_argument, NULL, OPT_KEY },
		{ "durability", required_argument, NULL, OPT_KEY },
		{ "new-identity", no_argument, NULL, OPT_NEW_IDENTITY },
		{ "check-config", no_argument, NULL, OPT_CHECK },
		{ "show-config", optional_argument, NULL, OPT_SHOW },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool ok = true;
	int c, idx = 0;

	while (ok && (c = getopt_long(argc, argv, "c:o:h", options, &idx)) != -1) {
		switch (c) {
		case 'c':
			p->config_path = optarg;
			break;
		case 'o':
			ok = add_pair(p, optarg);
			break;
		case OPT_KEY:
			ok = add_setting(p, options[idx].name, optarg);
			break;
		case OPT_NEW_IDENTITY:
			p->new_identity = true;
			break;
		case OPT_CHECK:
			p->check_only = true;
			break;
		case OPT_SHOW:
			p->show_only = true;
			p->show_origin = optarg;
			ok = !optarg || !strcmp(optarg, "origin");
			break;
		case OPT_VERSION:
			printf(NAME " " PW_VERSION "\n");
			return PW_EXIT_OK;
		case 'h':
			usage(stdout);
			return PW_EXIT_OK;
		default:
			ok = false;
			break;
		}
	}
	if (ok && optind == argc)
		return -1;
	usage(stderr);
	return PW_EXIT_USAGE;
}

/* -1: go on; else the exit code. */
static int load_file(struct program *p)
{
	bool is_default = !p->config_path;
	const char *path = is_default ? DEFAULT_CONFIG : p->config_path;
	char why[600];
	int err;

	if (p->check_only) {
		err = pw_config_check(&p->loaded, path, stderr);
		if (err < 0)
			print("%s: %s", path, pw_err_text(err));
		return err ? PW_EXIT_CONFIG : -1;
	}
	err = pw_config_load(&p->loaded, path, why, sizeof(why));
	if (!err || (err == -ENOENT && is_default))
		return -1;
	print("%s", why);
	return PW_EXIT_CONFIG;
}

/* -1: go on; else the exit code. */
static int configure(struct program *p)
{
	struct pws_refusal why;
	char text[600];
	int code;

	pw_config_init(&p->loaded, &pws_node_config_table, &p->config);
	code = load_file(p);
	if (code >= 0)
		return code;
	for (uint32_t i = 0; i < p->nr_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (pw_config_set(&p->loaded, "node", s->key, s->value, "command line", text,
				  sizeof(text))) {
			print("%s", text);
			return PW_EXIT_CONFIG;
		}
	}
	if (p->show_only) {
		pw_config_show(&p->loaded, stdout, p->show_origin);
		return PW_EXIT_OK;
	}
	if (pws_node_config_finish(&p->config, &why) || pws_node_config_load_key(&p->config, &why))
		return refused(&why);
	if (p->check_only) {
		print("the configuration is good");
		return PW_EXIT_OK;
	}
	p->config.new_identity = p->new_identity;
	if (!getenv("PW_LOG"))
		pw_log_set_level((enum pw_log_level)pws_log_level_of(p->config.log));
	return -1;
}

/* End --------------------------------------------------------------------------------------- */

static void on_signals_closed(struct pw_fd *f)
{
	struct program *p = pw_container_of(f, struct program, signals);

	pw_loop_stop(p->loop);
}

static void on_control_closed(void *arg)
{
	struct program *p = arg;

	pw_fd_stop(&p->signals, on_signals_closed);
}

static void on_data_stopped(void *arg, int err)
{
	struct program *p = arg;

	if (err) {
		print("the index could not be brought to media: %s", pw_err_text(err));
		p->exit_code = PW_EXIT_ERROR;
	}
	pws_control_stop(p->control, on_control_closed, p);
}

static void stop_data(void *arg)
{
	struct program *p = arg;

	pws_data_stop(&p->data, on_data_stopped, p);
}

static void stop(struct program *p)
{
	p->stop_wanted = true;
	if (!p->ready || p->stopping)
		return;
	p->stopping = true;
	pw_sd_notify("STOPPING=1");
	pw_log_info("node: stopping");
	pws_node_stop(p->node, STOP_DEADLINE_MS, stop_data);
}

/* Signals ----------------------------------------------------------------------------------- */

static void reload(struct program *p)
{
	struct pws_node_config fresh;
	struct pw_config c;
	char why[600];
	int err;

	pw_config_init(&c, &pws_node_config_table, &fresh);
	err = pw_config_load(&c, p->config_path ? p->config_path : DEFAULT_CONFIG, why,
			     sizeof(why));
	if (err) {
		pw_log_warn("config: not read again, %s", why);
		return;
	}
	pw_log_set_level((enum pw_log_level)pws_log_level_of(fresh.log));
	pw_log_info("config: log level read again; other keys need a restart");
}

static void on_signal(struct pw_fd *f)
{
	struct program *p = pw_container_of(f, struct program, signals);
	struct signalfd_siginfo si;

	while (read(p->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			stop(p);
		else if (si.ssi_signo == SIGHUP)
			reload(p);
		else if (si.ssi_signo == SIGUSR1)
			pw_sm_dump(STDERR_FILENO, 0);
	}
}

/* Before any thread is made: all of them inherit the mask. */
static int open_signals(struct program *p)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return p->signal_fd < 0 ? -errno : 0;
}

/* Start ------------------------------------------------------------------------------------- */

static void raise_limit(int resource)
{
	struct rlimit l;

	if (getrlimit(resource, &l))
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(resource, &l))
		pw_log_debug("limit %d: cannot be raised", resource);
}

static void on_bad_block(void *arg, uint64_t ino, uint64_t chunk, uint32_t block)
{
	struct program *p = arg;
	char path[4200];

	pws_meta_path(&p->node->meta, p->node->kv, ino, path, sizeof(path));
	pw_log_err("file %s: wrong bytes on media in chunk %llu, block %u: reads of it fail", path,
		   (unsigned long long)chunk, block);
}

static int start_error(const struct program *p, int err)
{
	const struct pws_listen_addr *a = &p->node->listen.addr[p->node->listen.failed];
	char addr[PWS_HOST_MAX + 8];

	snprintf(addr, sizeof(addr), "%s:%u", a->at.host, a->at.port);
	if (p->config.transport == PWS_TRANSPORT_RDMA && *a->no_rdma) {
		print("%s: transport = rdma, but %s", addr, a->no_rdma);
		return PW_EXIT_NO_RDMA;
	}
	switch (err) {
	case -EADDRINUSE:
		print("%s: the port is in use", addr);
		return PW_EXIT_PORT;
	case -ENOKEY:
		print("%s: beyond loopback a node needs a cluster key: set key_file", addr);
		return PW_EXIT_KEY;
	case -EACCES:
	case -EPERM:
		print("%s: not allowed to listen there", addr);
		return PW_EXIT_PERM;
	case -EADDRNOTAVAIL:
		print("%s: not an address of this machine", addr);
		return PW_EXIT_ERROR;
	case -EBADMSG:
		print("data directory %s: the index is damaged", p->config.dir);
		return PW_EXIT_DAMAGED;
	default:
		print("cannot start: %s", pw_err_text(err));
		return PW_EXIT_ERROR;
	}
}

static void announce(struct program *p)
{
	char fsid[37], addrs[PW_CONFIG_VALUE_MAX + 64];

	pw_uuid_text(p->data.sb.fsid, fsid);
	pws_listen_text(p->node, addrs, sizeof(addrs));
	print("listening on %s (store %s, durability %s, fsid %s)", addrs, p->data.sb.store,
	      p->config.store == PWS_STORE_CHUNK ? p->config.durability : "none", fsid);
	if (p->config.store != PWS_STORE_CHUNK)
		pw_log_warn("store %s: this node keeps nothing, everything is gone when it stops",
			    p->data.sb.store);
	pw_sd_notify("READY=1");
}

static void on_node_ready(void *arg, int err)
{
	struct program *p = arg;
	struct pws_refusal why;

	if (err) {
		p->exit_code = start_error(p, err);
	} else if (pws_data_formatted(&p->data, &why)) {
		p->exit_code = refused(&why);
		err = -EIO;
	}
	p->ready = true;
	if (err) {
		p->stopping = true;
		pws_node_stop(p->node, STOP_DEADLINE_MS, stop_data);
		return;
	}
	announce(p);
	p->data.store->ops->scrub(p->data.store, p->config.scrub);
	if (p->stop_wanted)
		stop(p);
}

static int make_node(struct program *p)
{
	const struct pws_node_config *c = &p->config;
	struct pws_node_opts o = {
		.kv = p->data.kv,
		.store = p->data.store,
		.bufs = p->data.bufs,
		.max_io = (uint32_t)c->max_io,
		.slots = c->slots,
		.max_clients = c->max_clients,
		.lease_ms = (uint32_t)(c->lease / PW_NS_PER_MS),
		.conn.heartbeat_ms = (uint32_t)(c->heartbeat / PW_NS_PER_MS),
		.conn.dead_ms = (uint32_t)(c->dead / PW_NS_PER_MS),
		.host = c->at[0].host,
		.port = c->at[0].port,
		.more = c->at + 1,
		.nr_more = c->nr_at - 1,
		.transports = c->transport,
		.id.have_key = c->have_key,
	};

	memcpy(o.id.fsid, p->data.sb.fsid, sizeof(o.id.fsid));
	memcpy(o.id.id, p->data.sb.node_id, sizeof(o.id.id));
	memcpy(o.id.key, c->key, sizeof(o.id.key));
	o.starts = p->data.starts;
	memcpy(o.sip_key, p->data.sb.sip_key, sizeof(o.sip_key));
	return pws_node_new(p->loop, &o, &p->node);
}

static int make_control(struct program *p)
{
	int err;

	p->source = (struct pws_status_source){
		.node = p->node,
		.data = &p->data,
		.config = &p->config,
		.started_ns = pw_loop_realtime(p->loop),
	};
	err = pws_control_new(p->loop, p->config.control, &p->source, &p->control);
	if (!err)
		return PW_EXIT_OK;
	print("control socket %s: %s", p->config.control, pw_err_text(err));
	return err == -EACCES ? PW_EXIT_PERM : PW_EXIT_ERROR;
}

static int make_loop(struct program *p)
{
	const struct pw_loop_opts o = {
		.sq_entries = 512,
		.max_ios = 4096,
		.poll_us = p->config.poll_us,
	};
	int err = pw_loop_new(&p->loop, &o);

	if (err == -ENOSYS || err == -EPERM) {
		print("io_uring is not available here (%s): see kernel.io_uring_disabled, or the "
		      "container's seccomp profile",
		      pw_err_text(err));
		return PW_EXIT_NO_URING;
	}
	if (err) {
		print("cannot make the event loop: %s", pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	return PW_EXIT_OK;
}

static int run(struct program *p)
{
	struct pws_refusal why;
	int err;

	if (pws_data_open(&p->data, p->loop, &p->config, &why))
		return refused(&why);
	p->data.on_bad_block = on_bad_block;
	p->data.bad_arg = p;
	err = make_node(p);
	if (err) {
		print("cannot make the node: %s", pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	err = make_control(p);
	if (err)
		return err;
	err = pw_fd_start(p->loop, &p->signals, p->signal_fd, on_signal);
	if (err) {
		print("cannot watch for signals: %s", pw_err_text(err));
		return PW_EXIT_ERROR;
	}
	pws_node_start(p->node, on_node_ready, p);
	err = pw_loop_run(p->loop);
	if (err) {
		/* The ring is gone: nothing of what is under way can be ended. */
		print("the event loop failed: %s", pw_err_text(err));
		_exit(PW_EXIT_ERROR);
	}
	return p->exit_code;
}

int main(int argc, char **argv)
{
	static struct program p = { .data.lock_fd = -1, .data.identity_fd = -1 };
	int code = parse_args(&p, argc, argv);

	if (code >= 0)
		return code;
	pw_log_init(NAME);
	code = configure(&p);
	if (code >= 0)
		return code;
	pw_sm_dump_on_abort();
	raise_limit(RLIMIT_NOFILE);
	raise_limit(RLIMIT_MEMLOCK);
	if (open_signals(&p)) {
		print("cannot watch for signals");
		return PW_EXIT_ERROR;
	}
	code = make_loop(&p);
	if (code)
		return code;
	code = run(&p);
	pws_node_free(p.node);
	pws_control_free(p.control);
	pws_data_close(&p.data);
	pw_loop_free(p.loop);
	close(p.signal_fd);
	return code;
}
