/* SPDX-License-Identifier: Apache-2.0 */
/* shard_stop.h -- the way down of a mount: signals, umount, the last users, what is still in flight
 *
 *	SIGTERM, SIGINT, `pagewire umount`: umount(8) as a child, which may ask us things meanwhile
 *	-> busy: detached lazily, the last users have some seconds -> the connection is cut
 *	the mount is gone (by whomever): GOODBYE to the node, ring and /dev/fuse drain, the end
 *
 * Thread: the loop's own.
 */
#ifndef PWC_SHARD_STOP_H
#define PWC_SHARD_STOP_H

struct pwc_shard;

void pwc_stop_init(struct pwc_shard *sh);
/* SIGTERM and SIGINT end the mount, SIGCHLD tells of umount; all are blocked and read by the
 * loop. */
int pwc_stop_watch_signals(struct pwc_shard *sh);
/* The mount is gone, or never came to be. */
void pwc_shard_begin_stop(struct pwc_shard *sh);
/* Something ended: is that all? */
void pwc_shard_check_stopped(struct pwc_shard *sh);

#endif
