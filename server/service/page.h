/* Pages of lists: sizes and tokens checked, newest first. */
#pragma once

#include "server/service/service.h"
#include "server/store/record.h"

/* A list under way; results are collected into the call's arena. */
struct page {
    struct record_page range;
    const ProtobufCMessageDescriptor *type; /* of the values; NULL for an index */
    struct arena *arena;
    void **items; /* messages, or ids (char *) of an index */
    size_t count;
    /* Whether a message belongs on the page; NULL: all do. */
    bool (*keep)(void *arg, const void *message);
    void *keep_arg;
};

/* INVALID_ARGUMENT PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID. id_prefix: of the ids listed. */
struct status page_init(struct page *page, struct rpc_call *call, uint32_t page_size,
                        const char *page_token, const char *id_prefix);

/* Fills items; ret_next is the next page's token, in the arena, or "". */
struct status page_read(struct page *page, struct store *store, char **ret_next);
