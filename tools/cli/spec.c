#include "tools/cli/spec.h"

#include <stdlib.h>
#include <string.h>

#include "tools/cli/creation.h"
#include "tools/cli/local_terminal.h"

/* The parts of a request that point to each other. */
struct spec {
    Crownest__V1__CommandSpec command;
    Google__Protobuf__Duration timeout;
    Crownest__V1__TerminalSize terminal;
    Crownest__V1__CommandSpec__EnvEntry env[FLAG_LIST_MAX];
    Crownest__V1__CommandSpec__EnvEntry *env_pointers[FLAG_LIST_MAX];
    Crownest__V1__CollectItem collect[FLAG_LIST_MAX];
    Crownest__V1__CollectItem *collect_pointers[FLAG_LIST_MAX];
};

static int add_env(struct spec *spec, const char *text)
{
    size_t at = spec->command.n_env;
    const char *value;
    char *key;
    int result = creation_split(text, true, &key, &value);

    if (result || !key)
        return result;
    crownest__v1__command_spec__env_entry__init(&spec->env[at]);
    spec->env[at].key = key;
    spec->env[at].value = (char *)value;
    spec->env_pointers[at] = &spec->env[at];
    spec->command.n_env++;
    return 0;
}

/* A terminal of the service's own size when we have none to show it in. */
static void add_terminal(struct spec *spec)
{
    crownest__v1__terminal_size__init(&spec->terminal);
    spec->command.terminal = &spec->terminal;
    (void)local_terminal_size(&spec->terminal.rows, &spec->terminal.columns);
}

static int fill(struct spec *spec, const struct spec_flags *flags)
{
    Crownest__V1__CommandSpec *command = &spec->command;

    command->shell = (char *)flags->shell;
    command->cwd = (char *)flags->cwd;
    command->user = (char *)flags->user;
    command->keep_stdin = flags->keep_stdin;
    command->env = spec->env_pointers;
    for (size_t i = 0; i < flags->env.count; i++)
        if (add_env(spec, flags->env.items[i]))
            return -1;
    for (size_t i = 0; i < flags->collect.count; i++) {
        crownest__v1__collect_item__init(&spec->collect[i]);
        spec->collect[i].path = (char *)flags->collect.items[i];
        spec->collect_pointers[i] = &spec->collect[i];
    }
    command->collect = spec->collect_pointers;
    command->n_collect = flags->collect.count;
    if (flags->timeout != SPEC_NO_TIMEOUT) {
        google__protobuf__duration__init(&spec->timeout);
        spec->timeout.seconds = (int64_t)flags->timeout;
        command->timeout = &spec->timeout;
    }
    if (flags->terminal)
        add_terminal(spec);
    return 0;
}

struct spec *spec_new(const struct spec_flags *flags, const char *sandbox_id, char **argv,
                      size_t argc)
{
    struct spec *spec = calloc(1, sizeof(*spec));

    if (!spec)
        return NULL;
    crownest__v1__command_spec__init(&spec->command);
    spec->command.sandbox_id = (char *)sandbox_id;
    spec->command.argv = argv;
    spec->command.n_argv = argc;
    if (!fill(spec, flags))
        return spec;
    spec_free(spec);
    return NULL;
}

void spec_free(struct spec *spec)
{
    if (!spec)
        return;
    for (size_t i = 0; i < spec->command.n_env; i++)
        free(spec->env[i].key);
    free(spec);
}

Crownest__V1__CommandSpec *spec_message(struct spec *spec)
{
    return &spec->command;
}
