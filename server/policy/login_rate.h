/*
 * How often a login may fail: a few times in a row, then once in a while, for each name and for all
 * together. Names that nobody has are treated as those that somebody has. Functions may be called
 * from any thread; times are milliseconds of the monotonic clock.
 */
#pragma once

#include <stdint.h>

struct login_rate;

struct login_rate *login_rate_new(void);
/* NULL is fine. */
void login_rate_free(struct login_rate *rate);

/* 0: the name may try now. Otherwise how long it has to wait for that. */
uint32_t login_rate_wait(struct login_rate *rate, const char *name, uint64_t now_ms);
void login_rate_failed(struct login_rate *rate, const char *name, uint64_t now_ms);
/* What the name failed at before is forgotten; but not of all together. */
void login_rate_succeeded(struct login_rate *rate, const char *name);
