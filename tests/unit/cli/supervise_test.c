/* Daemons that end are started again, and one that never lives is given up. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/util/clock.h"
#include "tools/cli/supervise.h"

#define PLENTY_MS 30000
#define CHANGES_MAX 64

static const struct supervise_limits LIMITS = {
    .first_pause_ms = 20, .longest_pause_ms = 80, .steady_ms = 3600000, .failures_max = 5};

/* One daemon of a test. Its manner, and what is done once it has come back, differ. */
struct actor {
    const char *manner;
    unsigned launches;
    unsigned dead_launches; /* how many of them come to nothing */
    unsigned changes;
    pid_t pids[CHANGES_MAX]; /* of each change */
    uint64_t times[CHANGES_MAX];
    void (*on_back)(struct actor *actor, const struct daemon *daemon);
    struct actor *other;
};

static int launch(void *context, struct daemon *ret_daemon, struct err *ret_err)
{
    struct actor *actor = context;
    bool dead = actor->launches > 0 && actor->launches <= actor->dead_launches;
    const struct daemon_spec spec = {.name = "fake",
                                     .path = "tests/unit/cli/fake_daemon",
                                     .args = {"fake", dead ? "dead" : actor->manner},
                                     .log_fd = -1};

    actor->launches++;
    return daemon_start(&spec, ret_daemon, ret_err);
}

static void on_changed(void *context, const struct daemon *daemon)
{
    struct actor *actor = context;

    assert_true(actor->changes < CHANGES_MAX);
    actor->times[actor->changes] = clock_monotonic_ms();
    actor->pids[actor->changes++] = daemon->pid;
    if (daemon->pid && actor->on_back)
        actor->on_back(actor, daemon);
}

static struct supervised start(struct actor *actor)
{
    struct supervised item = {.daemon = DAEMON_NONE("fake"),
                              .launch = launch,
                              .changed = on_changed,
                              .context = actor,
                              .ready_ms = PLENTY_MS,
                              .stop_ms = PLENTY_MS,
                              .restartable = true};
    struct err err;

    assert_int_equal(launch(actor, &item.daemon, &err), 0);
    assert_int_equal(daemon_await_ready(&item.daemon, -1, PLENTY_MS, &err), 0);
    item.since_ms = clock_monotonic_ms();
    return item;
}

static int open_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* Ends it, and waits until that can be seen. */
static void end_of(const struct supervised *item)
{
    struct pollfd end = {.fd = item->daemon.pidfd, .events = POLLIN};

    assert_int_equal(pidfd_send_signal(item->daemon.pidfd, SIGKILL, NULL, 0), 0);
    assert_int_equal(poll(&end, 1, PLENTY_MS), 1);
}

static void ask(int number)
{
    assert_int_equal(kill(getpid(), number), 0);
}

static void end_it(struct actor *actor, const struct daemon *daemon)
{
    (void)actor;
    (void)daemon;
    ask(SIGTERM);
}

/* Three times, then no more. */
static void kill_again(struct actor *actor, const struct daemon *daemon)
{
    if (actor->launches < 4)
        assert_int_equal(pidfd_send_signal(daemon->pidfd, SIGKILL, NULL, 0), 0);
    else
        ask(SIGTERM);
}

static void one_that_is_killed_comes_back(void **state)
{
    struct actor actor = {.manner = "well", .on_back = kill_again};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &LIMITS), SUPERVISE_ASKED);
    assert_int_equal(actor.launches, 4);
    /* It went, and came: three times. */
    assert_int_equal(actor.changes, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(actor.pids[i] != 0, i % 2);
    assert_true(daemon_stop(&item.daemon, PLENTY_MS));
    (void)close(signals);
}

static void pauses_grow_from_none(void **state)
{
    struct actor actor = {.manner = "well", .on_back = kill_again};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &LIMITS), SUPERVISE_ASKED);
    assert_true(actor.times[3] - actor.times[2] >= 20);
    assert_true(actor.times[5] - actor.times[4] >= 40);
    assert_true(daemon_stop(&item.daemon, PLENTY_MS));
    (void)close(signals);
}

static void one_that_never_is_ready_is_given_up(void **state)
{
    struct actor actor = {.manner = "well", .dead_launches = 100};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &LIMITS), SUPERVISE_GAVE_UP);
    assert_int_equal(actor.launches, 1 + LIMITS.failures_max);
    assert_int_equal(item.daemon.pid, 0);
    (void)close(signals);
}

static void failures_before_readiness_are_got_over(void **state)
{
    struct actor actor = {.manner = "well", .dead_launches = 3, .on_back = end_it};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &LIMITS), SUPERVISE_ASKED);
    assert_int_equal(actor.launches, 5);
    assert_true(daemon_stop(&item.daemon, PLENTY_MS));
    (void)close(signals);
}

