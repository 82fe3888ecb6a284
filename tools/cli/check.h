/*
 * What `crownest doctor` looks at: one function for each thing a host must have, in a table.
 *
 * A check changes nothing on the host. Files are read below `root`, which tests replace by a
 * directory of their own; system calls ask the running kernel.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum check_level {
    CHECK_OK,
    CHECK_WARN, /* it works, but worse, or something was not to be found out */
    CHECK_FAIL, /* sandboxes cannot be made, or not safely */
};

struct check_result {
    enum check_level level;
    char found[320];  /* what was found */
    char remedy[512]; /* empty when ok */
};

struct check_context {
    const char *root; /* "" on a real host */
    const char *data;
    const char *run_dir;
    const char *listen;
    const char *user;
    const char *bin_dir; /* NULL: next to this program */
    const char *volume;  /* NULL: none */
};

struct check {
    const char *name;
    void (*run)(const struct check_context *context, struct check_result *result);
};

extern const struct check checks[];
extern const size_t check_count;

/* Reads a small file of the context's root. Returns its length, or -errno; always ends with NUL. */
long check_read(const struct check_context *context, const char *path, char *ret_text, size_t size);

void check_set(struct check_result *result, enum check_level level, const char *remedy,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* check_cgroup.c: whether the layout is v2 or the v1 hybrid, and has the controllers. */
void check_cgroups(const struct check_context *context, struct check_result *result);

/* … and whether io can be limited there. */
void check_io(const struct check_context *context, struct check_result *result);

/* check_settings.c: what the kernel lets everybody do that sandboxes have no use for. */
void check_settings(const struct check_context *context, struct check_result *result);

/* check_install.c: what belongs to this installation. */
void check_user(const struct check_context *context, struct check_result *result);
void check_binaries(const struct check_context *context, struct check_result *result);
void check_templates(const struct check_context *context, struct check_result *result);
void check_listen(const struct check_context *context, struct check_result *result);
void check_disk(const struct check_context *context, struct check_result *result);
void check_layer(const struct check_context *context, struct check_result *result);
void check_memory(const struct check_context *context, struct check_result *result);
