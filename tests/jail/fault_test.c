/*
 * Whatever step and whatever call of sandboxd, of its builders and removers or of a jail's first
 * process fails: a creation says which step it was and leaves nothing behind, a removal can be
 * asked for again, and sandboxd serves on. Each in turn fails once, until there is none left to
 * fail.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/jail/faults.h"

static struct faults_belongings before;

static struct sd_reply create(struct jail_daemon *daemon, struct jail_box *box)
{
    struct sd_request request;
    int fds[SD_FD_COUNT];
    jail_fill_create(daemon, &request);
    struct sd_reply reply = jail_ask(daemon, &request, fds);
    *box = (struct jail_box){.control = fds[SD_FD_CONTROL], .pidfd = fds[SD_FD_PIDFD]};
    memcpy(box->id, request.sandbox, SD_ID_SIZE);
    return reply;
}

/* It has the first range of ids: whoever had it before has given it back. */
static void assert_first_slot(const struct jail_daemon *daemon, const char *id)
{
    char path[256];
    unsigned int slot = 0;
    (void)snprintf(path, sizeof(path), "%s/run/inventory/%.30s", daemon->dir, id);
    FILE *note = fopen(path, "re");
    assert_non_null(note);
    assert_int_equal(fscanf(note, "%u ", &slot), 1);
    assert_int_equal(slot, 0);
    (void)fclose(note);
}

static void create_and_kill_well(struct jail_daemon *daemon)
{
    struct jail_box box;
    faults_choose(0, 0, 0);
    assert_int_equal(create(daemon, &box).error, 0);
    assert_first_slot(daemon, box.id);
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    faults_assert_nothing_of(daemon, box.id, &before);
}

static void each_step_that_fails_is_named(void **state)
{
    struct jail_daemon *daemon = *state;
    struct faults_step steps[FAULTS_STEPS];
    struct jail_box box;
    create_and_kill_well(daemon);
    uint32_t count = faults->taken_count;
    assert_true(count >= 20 && count < FAULTS_STEPS);
    memcpy(steps, faults->taken, sizeof(steps));
    for (uint32_t i = 0; i < count; i++) {
        faults_choose(0, 0, 0);
        faults->step = steps[i];
        struct sd_reply reply = create(daemon, &box);
        if (reply.error != -FAULTS_STEP_ERROR) {
            fail_msg("%s was told to fail, and %s did, with %d: %s", steps[i].name, reply.step,
                     reply.error, reply.detail);
        }
        assert_string_equal(reply.step, steps[i].name);
        assert_string_equal(reply.detail, "told to fail");
        faults_assert_nothing_of(daemon, box.id, &before);
    }
    create_and_kill_well(daemon);
}

/* Returns whether there was a call left to fail. */
static bool fail_a_creation(struct jail_daemon *daemon, unsigned int *failures)
{
    struct jail_box box;
    struct sd_reply reply = create(daemon, &box);
    bool failed = faults_failed();
    if (reply.error < 0) {
        *failures += 1;
        faults_assert_said(&reply);
    } else {
        /* Some failures are of no consequence. */
        faults_choose(0, 0, 0);
        assert_first_slot(daemon, box.id);
        assert_int_equal(jail_kill(daemon, &box).error, 0);
    }
    faults_assert_nothing_of(daemon, box.id, &before);
    return failed;
}

static void a_builder_that_fails_says_where_and_leaves_nothing(void **state)
{
    unsigned int failures = 0;
    uint32_t n = 0;
    do {
        assert_true(++n < FAULTS_MANY);
        faults_choose(0, n, 0);
    } while (fail_a_creation(*state, &failures));
    print_message("%u of %u calls of a builder are of consequence\n", failures, n - 1);
    assert_true(failures > 100);
}

static void a_jail_that_fails_says_where_and_leaves_nothing(void **state)
{
    unsigned int failures = 0;
    uint32_t n = 0;
    do {
        assert_true(++n < FAULTS_MANY);
        faults_choose(0, 0, n);
    } while (fail_a_creation(*state, &failures));
    print_message("%u of %u calls in a jail are of consequence\n", failures, n - 1);
    assert_true(failures > 50);
}