static void who_served_for_long_begins_a_new_row(void **state)
{
    struct supervise_limits limits = LIMITS;
    struct actor actor = {.manner = "well", .on_back = kill_again};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    limits.steady_ms = 0;
    limits.failures_max = 1;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &limits), SUPERVISE_ASKED);
    assert_int_equal(actor.launches, 4);
    assert_true(daemon_stop(&item.daemon, PLENTY_MS));
    (void)close(signals);
}

static void a_restart_stops_and_starts_and_is_no_failure(void **state)
{
    struct supervise_limits limits = LIMITS;
    struct actor actor = {.manner = "well", .on_back = end_it};
    struct supervised item = start(&actor);
    pid_t before = item.daemon.pid;
    int signals = open_signals();

    (void)state;
    limits.failures_max = 0;
    ask(SIGUSR1);
    assert_int_equal(supervise(&item, 1, signals, &limits), SUPERVISE_ASKED);
    assert_int_equal(actor.launches, 2);
    assert_int_not_equal(item.daemon.pid, before);
    assert_int_equal(item.failures, 0);
    assert_true(daemon_stop(&item.daemon, PLENTY_MS));
    (void)close(signals);
}

static void one_that_does_not_stop_for_a_restart_is_killed(void **state)
{
    struct actor actor = {.manner = "deaf", .on_back = end_it};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    item.stop_ms = 50;
    ask(SIGUSR1);
    assert_int_equal(supervise(&item, 1, signals, &LIMITS), SUPERVISE_ASKED);
    assert_int_equal(actor.launches, 2);
    (void)daemon_stop(&item.daemon, 0);
    (void)close(signals);
}

static void one_that_is_never_ready_nor_ends_is_killed(void **state)
{
    struct supervise_limits limits = LIMITS;
    struct actor actor = {.manner = "well"};
    struct supervised item = start(&actor);
    int signals = open_signals();

    (void)state;
    limits.failures_max = 2;
    actor.manner = "mute";
    item.ready_ms = 50;
    end_of(&item);
    assert_int_equal(supervise(&item, 1, signals, &limits), SUPERVISE_GAVE_UP);
    assert_int_equal(actor.launches, 3);
    (void)close(signals);
}

/* The first one is back after two failures; only then does the second one start. */
static void end_when_second_is_back(struct actor *actor, const struct daemon *daemon)
{
    (void)daemon;
    assert_int_equal(actor->other->changes, 2);
    assert_true(actor->times[1] >= actor->other->times[1]);
    ask(SIGTERM);
}

static void the_second_waits_for_the_first(void **state)
{
    struct actor actors[2] = {{.manner = "well", .dead_launches = 2},
                              {.manner = "well", .on_back = end_when_second_is_back}};
    struct supervised items[2] = {start(&actors[0]), start(&actors[1])};
    int signals = open_signals();

    (void)state;
    actors[1].other = &actors[0];
    end_of(&items[1]);
    end_of(&items[0]);
    assert_int_equal(supervise(items, 2, signals, &LIMITS), SUPERVISE_ASKED);
    assert_int_equal(actors[0].launches, 4);
    assert_int_equal(actors[1].launches, 2);
    for (int i = 0; i < 2; i++)
        assert_true(daemon_stop(&items[i].daemon, PLENTY_MS));
    (void)close(signals);
}

/* What depends on it stays. */
static void the_second_is_left_alone_when_the_first_ends(void **state)
{
    struct actor actors[2] = {{.manner = "well", .on_back = end_it}, {.manner = "well"}};
    struct supervised items[2] = {start(&actors[0]), start(&actors[1])};
    int signals = open_signals();

    (void)state;
    end_of(&items[0]);
    assert_int_equal(supervise(items, 2, signals, &LIMITS), SUPERVISE_ASKED);
    assert_int_equal(actors[1].launches, 1);
    assert_int_equal(actors[1].changes, 0);
    for (int i = 0; i < 2; i++)
        assert_true(daemon_stop(&items[i].daemon, PLENTY_MS));
    (void)close(signals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_killed_comes_back),
        cmocka_unit_test(pauses_grow_from_none),
        cmocka_unit_test(one_that_never_is_ready_is_given_up),
        cmocka_unit_test(failures_before_readiness_are_got_over),
        cmocka_unit_test(who_served_for_long_begins_a_new_row),
        cmocka_unit_test(a_restart_stops_and_starts_and_is_no_failure),
        cmocka_unit_test(one_that_does_not_stop_for_a_restart_is_killed),
        cmocka_unit_test(one_that_is_never_ready_nor_ends_is_killed),
        cmocka_unit_test(the_second_waits_for_the_first),
        cmocka_unit_test(the_second_is_left_alone_when_the_first_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
