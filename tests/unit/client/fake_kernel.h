/* SPDX-License-Identifier: Apache-2.0 */
/* fake_kernel.h -- the kernel's side of /dev/fuse over a socket, and a shard on a thread
 *
 * The test is the kernel: it sends requests and reads answers and notifications, one packet each.
 * fuse_mount.c is replaced at link time: mounting makes the socket pair, unmounting closes it.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include "client_fs/shard.h"

struct kernel_answer {
	int32_t error;
	uint64_t unique;
	uint32_t len; /* bytes in data */
	uint8_t data[(1 << 20) + 4096] __attribute__((aligned(16)));
};

struct kernel {
	int fd; /* the test's end; -1: not mounted */
	struct pwc_options o;
	struct pwc_shard *sh;
	pthread_t thread;
	int exit_code;
	char why[256];
	uint64_t unique; /* of the newest request */
	struct fuse_init_out init;
	struct kernel_answer answer; /* of the newest receive */
};

extern struct kernel kernel;

/* Starts a shard with the options of the list and sees it through INIT. */
void kernel_start(const char *option_list);
/* The same for a start that may fail; then the thread ends by itself: kernel_join(). */
bool kernel_try_start(const char *option_list);
/* Like umount; waits for the thread. */
void kernel_stop(void);
/* Waits for the thread, which must end by itself. */
void kernel_join(void);

/* One request; @parts are put behind the header. Return: its unique. */
uint64_t kernel_send(uint32_t opcode, uint64_t nodeid, const void *op_in, size_t op_in_len,
		     const void *payload, size_t payload_len);
/* The next packet into kernel.answer; fails the test after some seconds. */
void kernel_receive(void);
/* Both: send, then the answer to it. Return: answer.error. */
int kernel_call(uint32_t opcode, uint64_t nodeid, const void *op_in, size_t op_in_len,
		const void *payload, size_t payload_len);
/* Nothing has been answered; asks the shard something to be sure that it had its chance. */
void kernel_expect_silence(void);
/* Raw bytes, as no kernel sends them. */
void kernel_send_raw(const void *buf, size_t len);

#endif
