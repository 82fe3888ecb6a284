/* The doctor tells the cgroup layouts apart, and what each lacks. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/cli/check.h"

#define V1(controller, options)                                                                    \
    "30 20 0:1 / /sys/fs/cgroup/" controller " " options                                           \
    " shared:1 - cgroup cgroup rw," controller "\n"
#define V2(point, options) "31 20 0:2 / " point " " options " - cgroup2 cgroup2 rw,nsdelegate\n"

static char root[] = "/tmp/crownest-check.XXXXXX";

static void put(const char *path, const char *text)
{
    char full[256];

    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *out = fopen(full, "w");
    assert_non_null(out);
    (void)fputs(text, out);
    (void)fclose(out);
}

static struct check_result examine(const char *mountinfo, const char *controllers)
{
    const struct check_context context = {.root = root};
    struct check_result result = {0};

    put("/proc/self/mountinfo", mountinfo);
    put("/sys/fs/cgroup/cgroup.controllers", controllers);
    check_cgroups(&context, &result);
    return result;
}

static void v2_with_all_controllers_is_ok(void **state)
{
    (void)state;
    struct check_result result =
        examine(V2("/sys/fs/cgroup", "rw,nosuid"), "cpuset cpu io memory pids\n");
    assert_int_equal(result.level, CHECK_OK);
    assert_string_equal(result.remedy, "");
}

static void v2_without_one_fails(void **state)
{
    (void)state;
    struct check_result result =
        examine(V2("/sys/fs/cgroup", "rw"), "cpuset cpu io pids memory_recursiveprot\n");
    assert_int_equal(result.level, CHECK_FAIL);
    assert_non_null(strstr(result.found, "memory"));
    assert_non_null(strstr(result.remedy, "cgroup_disable"));
}

static void v2_read_only_fails(void **state)
{
    (void)state;
    assert_int_equal(examine(V2("/sys/fs/cgroup", "ro,nosuid"), "cpu memory pids\n").level,
                     CHECK_FAIL);
}

static void hybrid_is_ok(void **state)
{
    (void)state;
    struct check_result result = examine(V1("memory", "rw") V1("pids", "rw") V1("cpu,cpuacct", "rw")
                                             V2("/sys/fs/cgroup/unified", "rw"),
                                         "");
    assert_int_equal(result.level, CHECK_OK);
    assert_non_null(strstr(result.found, "hybrid"));
}

static void hybrid_lacks(void **state)
{
    (void)state;
    /* cpuacct and cpuset are not cpu. */
    assert_int_equal(examine(V1("memory", "rw") V1("pids", "rw") V1("cpuacct", "rw")
                                 V1("cpuset", "rw") V2("/sys/fs/cgroup/unified", "rw"),
                             "")
                         .level,
                     CHECK_FAIL);
    assert_int_equal(examine(V1("memory", "ro") V1("pids", "rw") V1("cpu", "rw"), "").level,
                     CHECK_FAIL);
    assert_int_equal(examine(V1("memory", "rw") V1("pids", "rw") V1("cpu", "rw"), "").level,
                     CHECK_WARN);
}

static void no_cgroups_fail(void **state)
{
    (void)state;
    assert_int_equal(examine("22 20 0:3 / /proc rw - proc proc rw\n", "").level, CHECK_FAIL);
}

static void io_can_be_limited(void **state)
{
    const struct check_context context = {.root = root};
    struct check_result result = {0};

    (void)state;
    put("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    check_io(&context, &result);
    assert_int_equal(result.level, CHECK_WARN);
    assert_non_null(strstr(result.remedy, "blkio"));
    put("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device", "");
    check_io(&context, &result);
    assert_int_equal(result.level, CHECK_OK);
    put("/sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    check_io(&context, &result);
    assert_string_equal(result.found, "reads and writes can be limited");
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v2_with_all_controllers_is_ok),
        cmocka_unit_test(v2_without_one_fails),
        cmocka_unit_test(v2_read_only_fails),
        cmocka_unit_test(hybrid_is_ok),
        cmocka_unit_test(hybrid_lacks),
        cmocka_unit_test(no_cgroups_fail),
        cmocka_unit_test(io_can_be_limited),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
