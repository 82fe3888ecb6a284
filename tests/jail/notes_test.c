/* What sandboxd makes of its notes when it starts again: of those that it cannot have written too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/jail/box.h"

#define FREE_SLOT "7"

static void path_of(const struct jail_daemon *daemon, const char *name, char ret_path[256])
{
    (void)snprintf(ret_path, 256, "%s/run/inventory/%s", daemon->dir, name);
}

static void put_note(const struct jail_daemon *daemon, const char *name, const char *text)
{
    char path[256];
    path_of(daemon, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool has_note(const struct jail_daemon *daemon, const char *name)
{
    char path[256];
    path_of(daemon, name, path);
    return access(path, F_OK) == 0;
}

static void read_note(const struct jail_daemon *daemon, const char *name, char ret_text[96])
{
    char path[256];
    path_of(daemon, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, ret_text, 95);
    assert_true(length > 0);
    ret_text[length] = '\0';
    close(fd);
}

/* The state of this one, and how many there are. */
static uint32_t state_of(struct jail_daemon *daemon, const char *id, unsigned int *ret_count)
{
    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    uint32_t found = 0;
    int none[SD_FD_COUNT];
    *ret_count = 0;
    while (reply.sandbox[0] != '\0') {
        found = memcmp(reply.sandbox, id, SD_ID_SIZE) == 0 ? reply.state : found;
        *ret_count += 1;
        assert_true(jail_receive(daemon->socket, &reply, none));
    }
    return found;
}

/* A sandbox that lives is untouched by whatever lies beside its note. */
static void what_is_no_note_is_passed_over(void **state)
{
    static const struct {
        const char *name;
        const char *text;
    } NOTES[] = {
        {"sbx_0123456789abcdefghjkmnpqrs", "no numbers"},
        {"sbx_0123456789abcdefghjkmnpqrt", ""},
        {"sbx_0123456789abcdefghjkmnpqrv", "7 1"},
        {"sbx_0123456789abcdefghjkmnpqrw", "4294967295 1 1\n"},
        {"sbx_0123456789ABCDEFGHJKMNPQRS", FREE_SLOT " 1 1\n"},
        {"sbx_short", FREE_SLOT " 1 1\n"},
        {"sbx_0123456789abcdefghjkmnpqrs_and_more", FREE_SLOT " 1 1\n"},
        {"other", FREE_SLOT " 1 1\n"},
    };
    struct jail_daemon *daemon = *state;
    unsigned int count;
    jail_crash(daemon);
    put_note(daemon, ".sbx_0123456789abcdefghjkmnpqrs", "half written");
    for (size_t i = 0; i < sizeof(NOTES) / sizeof(NOTES[0]); i++) {
        put_note(daemon, NOTES[i].name, NOTES[i].text);
    }
    jail_relaunch(daemon);
    assert_int_equal(state_of(daemon, box.id, &count), SD_STATE_RUNNING);
    assert_int_equal(count, 1);
    assert_false(has_note(daemon, ".sbx_0123456789abcdefghjkmnpqrs"));
    for (size_t i = 0; i < sizeof(NOTES) / sizeof(NOTES[0]); i++) {
        char path[256];
        path_of(daemon, NOTES[i].name, path);
        assert_int_equal(unlink(path), 0);
    }
}

/* Two cannot have the same range of ids: the second that is found is not taken over. */
static void a_slot_belongs_to_one(void **state)
{
    static const char OTHER[SD_ID_SIZE] = "sbx_0123456789abcdefghjkmnpqrs";
    struct jail_daemon *daemon = *state;
    unsigned int count;
    char text[96];
    char path[256];
    read_note(daemon, box.id, text);
    jail_crash(daemon);
    put_note(daemon, OTHER, text);
    /* Whichever of the two comes first in the directory: they are not both there. */
    jail_relaunch(daemon);
    (void)state_of(daemon, box.id, &count);
    assert_int_equal(count, 1);
    jail_crash(daemon);
    path_of(daemon, OTHER, path);
    assert_int_equal(unlink(path), 0);
    jail_relaunch(daemon);
    assert_int_equal(state_of(daemon, box.id, &count), SD_STATE_RUNNING);
    assert_int_equal(count, 1);
}

/* A number that now belongs to another process is no sign of life. */
static void a_number_of_a_process_is_not_enough(void **state)
{
    struct jail_daemon *daemon = *state;
    unsigned int count;
    unsigned int slot;
    unsigned int pid;
    unsigned long long started;
    char text[96];
    char wrong[96];
    read_note(daemon, box.id, text);
    assert_int_equal(sscanf(text, "%u %u %llu", &slot, &pid, &started), 3);
    const struct {
        unsigned int pid;
        unsigned long long started;
    } WRONG[] = {{pid, started + 1}, {pid + 4000000, started}, {(unsigned int)getpid(), started}};
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        jail_crash(daemon);
        (void)snprintf(wrong, sizeof(wrong), "%u %u %llu\n", slot, WRONG[i].pid, WRONG[i].started);
        put_note(daemon, box.id, wrong);
        jail_relaunch(daemon);
        assert_int_equal(state_of(daemon, box.id, &count), SD_STATE_DEAD);
    }
    jail_crash(daemon);
    put_note(daemon, box.id, text);
    jail_relaunch(daemon);
    assert_int_equal(state_of(daemon, box.id, &count), SD_STATE_RUNNING);
}

/* One that was never finished has no process: it goes by itself, and its slot is free again. */
static void one_that_was_never_built_is_removed(void **state)
{
    static const char OTHER[SD_ID_SIZE] = "sbx_0123456789abcdefghjkmnpqrs";
    struct jail_daemon *daemon = *state;
    unsigned int count;
    jail_crash(daemon);
    put_note(daemon, OTHER, FREE_SLOT " 0 0\n");
    jail_relaunch(daemon);
    struct sd_reply reply;
    do {
        struct sd_request request = jail_request(daemon, SD_KILL, OTHER);
        reply = jail_ask(daemon, &request, NULL);
    } while (reply.error == -EBUSY);
    assert_int_equal(reply.error, -ENOENT);
    assert_false(has_note(daemon, OTHER));
    assert_int_equal(state_of(daemon, box.id, &count), SD_STATE_RUNNING);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(what_is_no_note_is_passed_over),
        TEST(a_slot_belongs_to_one),
        TEST(a_number_of_a_process_is_not_enough),
        TEST(one_that_was_never_built_is_removed),
    };
    return fixture_main(tests);
}
