/*
 * What all listing commands share: a table or JSON, page after page.
 */
#pragma once

#include "tools/cli/connect.h"
#include "tools/cli/json.h"

struct list {
    const struct command *command;
    const char *heading; /* of the table, with its newline */
    void (*print_row)(const ProtobufCMessage *item);
    /*
     * Fetches one page and gives each item to list_item. Begins with an empty page_token and
     * replaces it: *ret_next is allocated, NULL after the last page.
     */
    int (*fetch)(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error);
    void *context;      /* fetch's own; with an operand: that, or "" */
    bool takes_operand; /* one, at most: a sandbox's id */
    struct crownest_client *client;
    json_t *array; /* NULL: a table */
    bool headed;   /* the heading was printed */
};

/* Adds an item of a page. */
void list_item(struct list *list, const ProtobufCMessage *item);

/* The token of the next page for fetch to return, or NULL after the last one. */
char *list_next(const char *next_page_token);

/* A whole listing command without flags of its own. Returns an exit code. */
int list_main(struct list *list, int argc, char **argv);

/* Connects, fetches every page and prints them. Returns an exit code. */
int list_print(struct list *list, const struct connect_flags *connect, bool as_json);