static void a_removal_that_fails_can_be_repeated(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    unsigned int failures = 0;
    bool more = true;
    for (uint32_t n = 1; more && n < FAULTS_MANY; n++) {
        faults_choose(0, 0, 0);
        assert_int_equal(create(daemon, &box).error, 0);
        faults_choose(0, n, 0);
        struct sd_reply reply = jail_kill(daemon, &box);
        more = faults_failed();
        if (reply.error < 0) {
            failures++;
            faults_assert_said(&reply);
            assert_int_equal(faults_state_of(daemon, box.id), SD_STATE_DEAD);
            struct sd_request again = jail_request(daemon, SD_KILL, box.id);
            assert_int_equal(jail_ask(daemon, &again, NULL).error, 0);
        }
        faults_assert_nothing_of(daemon, box.id, &before);
    }
    assert_false(more);
    assert_true(failures > 3);
}

static void reconnect(struct jail_daemon *daemon)
{
    close(daemon->socket);
    daemon->socket = jail_connect(daemon);
    struct sd_request hello = jail_request(daemon, SD_HELLO, NULL);
    assert_int_equal(jail_ask(daemon, &hello, NULL).error, 0);
}

/* False: it closed the connection, as when it can neither read nor answer. */
static bool ask(struct jail_daemon *daemon, const struct sd_request *request,
                struct sd_reply *ret_reply)
{
    int fds[SD_FD_COUNT];
    jail_send(daemon->socket, request);
    struct pollfd wait = {.fd = daemon->socket, .events = POLLIN};
    if (poll(&wait, 1, 5000) != 1) {
        fail_msg("no answer to request %u after %s failed", request->op, faults->failed);
    }
    if (!jail_receive(daemon->socket, ret_reply, fds)) {
        return false;
    }
    for (size_t i = 0; i < SD_FD_COUNT; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (ret_reply->error != 0) {
        faults_assert_said(ret_reply);
    }
    return true;
}

static void kill_surely(struct jail_daemon *daemon, const char *id)
{
    struct sd_reply reply;
    do {
        struct sd_request request = jail_request(daemon, SD_KILL, id);
        reply = jail_ask(daemon, &request, NULL);
    } while (reply.error == -EBUSY || reply.error == -EALREADY);
    assert_true(reply.error == 0 || reply.error == -ENOENT);
}

/* A note whose own removal failed lies there until the next start. */
static void remove_notes(const struct jail_daemon *daemon, const char *id)
{
    static const char *const DIRS[] = {"inventory", "control"};
    for (size_t i = 0; i < 2; i++) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/run/%s/%.30s", daemon->dir, DIRS[i], id);
        (void)unlink(path);
    }
}

/* A life of one: everything but the wait for its end. */
static bool live(struct jail_daemon *daemon, const char *id, struct sd_request *create_it)
{
    static const uint32_t OPS[] = {SD_STATS, SD_FREEZE, SD_INVENTORY, SD_THAW, SD_ADOPT, SD_KILL};
    struct sd_reply reply;
    bool connected = ask(daemon, create_it, &reply);
    if (connected && reply.error < 0) {
        return true;
    }
    for (size_t i = 0; connected && i < sizeof(OPS) / sizeof(OPS[0]); i++) {
        struct sd_request request =
            jail_request(daemon, OPS[i], OPS[i] == SD_INVENTORY ? NULL : id);
        connected = ask(daemon, &request, &reply);
        while (connected && OPS[i] == SD_INVENTORY && reply.sandbox[0] != '\0') {
            int fds[SD_FD_COUNT];
            connected = jail_receive(daemon->socket, &reply, fds);
        }
    }
    return connected;
}

static void sandboxd_serves_on_whatever_fails_in_it(void **state)
{
    struct jail_daemon *daemon = *state;
    bool more = true;
    for (uint32_t n = 1; more && n < FAULTS_MANY; n++) {
        struct sd_request request;
        jail_fill_create(daemon, &request);
        faults_choose(n, 0, 0);
        bool connected = live(daemon, request.sandbox, &request);
        bool note_failed = strcmp(faults->failed, "unlinkat") == 0;
        more = faults_failed();
        faults->own = 0;
        if (!connected) {
            reconnect(daemon);
        }
        kill_surely(daemon, request.sandbox);
        if (note_failed) {
            remove_notes(daemon, request.sandbox);
        }
        faults_assert_nothing_of(daemon, request.sandbox, &before);
    }
    assert_false(more);
    struct jail_box box;
    static struct jail_run run;
    jail_create(daemon, &box);
    jail_shell(&box, "echo well", &run);
    assert_string_equal(run.out, "well\n");
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

/* Its end is seen, although a builder with a copy of everything has not ended. */
static void a_connection_ends_at_once(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    struct sd_reply reply;
    int none[SD_FD_COUNT];
    char end;
    faults_choose(0, 0, 0);
    int other = jail_connect(daemon);
    struct sd_request hello = jail_request(daemon, SD_HELLO, NULL);
    jail_send(other, &hello);
    assert_true(jail_receive(other, &reply, none));
    faults->hold = true;
    assert_int_equal(create(daemon, &box).error, 0);
    assert_int_equal(send(other, "?", 1, 0), 1);
    struct pollfd wait = {.fd = other, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 5000), 1);
    assert_int_equal(recv(other, &end, 1, 0), 0);
    close(other);
    faults->hold = false;
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    faults_assert_nothing_of(daemon, box.id, &before);
}

