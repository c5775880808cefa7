/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.c -- opens libibverbs and librdmacm and looks up their functions
 *
 * What can fail: a library is not installed, or too old for a function that we use. Both are found
 * before the first connection and reported as "why not RDMA"; TCP does not need any of it.
 */
#include "common/verbs.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "common/fault.h"

#define LIB_VERBS "libibverbs.so.1"
#define LIB_CM "librdmacm.so.1"

struct symbol {
	const char *name;
	size_t at; /* in struct pw_verbs */
	bool optional;
};

#define IBV(n) { "ibv_" #n, offsetof(struct pw_verbs, n), false }
#define IBV_OPTIONAL(n) { "ibv_" #n, offsetof(struct pw_verbs, n), true }
#define CM(n) { "rdma_" #n, offsetof(struct pw_verbs, cm_##n), false }

static const struct symbol verbs_symbols[] = {
	IBV(get_device_list),
	IBV(free_device_list),
	IBV(get_device_name),
	IBV(query_device),
	IBV(query_port),
	IBV(query_gid),
	IBV(get_async_event),
	IBV(ack_async_event),
	IBV(alloc_pd),
	IBV(dealloc_pd),
	IBV(reg_mr),
	IBV(dereg_mr),
	IBV_OPTIONAL(reg_dmabuf_mr),
	IBV(create_comp_channel),
	IBV(destroy_comp_channel),
	IBV(create_cq),
	IBV(destroy_cq),
	IBV(get_cq_event),
	IBV(ack_cq_events),
	IBV(create_srq),
	IBV(destroy_srq),
	IBV(modify_srq),
	IBV(modify_qp),
	IBV(query_qp),
	IBV(wc_status_str),
};

static const struct symbol cm_symbols[] = {
	CM(create_event_channel),
	CM(destroy_event_channel),
	CM(create_id),
	CM(destroy_id),
	CM(migrate_id),
	CM(set_option),
	CM(bind_addr),
	CM(resolve_addr),
	CM(resolve_route),
	CM(create_qp),
	CM(destroy_qp),
	CM(connect),
	CM(listen),
	CM(accept),
	CM(reject),
	CM(disconnect),
	CM(get_cm_event),
	CM(ack_cm_event),
	CM(event_str),
	CM(get_src_port),
	CM(get_devices),
	CM(free_devices),
};

static_assert(sizeof(struct pw_verbs) ==
	      (PW_ARRAY_SIZE(verbs_symbols) + PW_ARRAY_SIZE(cm_symbols)) * sizeof(void (*)(void)),
	      "every entry point is looked up");

static struct pw_verbs table; /* written once, before the first pw_verbs_get() returns */
static int load_err;
static char why[192];

static int look_up(void *lib, const char *lib_name, const struct symbol *s, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		void *fn = dlsym(lib, s[i].name);

		if (!fn && !s[i].optional) {
			snprintf(why, sizeof(why), "%s is too old, it has no %s", lib_name,
				 s[i].name);
			return -ENOSYS;
		}
		*(void **)(void *)((char *)&table + s[i].at) = fn;
	}
	return 0;
}

static int load(const char *lib_name, const char *package, const struct symbol *s, size_t nr)
{
	void *lib = PW_FAULT("verbs.load") ? NULL : dlopen(lib_name, RTLD_NOW | RTLD_LOCAL);

	if (!lib) {
		snprintf(why, sizeof(why), "%s is not installed (Debian: apt install %s)",
			 lib_name, package);
		return -ENOSYS;
	}
	return look_up(lib, lib_name, s, nr);
}

static void load_once(void)
{
	load_err = load(LIB_VERBS, "ibverbs-providers", verbs_symbols,
			PW_ARRAY_SIZE(verbs_symbols));
	if (!load_err)
		load_err = load(LIB_CM, "librdmacm1", cm_symbols, PW_ARRAY_SIZE(cm_symbols));
}

int pw_verbs_get(const struct pw_verbs **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_once);
	if (!load_err)
		*ret = &table;
	return load_err;
}

const char *pw_verbs_why(void)
{
	return why;
}
