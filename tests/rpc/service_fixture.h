/*
 * The real service for tests: sandboxd as root and crownestd as an unprivileged user, with data,
 * sockets and a port of their own. One for each test program, started by its group setup.
 *
 *     const struct CMUnitTest tests[] = {
 *         cmocka_unit_test(artifacts_outlive_their_sandbox),
 *         cmocka_unit_test(service_leaves_nothing),
 *     };
 *     return cmocka_run_group_tests(tests, service_setup, service_teardown);
 *
 * Each test begins with service_of(state), which skips it, saying what is missing, where jails
 * cannot be made. service_leaves_nothing is the last test of each program.
 *
 * CROWNEST_TEST_TEMPLATES names the folder of templates (default /var/lib/crownest/templates).
 * The programs die with the test, however it ends.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <cmocka.h>

#include "bindings/c/client.h"

#define SERVICE_PATH_SIZE 128
#define SERVICE_SECRET_SIZE 128

/* Another tenant, for what must not be seen across the boundary. */
#define SERVICE_OTHER_PROJECT "other"

struct service {
    char dir[32];
    time_t start;
    uint16_t port;
    pid_t sandboxd;  /* 0: not running */
    pid_t crownestd; /* 0: not running */
    unsigned pool;
    const char *disk;                        /* NULL: the data directory is on the host's disk */
    bool disk_fails;                         /* when a test asks failing_disk.c for it */
    const char *reserve_bytes;               /* NULL: the default */
    char key[SERVICE_SECRET_SIZE];           /* every scope, in the default project */
    char other_key[SERVICE_SECRET_SIZE];     /* every scope, in SERVICE_OTHER_PROJECT */
    struct crownest_client *client;          /* over TCP with `key` */
    struct crownest_client *other;           /* over TCP with `other_key` */
    struct crownest_client *operator_client; /* over the unix socket, default project */
};

/*
 * Each jail is built when it is asked for and named after its sandbox: for tests that look at the
 * host's side of one.
 */
int service_setup(void **state);
/* As users have it, with jails kept ready. */
int service_setup_pooled(void **state);
#define SERVICE_POOL 4
/*
 * The same with its data directory on a disk of 96 MiB, of which it keeps 48 MiB in reserve:
 * DIR/server is a small_disk.
 */
int service_setup_small_disk(void **state);
/* As users have it, with failing_disk.c in the server. */
int service_setup_failing_disk(void **state);
int service_teardown(void **state);

/* Kills them, without a warning, and waits until they are gone. Clients are of no use then. */
void service_crash_crownestd(struct service *service);
void service_crash_sandboxd(struct service *service);
/* Stops both as an operator would, which ends all sandboxes. Clients are of no use then. */
void service_stop(struct service *service);
/* Starts what does not run, and makes the clients anew, since the port is another one. */
void service_come_back(struct service *service);
/* Starts crownestd where it cannot serve, and waits until it has given up. */
void service_fail_to_come_back(struct service *service);

/* The running service; skips the test when there is none. */
struct service *service_of(void **state);

/* A client over TCP; key "": none is sent. */
struct crownest_client *service_client(const struct service *service, const char *key);

/* Mints a key as the operator; scopes: NULL-terminated, none for all. */
void service_mint(const struct service *service, const char *project, const char *const scopes[],
                  char ret_secret[SERVICE_SECRET_SIZE]);

/*
 * A test: stops the service in the presence of whatever the tests before left in it, and shows that
 * both programs ended well, and that no process, control group or file of a sandbox is left.
 */
void service_leaves_nothing(void **state);
