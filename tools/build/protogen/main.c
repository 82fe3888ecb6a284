/*
 * protogen: generates C from the contract, in the build.
 *
 *     protogen server-table DESCRIPTORS HEADER SOURCE
 *
 * Exits with 1 and one line on stderr when the contract breaks a rule, with 2 when called wrongly.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/build/protogen/contract.h"
#include "tools/build/protogen/server_table.h"

#define DESCRIPTORS_MAX (16 * 1024 * 1024)

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

static int server_table(const struct contract *contract, char **paths)
{
    FILE *header = fopen(paths[0], "we");
    FILE *source = fopen(paths[1], "we");
    int result = header && source ? server_table_write(contract, header, source) : -EIO;
    int header_result = finish(header);
    int source_result = finish(source);

    return result ? result : header_result ? header_result : source_result;
}

int main(int argc, char **argv)
{
    struct contract_error error = {0};
    struct contract *contract = NULL;
    uint8_t *data = NULL;
    size_t len = 0;

    if (argc != 5 || strcmp(argv[1], "server-table") != 0) {
        fprintf(stderr, "usage: protogen server-table DESCRIPTORS HEADER SOURCE\n");
        return 2;
    }
    int result = read_descriptors(argv[2], &data, &len);
    if (!result)
        result = contract_load(data, len, &contract, &error);
    if (!result)
        result = server_table(contract, argv + 3);
    if (result)
        fprintf(stderr, "protogen: %s\n", error.text[0] ? error.text : strerror(-result));
    contract_free(contract);
    free(data);
    return result ? 1 : 0;
}