/* What is of consequence only with one errno, or is none at all. */
static void some_errors_are_no_failures(void **state)
{
    static const struct {
        const char *only;
        int error;
    } CASES[] = {
        {"rmdir", EBUSY},   /* an exited task leaves its group a moment later */
        {"pread", ENODEV},  /* the group is gone while its events are read … */
        {"open", ENOENT},   /* … or before that */
        {"opendir", ENOENT} /* … or before its children are looked for */
    };
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        faults_choose(0, 0, 0);
        assert_int_equal(create(daemon, &box).error, 0);
        faults_choose(0, 1, 0);
        faults->error = CASES[i].error;
        (void)snprintf(faults->only, sizeof(faults->only), "%s", CASES[i].only);
        struct sd_reply reply = jail_kill(daemon, &box);
        if (reply.error < 0) {
            fail_msg("%s: %s: %s", CASES[i].only, reply.step, reply.detail);
        }
        assert_true(faults_failed());
        faults_assert_nothing_of(daemon, box.id, &before);
    }
}

/* By closing it, or after all. */
static bool is_served(struct jail_daemon *daemon, const char *call, int error)
{
    struct sd_request hello = jail_request(daemon, SD_HELLO, NULL);
    struct sd_reply reply;
    /* The number comes last: sandboxd may be busy with the client before, whose calls are counted.
     */
    faults_choose(0, 0, 0);
    faults->error = error;
    (void)snprintf(faults->only, sizeof(faults->only), "%s", call);
    faults->own = 1;
    int other = jail_connect(daemon);
    (void)send(other, &hello, sizeof(hello), MSG_NOSIGNAL);
    struct pollfd wait = {.fd = other, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 5000), 1);
    bool served = recv(other, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply);
    close(other);
    return served;
}

static void a_client_that_cannot_be_served_may_come_again(void **state)
{
    struct jail_daemon *daemon = *state;
    assert_true(is_served(daemon, "accept4", EMFILE));
    assert_true(faults_failed());
    assert_false(is_served(daemon, "getsockopt", EIO));
    assert_false(is_served(daemon, "epoll_ctl", ENOSPC));
    assert_false(is_served(daemon, "recvmsg", EIO));
    assert_true(is_served(daemon, "recvmsg", EINTR));
    assert_true(is_served(daemon, "recvmsg", EAGAIN));
    assert_false(is_served(daemon, "sendmsg", EAGAIN));
    assert_true(is_served(daemon, "sendmsg", EINTR));
    assert_true(is_served(daemon, "none", EIO));
    faults_choose(0, 0, 0);
    faults_assert_nothing_of(daemon, "sbx_none", &before);
}

static int start(void **state)
{
    struct jail_box box;
    if (faults_start(state) < 0) {
        return -1;
    }
    /* The first one mounts its template, which stays. */
    faults_choose(0, 0, 0);
    jail_create(*state, &box);
    int error = jail_kill(*state, &box).error;
    before = faults_belongings(*state);
    return error;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_that_fails_is_named),
        cmocka_unit_test(a_builder_that_fails_says_where_and_leaves_nothing),
        cmocka_unit_test(a_jail_that_fails_says_where_and_leaves_nothing),
        cmocka_unit_test(a_removal_that_fails_can_be_repeated),
        cmocka_unit_test(sandboxd_serves_on_whatever_fails_in_it),
        cmocka_unit_test(a_connection_ends_at_once),
        cmocka_unit_test(some_errors_are_no_failures),
        cmocka_unit_test(a_client_that_cannot_be_served_may_come_again),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, start, faults_stop) : fixture_skip();
}
