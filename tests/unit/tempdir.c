#include "tests/unit/tempdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define DESCRIPTORS 8

char *tempdir_new(void)
{
    const char *parent = getenv("TEST_TMPDIR");
    char *path = NULL;

    if (asprintf(&path, "%s/crownest-test-XXXXXX", parent ? parent : "/tmp") < 0 || !mkdtemp(path))
        abort();
    return path;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    return remove(path);
}

void tempdir_free(char *path)
{
    (void)nftw(path, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    free(path);
}
