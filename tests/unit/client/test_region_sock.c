/* SPDX-License-Identifier: Apache-2.0 */
/* test_region_sock.c -- applications that ask without end, and that die in the middle
 *
 * The real socket, loop and table; the kernel's table is played here. The socket's name is not in
 * /run: see pwc_control_region_path() below.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_fs/control.h"
#include "client_fs/region_sock.h"
#include "client_fs/shard.h"
#include "common/region_wire.h"

#define LEN (4u * 4096)
/* of one application, or connections */
#define MOST_IN_A_TURN 8u

static struct pwc_shard *sh;
static struct pwc_options opts = { .allow_other = true };
static struct pwc_region_sock *sock;
static char path[108];
static struct pwc_region *asked; /* the kernel's answer is awaited */
static uint32_t nr_unregs;

void pwc_control_region_path(const char *dir, char *ret, size_t len)
{
	(void)dir;
	snprintf(ret, len, "%s", path);
}

int pwc_control_listen(const struct sockaddr_un *addr, int type, unsigned int mode, int backlog)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)mode;
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)addr, sizeof(*addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int on_reg(void *owner, struct pwc_region *r)
{
	(void)owner;
	asked = r;
	return 0;
}

static int on_unreg(void *owner, struct pwc_region *r)
{
	(void)owner;
	asked = r;
	nr_unregs++;
	return 0;
}

static const struct pwc_region_kernel table = { on_reg, on_unreg, NULL };

/* ---- turn by turn ---- */

static struct pw_ready watcher;
static bool (*watched)(void);
static uint32_t nr_turns;

static void watch(struct pw_ready *r)
{
	nr_turns++;
	if (watched())
		pw_loop_stop(sh->loop);
	else
		pw_loop_ready(sh->loop, r);
}

static void run_until(bool (*cond)(void))
{
	watched = cond;
	nr_turns = 0;
	pw_loop_ready(sh->loop, &watcher);
	alarm(20);
	assert_int_equal(pw_loop_run(sh->loop), 0);
	alarm(0);
}

static int set_up(void **state)
{
	const struct pw_loop_opts o = { .sq_entries = 64, .max_ios = 128 };

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_region_sock.%d", getpid());
	unlink(path);
	sh = calloc(1, sizeof(*sh));
	assert_non_null(sh);
	sh->o = &opts;
	assert_int_equal(pw_loop_new(&sh->loop, &o), 0);
	pw_ready_init(&watcher, watch);
	pwc_regions_init(&sh->regions, sh->loop, NULL);
	assert_int_equal(pwc_region_sock_new(&sock, sh), 0);
	assert_non_null(sock);
	asked = NULL;
	nr_unregs = 0;
	return 0;
}

static bool is_stopped(void)
{
	return pwc_region_sock_is_stopped(sock);
}

static int tear_down(void **state)
{
	(void)state;
	pwc_region_sock_stop(sock);
	run_until(is_stopped);
	pwc_region_sock_free(sock);
	pwc_regions_end_all(&sh->regions);
	pwc_regions_fini(&sh->regions);
	pw_loop_free(sh->loop);
	free(sh);
	return 0;
}

/* ---- an application ---- */

static int app_fd;

static int dial(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	close(fd);
	return -1;
}

static bool ask(int fd, const struct pw_region_msg *m)
{
	return send(fd, m, sizeof(*m), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*m);
}

static void ask_to_add(int fd)
{
	struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_ADD, .len = LEN };
	int mem = memfd_create("app", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };

	assert_int_equal(ftruncate(mem, LEN), 0);
	assert_int_equal(fallocate(mem, 0, 0, LEN), 0);
	assert_int_equal(fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	*CMSG_FIRSTHDR(&h) = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &mem, sizeof(mem));
	assert_int_equal(sendmsg(fd, &h, MSG_NOSIGNAL), sizeof(m));
	close(mem);
}

static uint32_t wanted, got, most;

/* Return: how many are there. */
static uint32_t take_answers(void)
{
	struct pw_region_answer a;
	uint32_t n = 0;

	while (recv(app_fd, &a, sizeof(a), MSG_DONTWAIT) == sizeof(a))
		n++;
	return n;
}

static bool all_answered(void)
{
	uint32_t n = take_answers();

	got += n;
	most = PW_MAX(most, n);
	return got == wanted;
}

