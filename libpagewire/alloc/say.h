/* SPDX-License-Identifier: Apache-2.0 */
/* say.h -- what libpagewire-alloc.so says on stderr, when it is asked to
 *
 * Thread: any, one at a time.      Allocates: nothing.
 */
#ifndef LIBPAGEWIRE_SAY_H
#define LIBPAGEWIRE_SAY_H

/**
 * pw_say_start - from now on it says something; on the stderr of now: programs close theirs
 */
void pw_say_start(void);

/**
 * pw_say - one line, when asked
 */
__attribute__((format(printf, 1, 2))) void pw_say(const char *format, ...);

#endif
