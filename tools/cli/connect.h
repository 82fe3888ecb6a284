/*
 * How commands reach the service. By default that is the local unix socket, where an operator needs
 * no key; --url or CROWNEST_URL name another address, for which CROWNEST_API_KEY is the key, or
 * without one the session that `crownest login` began there. Neither is ever sent over a unix
 * socket, so an exported key does not take an operator's rights away.
 */
#pragma once

#include "bindings/c/client.h"
#include "tools/cli/flags.h"

#define CONNECT_DEFAULT_URL "unix:/run/crownest/crownest.sock"

struct connect_flags {
    const char *url;
    const char *project;
};

/* The flags that every command which calls the service has. */
#define CONNECT_FLAGS(values)                                                                      \
    {                                                                                              \
        .name = "url",                                                                             \
        .kind = FLAG_TEXT,                                                                         \
        .value = &(values)->url,                                                                   \
        .operand = "URL",                                                                          \
        .help = "the service (CROWNEST_URL, else " CONNECT_DEFAULT_URL ")",                        \
    },                                                                                             \
    {                                                                                              \
        .name = "project", .kind = FLAG_TEXT, .value = &(values)->project, .operand = "PROJECT",   \
        .help = "operators: act in this project instead of `default`",                             \
    }

/* Returns a client, which the caller frees, or NULL after printing what is wrong. */
struct crownest_client *connect_client(const struct command *command,
                                       const struct connect_flags *flags);

/* Whether that would be over a unix socket. */
bool connect_is_local(const struct connect_flags *flags);
/* The same without a key or a session; and with the session only, which must be there. */
struct crownest_client *connect_client_without(const struct command *command,
                                               const struct connect_flags *flags);
struct crownest_client *connect_client_session(const struct command *command,
                                               const struct connect_flags *flags);

/*
 * All of a command whose operands are ids, of `what` ("a sandbox"), and whose only flags are those
 * above: acts on each of them, the rest too when one fails.
 */
int connect_each(const struct command *command, int argc, char **argv, const char *what,
                 int (*act)(const struct command *command, struct crownest_client *client,
                            char *id));

/* Prints how a call failed, with what to do. Returns EXIT_FAILED. */
int connect_failed(const struct command *command, const struct crownest_client *client,
                   const struct crownest_error *error);
