/* The doctor names the settings of a kernel that are weaker than need be, and how to mend them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/cli/check.h"

static const char *const directories[] = {"/proc", "/proc/sys", "/proc/sys/kernel",
                                          "/proc/sys/kernel/yama", "/proc/sys/vm"};
static const char *const files[] = {
    "/proc/sys/kernel/kptr_restrict",     "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/vm/nr_hugepages",
    "/proc/sys/kernel/core_pattern",      "/proc/swaps"};

static char root[] = "/tmp/crownest-check.XXXXXX";

static char *path_of(const char *below)
{
    static char path[256];

    (void)snprintf(path, sizeof(path), "%s%s", root, below);
    return path;
}

/* One value for each of the files. */
static struct check_result examine(const char *const values[])
{
    const struct check_context context = {.root = root};
    struct check_result result = {0};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        FILE *out = fopen(path_of(files[i]), "w");

        assert_non_null(out);
        (void)fputs(values[i], out);
        (void)fclose(out);
    }
    check_settings(&context, &result);
    return result;
}

static void good_ones_are_ok(void **state)
{
    const char *const values[] = {"2\n", "3\n", "1\n", "0\n", "core\n", "Filename Type Size\n"};

    (void)state;
    struct check_result result = examine(values);

    assert_int_equal(result.level, CHECK_OK);
    assert_string_equal(result.remedy, "");
}

static void weak_ones_are_named_with_what_they_should_be(void **state)
{
    const char *const values[] = {"0\n",
                                  "-1\n",
                                  "1\n",
                                  "512\n",
                                  "|/usr/bin/reader %p\n",
                                  "Filename Type Size\n/dev/sda2 partition 100\n"};

    (void)state;
    struct check_result result = examine(values);

    assert_int_equal(result.level, CHECK_WARN);
    assert_string_equal(result.found, "weaker than need be: kernel.kptr_restrict=0 "
                                      "kernel.perf_event_paranoid=-1 vm.nr_hugepages=512 "
                                      "kernel.core_pattern swap");
    assert_string_equal(result.remedy, "sysctl -w kernel.kptr_restrict=1 "
                                       "kernel.perf_event_paranoid=2 vm.nr_hugepages=0; "
                                       "sysctl -w kernel.core_pattern=core; "
                                       "swapoff -a, or encrypt it");
}

static int make_root(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        if (mkdir(path_of(directories[i]), 0700))
            return -1;
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        (void)unlink(path_of(files[i]));
    for (size_t i = sizeof(directories) / sizeof(directories[0]); i > 0; i--)
        (void)rmdir(path_of(directories[i - 1]));
    return rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_ok),
        cmocka_unit_test(weak_ones_are_named_with_what_they_should_be),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
