/* SPDX-License-Identifier: Apache-2.0 */
/* tcp_rig.c -- see tcp_rig.h */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tcp_rig.h"

size_t put_message(uint8_t *to, const struct pw_cmd *cmd)
{
	memcpy(to, cmd, sizeof(*cmd));
	fill(to + sizeof(*cmd), cmd->seq, cmd->payload_len);
	return sizeof(*cmd) + cmd->payload_len;
}

static bool client_connected(void)
{
	return client.connected || client.closed;
}

int rig_connect_raw(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd, lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(lfd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(lfd, 1), 0);
	assert_int_equal(getsockname(lfd, (struct sockaddr *)&sa, &len), 0);
	rig_client_connect("127.0.0.1", ntohs(sa.sin_port));
	run_until(client_connected);
	fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(lfd);
	return fd;
}

void raw_send(int fd, const void *buf, size_t len)
{
	assert_int_equal(send(fd, buf, len, MSG_NOSIGNAL), len);
}
