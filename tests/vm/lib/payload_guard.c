/* SPDX-License-Identifier: Apache-2.0 */
/* payload_guard.c -- preloaded into a client: after SIGUSR2, nobody gets at its payload buffers
 *
 * The file that PW_GUARD names then says where in the arena the payloads begin, how many bytes one
 * has, and how many there are. Each loses all access but to its first page (headers of small
 * requests live there); the next SIGUSR2 gives it back. What devices have pinned before stays
 * pinned: only the CPU's ways are closed, those of the kernel on behalf of this process included.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES 4096ul

static const char *guard;
static int closed;

static int read_line_of(const char *file, const char *word, char *line, int bytes)
{
	FILE *f = fopen(file, "re");
	int found = 0;

	while (f && !found && fgets(line, bytes, f))
		found = !word || strstr(line, word);
	if (f)
		fclose(f);
	return found;
}

/* stdio is not for handlers by the book; this client is idle when the signal comes. */
static void on_signal(int sig)
{
	int prot = closed ? PROT_READ | PROT_WRITE : PROT_NONE;
	unsigned long arena, off, one, nr;
	char line[512];

	(void)sig;
	if (!read_line_of("/proc/self/maps", "memfd:pagewire-arena", line, sizeof(line)) ||
	    sscanf(line, "%lx-", &arena) != 1)
		_exit(99);
	if (!read_line_of(guard, NULL, line, sizeof(line)) ||
	    sscanf(line, "%lu %lu %lu", &off, &one, &nr) != 3 || one <= PAGE_BYTES)
		_exit(98);
	for (unsigned long p = arena + off; nr--; p += one)
		if (mprotect((void *)(p + PAGE_BYTES), one - PAGE_BYTES, prot))
			_exit(97);
	closed = !closed;
	dprintf(STDERR_FILENO, "payloads are %s\n", closed ? "closed" : "open");
}

__attribute__((constructor)) static void begin(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	guard = getenv("PW_GUARD");
	if (guard)
		sigaction(SIGUSR2, &sa, NULL);
}
