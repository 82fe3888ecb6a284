#include "tools/cli/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "crownest-backup 1\n"
#define LINE_SIZE (TREE_DIGEST_SIZE + 24 + TREE_PATH_MAX)
#define HEX "0123456789abcdef"

void manifest_begin(FILE *out)
{
    fputs(FIRST_LINE, out);
}

void manifest_add(FILE *out, const struct manifest_entry *entry, struct manifest_sum *sum)
{
    fprintf(out, "%s %" PRIu64 " %s\n", entry->digest, entry->size, entry->path);
    sum->files++;
    sum->bytes += entry->size;
}

void manifest_end(FILE *out, const struct manifest_sum *sum)
{
    fprintf(out, "end %" PRIu64 " %" PRIu64 "\n", sum->files, sum->bytes);
}

/* A decimal number up to the separator. */
static bool parse_number(char **text, char separator, uint64_t *ret_number)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(*text, &end, 10);
    if (errno || *end != separator)
        return false;
    *text = end + 1;
    return true;
}

static bool parse_entry(char *line, struct manifest_entry *ret_entry)
{
    size_t len = strlen(line);

    if (len <= TREE_DIGEST_SIZE || line[len - 1] != '\n' ||
        strspn(line, HEX) != TREE_DIGEST_SIZE - 1 || line[TREE_DIGEST_SIZE - 1] != ' ')
        return false;
    line[len - 1] = '\0';
    line[TREE_DIGEST_SIZE - 1] = '\0';
    memcpy(ret_entry->digest, line, TREE_DIGEST_SIZE);
    line += TREE_DIGEST_SIZE;
    if (!parse_number(&line, ' ', &ret_entry->size) || !tree_path_valid(line))
        return false;
    (void)snprintf(ret_entry->path, sizeof(ret_entry->path), "%s", line);
    return true;
}

static bool parse_end(char *line, const struct manifest_sum *sum)
{
    uint64_t files;
    uint64_t bytes;

    line += strlen("end ");
    return parse_number(&line, ' ', &files) && parse_number(&line, '\n', &bytes) &&
           files == sum->files && bytes == sum->bytes;
}

static int damaged(struct err *err, const char *what)
{
    return err_set(err, EUCLEAN, "the manifest %s: this is no whole backup", what);
}

int manifest_read(FILE *in, manifest_visit_fn *visit, void *arg, struct manifest_sum *ret_sum,
                  struct err *ret_err)
{
    struct manifest_entry entry;
    struct manifest_sum sum = {0};
    char line[LINE_SIZE];

    if (!fgets(line, sizeof(line), in) || strcmp(line, FIRST_LINE) != 0)
        return damaged(ret_err, "does not begin with `crownest-backup 1`");
    while (fgets(line, sizeof(line), in)) {
        if (!strncmp(line, "end ", strlen("end "))) {
            if (!parse_end(line, &sum))
                return damaged(ret_err, "does not add up");
            *ret_sum = sum;
            return 0;
        }
        if (!parse_entry(line, &entry))
            return damaged(ret_err, "has a line that names no file");
        int result = visit(arg, &entry, ret_err);
        if (result)
            return result;
        sum.files++;
        sum.bytes += entry.size;
    }
    return damaged(ret_err, "has no end");
}
