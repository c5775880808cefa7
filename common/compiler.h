/* SPDX-License-Identifier: Apache-2.0 */
/* compiler.h -- attributes and tiny macros that every file may use */
#ifndef PW_COMPILER_H
#define PW_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PW_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define pw_likely(x) __builtin_expect(!!(x), 1)
#define pw_unlikely(x) __builtin_expect(!!(x), 0)
#define PW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PW_WARN_UNUSED __attribute__((warn_unused_result))
#define PW_UNUSED __attribute__((unused))

/* by way of void *: the object is aligned, which a char * cannot tell the compiler */
#define pw_container_of(ptr, type, member)                                                         \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define PW_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PW_MAX(a, b) ((a) > (b) ? (a) : (b))
#define PW_ROUND_UP(x, to) (((x) + (to)-1) / (to) * (to))
#define PW_ROUND_DOWN(x, to) ((x) / (to) * (to))

/* In a loop that waits for memory to change. */
static inline void pw_cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#define PW_KIB 1024ull
#define PW_MIB (1024 * PW_KIB)
#define PW_GIB (1024 * PW_MIB)
#define PW_NS_PER_US 1000ull
#define PW_NS_PER_MS 1000000ull
#define PW_NS_PER_S 1000000000ull

#endif
