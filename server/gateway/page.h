/* The gateway's own answers: fixed text, which never repeats anything of the request. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>

/* 404 at the domain itself, where a visitor looks for what this is. */
#define PAGE_DOMAIN 1404U

/* status: an HTTP status, or PAGE_DOMAIN. The connection must be closed after it. */
void page_write(unsigned status, bool without_body, struct evbuffer *output);
