/* Templates of a host: found by name or digest, and by nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/sandbox/template.h"
#include "tests/unit/tempdir.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char *directory;

static int set_up(void **state)
{
    char path[512];

    (void)state;
    directory = tempdir_new();
    (void)snprintf(path, sizeof(path), "%s/" HEX ".erofs", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);

    if (fd < 0 || write(fd, "image", 5) != 5)
        return -1;
    (void)close(fd);
    (void)snprintf(path, sizeof(path), "%s/base", directory);
    if (symlink(HEX ".erofs", path) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/stray", directory);
    return symlink("../../etc/passwd", path);
}

static int tear_down(void **state)
{
    (void)state;
    tempdir_free(directory);
    return 0;
}

static void found_by_name_and_digest(void **state)
{
    struct template_info info;

    (void)state;
    assert_int_equal(template_find(directory, "base", &info), 0);
    assert_string_equal(info.name, "base");
    assert_string_equal(info.digest, "sha256:" HEX);
    assert_int_equal(info.hash[1], 0x11);
    assert_int_equal(info.size_bytes, 5);
    assert_int_equal(template_find(directory, "sha256:" HEX, &info), 0);
    assert_string_equal(info.name, "");
}

static void nothing_else_is_found(void **state)
{
    struct template_info info;

    (void)state;
    assert_int_equal(template_find(directory, "other", &info), -ENOENT);
    assert_int_equal(template_find(directory, "stray", &info), -ENOENT);
    assert_int_equal(template_find(directory, "../base", &info), -EINVAL);
    assert_int_equal(template_find(directory, "", &info), -EINVAL);
    assert_int_equal(template_find(directory, HEX ".erofs", &info), -EINVAL);
    assert_int_equal(template_find(directory, "sha256:00", &info), -EINVAL);
}

static bool count(void *arg, const struct template_info *info)
{
    assert_string_equal(info->name, "base");
    ++*(int *)arg;
    return true;
}

static void only_names_are_listed(void **state)
{
    int listed = 0;

    (void)state;
    assert_int_equal(template_list(directory, count, &listed), 0);
    assert_int_equal(listed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_name_and_digest),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(only_names_are_listed),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
