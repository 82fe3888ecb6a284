/*
 * A gateway with a preview and an app in it that the test writes: the visitor and the app are both
 * at the far ends of socket pairs. Each app connection has a thread of its own.
 */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/gateway/gateway.h"
#include "server/gateway/limits.h"

#define ID "prv_01h455vb4pex5vsknk084sn02q"
#define HOST "prv-01h455vb4pex5vsknk084sn02q.localhost"
#define SANDBOX_ID "sbx_01h455vb4pex5vsknk084sn02q"
#define TOKEN "secret-of-the-preview-0123456789"
#define WITH_TOKEN "Host: " HOST ":7070\r\nX-CrowNest-Preview-Token: " TOKEN "\r\n"

/* Two lists of the least size at which Connection names too much only together. */
#define NAMES_64 "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,"
#define HALF_OF_NAMES NAMES_64 NAMES_64 NAMES_64 NAMES_64 "a"

#define HARNESS_APPS 64
#define PATIENCE_MS 20000 /* for what must come */

struct harness {
    struct gateway *gateway;
    void (*app)(struct harness *harness, int fd);
    atomic_int lookup;        /* enum gateway_lookup */
    atomic_int connect_error; /* negative errno, or 0 */
    atomic_uint connects;
    atomic_bool rotated; /* the token is another one now */
    bool tcp;            /* the app is reached over TCP, and the other end of it is shared */
    atomic_int held;     /* then: the duplicate of the last one that was handed to the gateway */
    char *seen;          /* the last request head an app got; guarded by mutex */
    pthread_mutex_t mutex;
    pthread_t apps[HARNESS_APPS];
    unsigned app_count; /* guarded by mutex */
};

void harness_start(struct harness *harness, const struct gateway_limits *limits,
                   void (*app)(struct harness *harness, int fd));
void harness_stop(struct harness *harness);

/* A visitor's new connection. */
int visit(struct harness *harness);
void send_text(int fd, const char *text);
void send_bytes(int fd, const void *data, size_t size);
/* Until the text has come; a NUL-terminated copy of all that came, up to and including it. */
char *read_until(int fd, const char *text);
/* Until the peer closes. */
char *read_all(int fd);
/* Exactly so many bytes. */
void read_exactly(int fd, void *ret_data, size_t size);
/* One request on a connection of its own, to the end of that connection. */
char *ask(struct harness *harness, const char *request);
/* Whether the answer begins with this status; the answer is freed. */
void expect_status(char *answer, const char *status);
void assert_contains(const char *text, const char *needle);
void assert_lacks(const char *text, const char *needle);
/* The same of the last request head that an app got. */
void seen_contains(struct harness *harness, const char *needle);
void seen_lacks(struct harness *harness, const char *needle);

/* Reads a request's head, keeps it as seen. */
void app_read_head(struct harness *harness, int fd);
/* Answers each request with 200, "hello". */
void app_hello(struct harness *harness, int fd);