static void test_questions__without_end_keep_nobody_waiting(void **state)
{
	const struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_END,
					 .id = 7 };

	(void)state;
	app_fd = dial();
	wanted = got = most = 0;
	while (wanted < 200 && ask(app_fd, &m))
		wanted++;
	assert_true(wanted > 5 * MOST_IN_A_TURN);
	run_until(all_answered);
	assert_in_range(most, 1, MOST_IN_A_TURN);
	assert_true(nr_turns >= wanted / MOST_IN_A_TURN);
	close(app_fd);
}

static uint32_t nr_fds(void)
{
	uint32_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static uint32_t nr_before, nr_last, nr_dialed;

static bool all_accepted(void)
{
	uint32_t n = nr_fds() - nr_before;

	most = PW_MAX(most, n - nr_last);
	nr_last = n;
	return n == nr_dialed;
}

static void test_connections__without_end_keep_nobody_waiting(void **state)
{
	int fd[64] = { 0 };

	(void)state;
	for (nr_dialed = 0; nr_dialed < PW_ARRAY_SIZE(fd); nr_dialed++) {
		fd[nr_dialed] = dial();
		if (fd[nr_dialed] < 0)
			break;
	}
	assert_true(nr_dialed > 3 * MOST_IN_A_TURN);
	nr_before = nr_fds();
	nr_last = most = 0;
	run_until(all_accepted);
	assert_in_range(most, 1, MOST_IN_A_TURN);
	for (uint32_t i = 0; i < nr_dialed; i++)
		close(fd[i]);
}

static bool is_asked(void)
{
	return asked;
}

static bool some_turns(void)
{
	return nr_turns == 20;
}

static bool is_unreg_asked(void)
{
	return nr_unregs;
}

/* Its region goes when the kernel has let go, and nobody is told about it. */
static void test_death__while_the_kernel_is_asked(void **state)
{
	struct pwc_region *r = &sh->regions.region[0];

	(void)state;
	sh->regions.kernel = &table;
	app_fd = dial();
	ask_to_add(app_fd);
	run_until(is_asked);
	assert_int_equal(r->sm.state, PWC_REGION_ADDING);
	close(app_fd);
	/* what the kernel pins cannot be called off: its answer is the next that happens */
	run_until(some_turns);
	assert_int_equal(r->sm.state, PWC_REGION_ADDING);
	pwc_region_on_kernel(r, 0);
	assert_int_equal(r->sm.state, PWC_REGION_ENDING);
	assert_null(r->owner);
	run_until(is_unreg_asked);
	pwc_region_on_kernel(r, 0); /* a request has it still */
	nr_unregs = 0;
	run_until(is_unreg_asked);
	pwc_region_on_kernel(r, -ENOENT);
	assert_int_equal(sh->regions.nr, 0);
}

/* What was asked meanwhile is answered afterwards, in order. */
static void test_questions__wait_for_the_kernel(void **state)
{
	const struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_END,
					 .id = 7 };

	(void)state;
	sh->regions.kernel = &table;
	app_fd = dial();
	ask_to_add(app_fd);
	for (uint32_t i = 0; i < 20; i++)
		assert_true(ask(app_fd, &m));
	run_until(is_asked);
	assert_int_equal(take_answers(), 0);
	pwc_region_on_kernel(asked, 0);
	wanted = 21;
	got = most = 0;
	run_until(all_answered);
	close(app_fd);
	run_until(is_unreg_asked);
	pwc_region_on_kernel(asked, -ENOENT);
}

/* Whoever does not read his answers has no use for them. */
static bool is_cut_off(void)
{
	const struct pw_region_msg m = { .version = PW_REGION_VERSION, .op = PW_REGION_END,
					 .id = 7 };

	return !ask(app_fd, &m) && errno == EPIPE;
}

static void test_answers__not_read_end_the_connection(void **state)
{
	(void)state;
	app_fd = dial();
	run_until(is_cut_off);
	close(app_fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_questions__without_end_keep_nobody_waiting),
		TEST(test_connections__without_end_keep_nobody_waiting),
		TEST(test_death__while_the_kernel_is_asked),
		TEST(test_questions__wait_for_the_kernel),
		TEST(test_answers__not_read_end_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
