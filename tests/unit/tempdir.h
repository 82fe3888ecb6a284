/* A directory of a test's own. */
#pragma once

/* A fresh directory below TEST_TMPDIR or /tmp; the caller frees the path. */
char *tempdir_new(void);
/* Removes it with all that is in it, and frees the path. */
void tempdir_free(char *path);
