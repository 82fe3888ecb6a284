/*
 * protogen: generates C from the contract, in the build.
 *
 *     protogen server-table DESCRIPTORS HEADER SOURCE
 *     protogen c-client DESCRIPTORS DIRECTORY NOUN...
 *
 * Exits with 1 and one line on stderr when the contract breaks a rule, with 2 when called wrongly.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/build/protogen/c_client.h"
#include "tools/build/protogen/contract.h"
#include "tools/build/protogen/server_table.h"

#define DESCRIPTORS_MAX (16 * 1024 * 1024)
#define PATH_SIZE 4096

static int read_descriptors(const char *path, uint8_t **ret_data, size_t *ret_len)
{
    FILE *in = fopen(path, "rbe");

    if (!in)
        return -errno;
    uint8_t *data = malloc(DESCRIPTORS_MAX);
    size_t len = data ? fread(data, 1, DESCRIPTORS_MAX, in) : 0;
    int result = !data || ferror(in) ? -EIO : len == DESCRIPTORS_MAX ? -EFBIG : 0;
    (void)fclose(in);
    if (result) {
        free(data);
        return result;
    }
    *ret_data = data;
    *ret_len = len;
    return 0;
}

/* Closes a stream that was written; -EIO when anything before it or the closing failed. */
static int finish(FILE *out)
{
    int failed = !out || ferror(out);

    return out && fclose(out) ? -EIO : failed ? -EIO : 0;
}

static int server_table(const struct contract *contract, char **paths, int count,
                        struct contract_error *error)
{
    (void)error;
    if (count != 2)
        return -E2BIG;
    FILE *header = fopen(paths[0], "we");
    FILE *source = fopen(paths[1], "we");
    int result = header && source ? server_table_write(contract, header, source) : -EIO;
    int header_result = finish(header);
    int source_result = finish(source);

    return result ? result : header_result ? header_result : source_result;
}

static int c_client_file(const struct contract_service *service, const char *directory,
                         const char *ending,
                         void (*write)(const struct contract_service *service, FILE *out))
{
    char path[PATH_SIZE];

    if (snprintf(path, sizeof(path), "%s/crownest_%s.%s", directory, service->noun, ending) >=
        (int)sizeof(path))
        return -ENAMETOOLONG;
    FILE *out = fopen(path, "we");
    if (!out)
        return -errno;
    write(service, out);
    return finish(out);
}

static bool is_listed(const char *noun, char **nouns, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(nouns[i], noun))
            return true;
    return false;
}

/* The build names its outputs beforehand: a service that it does not list must stop it. */
static int c_client(const struct contract *contract, char **args, int count,
                    struct contract_error *error)
{
    if (count < 1)
        return -E2BIG;
    for (size_t i = 0; i < contract->service_count; i++) {
        const struct contract_service *service = &contract->services[i];

        if (!is_listed(service->noun, args + 1, count - 1)) {
            (void)snprintf(error->text, sizeof(error->text),
                           "%s is a service of the contract that the build rule does not list",
                           service->noun);
            return -EINVAL;
        }
        int result = c_client_file(service, args[0], "h", c_client_write_header);
        if (!result)
            result = c_client_file(service, args[0], "c", c_client_write_source);
        if (result)
            return result;
    }
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const struct contract *contract, char **args, int count,
               struct contract_error *error);
} subcommands[] = {
    {"server-table", server_table},
    {"c-client", c_client},
};

static int run(int index, int argc, char **argv)
{
    struct contract_error error = {0};
    struct contract *contract = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    int result = read_descriptors(argv[2], &data, &len);

    if (!result)
        result = contract_load(data, len, &contract, &error);
    if (!result)
        result = subcommands[index].run(contract, argv + 3, argc - 3, &error);
    if (result)
        fprintf(stderr, "protogen: %s\n", error.text[0] ? error.text : strerror(-result));
    contract_free(contract);
    free(data);
    return result ? 1 : 0;
}

int main(int argc, char **argv)
{
    for (int i = 0; argc >= 4 && i < (int)(sizeof(subcommands) / sizeof(subcommands[0])); i++)
        if (!strcmp(argv[1], subcommands[i].name))
            return run(i, argc, argv);
    fprintf(stderr, "usage: protogen server-table DESCRIPTORS HEADER SOURCE\n"
                    "       protogen c-client DESCRIPTORS DIRECTORY NOUN...\n");
    return 2;
}
