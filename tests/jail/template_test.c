/* Templates that sandboxd cannot mount: too many of them, no image, a path that is too long. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define MANY 200 /* more than are mounted at a time */

static char folder[64];

/* As the daemon has been given its templates, which is what names them. */
static void name_of(const uint8_t digest[SD_DIGEST_SIZE], char ret_path[256])
{
    int length = snprintf(ret_path, 256, "%s/", folder);
    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        length += snprintf(ret_path + length, 256 - (size_t)length, "%02x", digest[i]);
    }
    (void)snprintf(ret_path + length, 256 - (size_t)length, ".erofs");
}

static struct sd_reply create(struct jail_daemon *daemon, uint8_t number)
{
    struct sd_request request;
    jail_fill_create(daemon, &request);
    request.template_digest[0] ^= number;
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    if (reply.error == 0) {
        struct sd_request kill_it = jail_request(daemon, SD_KILL, request.sandbox);
        assert_int_equal(jail_ask(daemon, &kill_it, NULL).error, 0);
    }
    return reply;
}

/* A sandboxd whose templates are what was put into the folder. */
static void start_over(struct jail_daemon *daemon, const char *templates)
{
    const char *before = getenv("CROWNEST_TEST_TEMPLATES");
    char *kept = before == NULL ? NULL : strdup(before);
    assert_int_equal(setenv("CROWNEST_TEST_TEMPLATES", templates, 1), 0);
    jail_start(daemon);
    if (kept == NULL) {
        (void)unsetenv("CROWNEST_TEST_TEMPLATES");
    } else {
        assert_int_equal(setenv("CROWNEST_TEST_TEMPLATES", kept, 1), 0);
        free(kept);
    }
}

/* It has made more folders than jail_stop knows of. */
static void stop(struct jail_daemon *daemon)
{
    char command[256];
    int status;
    close(daemon->socket);
    assert_int_equal(kill(daemon->pid, SIGTERM), 0);
    assert_int_equal(waitpid(daemon->pid, &status, 0), daemon->pid);
    assert_int_equal(status, 0);
    (void)snprintf(command, sizeof(command), "rm -r %s", daemon->dir);
    assert_int_equal(system(command), 0);
}

static void put_link(const struct jail_daemon *daemon, const char *image, uint8_t number)
{
    uint8_t digest[SD_DIGEST_SIZE];
    char path[256];
    memcpy(digest, daemon->digest, SD_DIGEST_SIZE);
    digest[0] ^= number;
    name_of(digest, path);
    assert_int_equal(symlink(image, path), 0);
}

/* A folder whose base is the real one. */
static int make_folder(void **state)
{
    const struct jail_daemon *daemon = *state;
    const char *templates = getenv("CROWNEST_TEST_TEMPLATES");
    char base[PATH_MAX];
    char image[PATH_MAX];
    char path[256];
    (void)snprintf(folder, sizeof(folder), "/run/crownest-templates-XXXXXX");
    (void)snprintf(base, sizeof(base), "%s/base",
                   templates != NULL ? templates : "/var/lib/crownest/templates");
    if (mkdtemp(folder) == NULL || realpath(base, image) == NULL) {
        return -1;
    }
    put_link(daemon, image, 0);
    name_of(daemon->digest, path);
    (void)snprintf(base, sizeof(base), "%s/base", folder);
    return symlink(path, base);
}

static int remove_folder(void **state)
{
    char command[256];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static void there_is_room_for_so_many(void **state)
{
    const struct jail_daemon *daemon = *state;
    struct jail_daemon other;
    char image[256];
    name_of(daemon->digest, image);
    struct sd_reply reply = {0};
    uint8_t count = 0;
    for (uint8_t i = 1; i < MANY; i++) {
        put_link(daemon, image, i);
    }
    start_over(&other, folder);
    for (; reply.error == 0 && count < MANY; count++) {
        reply = create(&other, count);
    }
    assert_in_range(count, 16, MANY - 1);
    assert_int_equal(reply.error, -ENOSPC);
    assert_string_equal(reply.step, "image");
    /* Those that are there can be had still. */
    assert_int_equal(create(&other, 1).error, 0);
    stop(&other);
}

static void what_is_no_image_is_refused(void **state)
{
    const struct jail_daemon *daemon = *state;
    struct jail_daemon other;
    put_link(daemon, "/proc/self/exe", 1);
    put_link(daemon, "/dev/null", 2);
    put_link(daemon, "/", 3);
    start_over(&other, folder);
    for (uint8_t i = 1; i < 4; i++) {
        struct sd_reply reply = create(&other, i);
        assert_true(reply.error < 0);
        assert_string_equal(reply.step, "image");
        assert_true(reply.detail[0] != '\0');
    }
    assert_int_equal(create(&other, 0).error, 0);
    stop(&other);
}

/* One that the kernel takes, and to which the name of an image cannot be added. */
static void a_path_that_is_too_long_is_refused(void **state)
{
    struct jail_daemon other;
    char templates[PATH_MAX - 8] = "";
    (void)state;
    size_t length = strlen(folder);
    memcpy(templates, folder, length);
    while (length + 2 < sizeof(templates)) {
        memcpy(templates + length, "/.", 3);
        length += 2;
    }
    start_over(&other, templates);
    struct sd_reply reply = create(&other, 0);
    assert_int_equal(reply.error, -ENAMETOOLONG);
    assert_string_equal(reply.step, "image");
    stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
        TEST(there_is_room_for_so_many),
        TEST(what_is_no_image_is_refused),
        TEST(a_path_that_is_too_long_is_refused),
    };
    return fixture_main(tests);
}
