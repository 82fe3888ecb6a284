/*
 * One POST to a URL that an operator chose: http or https, no redirects, no proxy, a bounded time,
 * and an answer of which only the status counts. Functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/util/bytes.h"
#include "server/util/status.h"

#define POST_ERROR_SIZE 256
#define POST_ORIGIN_SIZE 300

/* Once, before other threads. */
void post_init(void);

/*
 * INVALID_ARGUMENT URL_INVALID at `url`. ret_origin: "https://example.com:8443", cut if need be:
 * what may be told of it to those who must not know the rest.
 */
struct status post_check_url(const char *url, char ret_origin[POST_ORIGIN_SIZE]);

struct post {
    const char *url;
    const char *delivery;  /* value of X-CrowNest-Delivery */
    const char *signature; /* value of X-CrowNest-Signature */
    struct bytes body;
    bool (*stop)(void *arg); /* asked at least once a second: whether to give up */
    void *arg;
};

/*
 * Returns 0 for an answer of 2xx, or -ECANCELED when it was stopped, or -EIO: ret_error says in
 * printable ASCII why, without anything of the URL but its host.
 */
int post_send(const struct post *post, char ret_error[POST_ERROR_SIZE]);
