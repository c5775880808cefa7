/* SPDX-License-Identifier: Apache-2.0 */
/* say.c -- see say.h */
#include "libpagewire/alloc/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "libpagewire/alloc/owned_fd.h"

static struct pw_owned_fd err = { .fd = -1 };

void pw_say_start(void)
{
	pw_own_fd(&err, dup(STDERR_FILENO));
}

void pw_say(const char *format, ...)
{
	char text[400];
	va_list args;
	int n;

	if (!pw_owned_fd_is_ours(&err))
		return;
	n = snprintf(text, sizeof(text), "pagewire-alloc: process %d: ", (int)getpid());
	va_start(args, format);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (write(err.fd, text, (size_t)n) < 0)
		return; /* nobody listens any more */
}
