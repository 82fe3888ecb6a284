/*
 * A server with handlers of its own behind the contract's methods, and a client on a socket pair.
 *
 *   SandboxService.Get      does what its sandbox_id says: "error", "block" (while held),
 *                           "endless" (until cancelled), else an echo
 *   CommandService.StreamLogs  by command_id: "count" (offset messages), "flood" (never ends),
 *                              "wake" (a message for each fixture_emit), "error"
 *   FileService.Write       counts what it gets; blocks while fixture.hold
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/rpc/rpc.h"
#include "tests/unit/rpc/client.h"

#define PATH_GET "/crownest.v1.SandboxService/Get"
#define PATH_LOGS "/crownest.v1.CommandService/StreamLogs"
#define PATH_WRITE "/crownest.v1.FileService/Write"

struct fixture {
    struct rpc_server *server;
    struct client client;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool hold; /* handlers that block wait for its end */
    unsigned blocked;
    unsigned opens, closes, pulls, messages, finishes, endless, cancelled;
    bool local;
    bool hold_authorize; /* like hold, for who calls */
    bool revoked; /* nobody may call any more; open streams are asked about within a second */
    uint64_t bytes;
    unsigned emitted; /* messages that "wake" may send */
    struct rpc_waker *waker;
};

extern struct fixture fixture;

int fixture_setup(void **state);
int fixture_teardown(void **state);
#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
/* One more connection. */
void fixture_connect(struct client *client, bool local);
/* Lets a "wake" stream send one more message. */
void fixture_emit(void);
void fixture_hold(bool hold);
/* Waits until a counter of the fixture has at least that value. */
void fixture_wait(const unsigned *counter, unsigned value);
unsigned fixture_read(const unsigned *counter);

/* Starts a stream of the given kind. */
void fixture_logs(struct client_call *call, const char *kind, uint64_t offset);
