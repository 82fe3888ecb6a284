/*
 * Where webhooks post to: a listening socket of the test's own thread. What nobody takes waits in
 * its queue, and whoever posts waits with it. Fails the test when nothing comes within its
 * patience.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/rpc/visitor.h"

struct receiver {
    int fd;
    char url[64];
};

void receiver_open(struct receiver *receiver);
void receiver_close(struct receiver *receiver);
/* Whether nobody waits to be taken. */
bool receiver_is_idle(const struct receiver *receiver);

struct delivery {
    int fd;
    struct answer request; /* its head and its body */
};

/* The next one. */
void receiver_take(const struct receiver *receiver, struct delivery *ret_delivery);
/* Answers, closes and frees it. status: "200 OK", with more lines of the head behind, if any. */
void delivery_answer(struct delivery *delivery, const char *status);
/* The same without an answer. */
void delivery_drop(struct delivery *delivery);
/* Until the sender has gone away; then drops it. */
void delivery_await_hangup(struct delivery *delivery);
/* Fails the test unless the signature is that of the body with this secret, and not an old one. */
void assert_delivery_signed(const struct delivery *delivery, const char *secret);
