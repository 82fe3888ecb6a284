/* The bounds of sandboxd's own policy: how many there are, how many at a time, and for how long. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/jail/faults.h"

#define DEADLINE_MS 1000

static struct jail_daemon daemon_;

static void close_fds(int fds[SD_FD_COUNT])
{
    for (size_t i = 0; i < SD_FD_COUNT; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* Without waiting for the answer. */
static void ask_for_one(char ret_id[SD_ID_SIZE])
{
    struct sd_request request;
    jail_fill_create(&daemon_, &request);
    memcpy(ret_id, request.sandbox, SD_ID_SIZE);
    jail_send(daemon_.socket, &request);
}

static struct sd_reply next_reply(void)
{
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    assert_true(jail_receive(daemon_.socket, &reply, fds));
    close_fds(fds);
    return reply;
}

static struct sd_reply create(char ret_id[SD_ID_SIZE])
{
    ask_for_one(ret_id);
    return next_reply();
}

static void kill_one(const char *id)
{
    struct sd_request request = jail_request(&daemon_, SD_KILL, id);
    assert_int_equal(jail_ask(&daemon_, &request, NULL).error, 0);
}

static void there_are_no_more_than_it_allows(void **state)
{
    char ids[3][SD_ID_SIZE];
    (void)state;
    faults_choose(0, 0, 0);
    faults->max_sandboxes = 2;
    jail_start(&daemon_);
    assert_int_equal(create(ids[0]).error, 0);
    assert_int_equal(create(ids[1]).error, 0);
    struct sd_reply reply = create(ids[2]);
    assert_int_equal(reply.error, -EAGAIN);
    assert_string_equal(reply.step, "slot");
    kill_one(ids[0]);
    assert_int_equal(create(ids[2]).error, 0);
    assert_int_equal(faults_state_of(&daemon_, ids[2]), SD_STATE_RUNNING);
    kill_one(ids[1]);
    kill_one(ids[2]);
    jail_stop(&daemon_);
}

static void start_with_a_deadline(void)
{
    faults_choose(0, 0, 0);
    faults->build_deadline_ms = DEADLINE_MS;
    faults->max_builders = 1;
    jail_start(&daemon_);
}

static void hang_in(const char *step, bool in_jail)
{
    faults_choose(0, 0, 0);
    (void)snprintf(faults->step.name, sizeof(faults->step.name), "%s", step);
    faults->step.in_jail = in_jail;
    faults->hang = true;
}

static void a_build_that_hangs_is_ended_in_time(void **state)
{
    static const struct {
        const char *step;
        bool in_jail;
    } CASES[] = {{"layer", false}, {"wait", true}, {"proc", true}};
    char id[SD_ID_SIZE];
    (void)state;
    start_with_a_deadline();
    assert_int_equal(create(id).error, 0);
    kill_one(id);
    struct faults_belongings before = faults_belongings(&daemon_);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        hang_in(CASES[i].step, CASES[i].in_jail);
        struct sd_reply reply = create(id);
        assert_int_equal(reply.error, -ETIMEDOUT);
        assert_string_equal(reply.step, "builder");
        faults_assert_nothing_of(&daemon_, id, &before);
    }
    faults_choose(0, 0, 0);
    assert_int_equal(create(id).error, 0);
    kill_one(id);
    jail_stop(&daemon_);
}

static void one_that_hangs_can_be_killed(void **state)
{
    static const bool IN_JAIL[] = {false, true};
    char id[SD_ID_SIZE];
    (void)state;
    faults_choose(0, 0, 0);
    jail_start(&daemon_);
    for (size_t i = 0; i < 2; i++) {
        hang_in(IN_JAIL[i] ? "proc" : "layer", IN_JAIL[i]);
        ask_for_one(id);
        struct sd_request request = jail_request(&daemon_, SD_KILL, id);
        jail_send(daemon_.socket, &request);
        struct sd_reply reply = next_reply();
        assert_int_equal(reply.op, SD_CREATE);
        assert_int_equal(reply.error, -ECANCELED);
        reply = next_reply();
        assert_int_equal(reply.op, SD_KILL);
        assert_int_equal(reply.error, 0);
        assert_int_equal(faults_state_of(&daemon_, id), 0);
    }
    faults_choose(0, 0, 0);
    jail_stop(&daemon_);
}

/* Behind one that hangs, others wait; one of them is killed before its turn. */
static void those_that_wait_get_their_turn(void **state)
{
    char ids[3][SD_ID_SIZE];
    unsigned int well = 0;
    (void)state;
    start_with_a_deadline();
    hang_in("layer", false);
    ask_for_one(ids[0]);
    ask_for_one(ids[1]);
    ask_for_one(ids[2]);
    struct sd_request request = jail_request(&daemon_, SD_KILL, ids[1]);
    jail_send(daemon_.socket, &request);
    struct sd_reply reply = next_reply();
    assert_int_equal(reply.error, -ECANCELED);
    assert_memory_equal(reply.sandbox, ids[1], SD_ID_SIZE);
    assert_int_equal(next_reply().op, SD_KILL);
    /* Only the first of them hangs. */
    faults->step.name[0] = '\0';
    for (int i = 0; i < 2; i++) {
        reply = next_reply();
        well += reply.error == 0 && memcmp(reply.sandbox, ids[2], SD_ID_SIZE) == 0;
        assert_true(reply.error == 0 || reply.error == -ETIMEDOUT);
    }
    assert_int_equal(well, 1);
    kill_one(ids[2]);
    jail_stop(&daemon_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_no_more_than_it_allows),
        cmocka_unit_test(a_build_that_hangs_is_ended_in_time),
        cmocka_unit_test(one_that_hangs_can_be_killed),
        cmocka_unit_test(those_that_wait_get_their_turn),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, faults_start, faults_stop)
                             : fixture_skip();
}
