/* Files, seen from inside: what is read, written, listed, found, and what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/box.h"

static void written_file_is_read_back(void **state)
{
    static char data[3 * 1024 * 1024 + 17];
    static char back[sizeof(data) + 1];
    int fd;
    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)(i * 31 + i / 255);
    }
    struct nest_reply reply =
        jail_write(&box, "a/b/data.bin", NEST_MAKE_PARENTS, data, sizeof(data));
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, sizeof(data));
    reply = jail_file(&box, NEST_READ, "/workspace/a/b/data.bin", NEST_NO_SYMLINKS, -1, &fd);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, sizeof(data));
    assert_int_equal(read(fd, back, sizeof(back)), sizeof(data));
    assert_memory_equal(data, back, sizeof(data));
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
    jail_shell(&box, "stat -c '%U %G %a' a a/b/data.bin", &run);
    assert_string_equal(run.out, "user user 755\nuser user 644\n");
}

static void rewriting_keeps_the_mode(void **state)
{
    (void)state;
    jail_shell(&box, "echo old > run.sh; chmod 750 run.sh", &run);
    assert_int_equal(jail_write(&box, "run.sh", 0, "new\n", 4).error, 0);
    jail_shell(&box, "cat run.sh; stat -c %a run.sh; ls -A", &run);
    assert_string_equal(run.out, "new\n750\nrun.sh\n");
}

static void upload_given_up_leaves_nothing(void **state)
{
    int pipes[2];
    const uint32_t size = 100;
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], &size, sizeof(size)), sizeof(size));
    assert_int_equal(write(pipes[1], "half", 4), 4);
    close(pipes[1]);
    assert_int_equal(jail_file(&box, NEST_WRITE, "half.txt", 0, pipes[0], NULL).error, -ECANCELED);
    jail_shell(&box, "ls -A", &run);
    assert_string_equal(run.out, "");
}

static void full_disk_is_told_and_leaves_nothing(void **state)
{
    const size_t size = 128U << 20;
    char *data = calloc(1, size);
    (void)state;
    assert_non_null(data);
    assert_int_equal(jail_write(&box, "big", 0, data, size).error, -ENOSPC);
    free(data);
    jail_shell(&box,
               "ls -A; dd if=/dev/zero of=x bs=1M count=200 2>&1 | grep -c 'No space'; rm x; "
               "echo fine > y && cat y",
               &run);
    assert_string_equal(run.out, "1\nfine\n");
}

static void only_regular_files_are_read(void **state)
{
    static const struct {
        const char *path;
        uint32_t flags;
        int error;
    } CASES[] = {
        {"fifo", 0, -EINVAL},
        {"/workspace", 0, -EISDIR},
        {"/dev/null", 0, -EINVAL},
        {"/dev/zero", 0, -EINVAL},
        {"socket", 0, -ENXIO},
        {"missing", 0, -ENOENT},
        {"shadow", NEST_NO_SYMLINKS, -ELOOP},
        {"shadow", 0, -EACCES},
        {"dir/passwd", NEST_NO_SYMLINKS, -ELOOP},
        {"dir/passwd", 0, 0},
        {"../workspace/plain", 0, 0},
        {"/etc/shadow", 0, -EACCES},
        {"/proc/self/fd/3", 0, -ELOOP},
        {"/proc/1/environ", 0, -ENOENT},
        {"", 0, -EINVAL},
    };
    (void)state;
    jail_shell(&box,
               "mkfifo fifo; ln -s /etc/shadow shadow; ln -s /etc dir; echo x > plain; "
               "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>\"socket\",Listen=>1)'",
               &run);
    assert_string_equal(run.err, "");
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        int fd;
        struct nest_reply reply =
            jail_file(&box, NEST_READ, CASES[i].path, CASES[i].flags, -1, &fd);
        if (reply.error != CASES[i].error) {
            print_error("%s: %d\n", CASES[i].path, reply.error);
        }
        assert_int_equal(reply.error, CASES[i].error);
        assert_int_equal(fd >= 0, reply.error == 0);
        if (fd >= 0) {
            close(fd);
        }
    }
}

static void writing_stays_within_the_users_rights(void **state)
{
    static const struct {
        const char *path;
        uint32_t flags;
        int error;
    } CASES[] = {
        {"/etc/passwd", 0, -EACCES},
        {"/root/x", 0, -EACCES},
        {"/dev/x", 0, -EROFS},
        {"/proc/sys/kernel/hostname", 0, -ENOENT},
        {"no/parent", 0, -ENOENT},
        {"/workspace", 0, -EISDIR},
        {"dir", 0, -EISDIR},
        {"dir/", 0, -EISDIR},
        {"dir/..", 0, -EISDIR},
        {"plain/x", 0, -ENOTDIR},
        {"plain/x", NEST_MAKE_PARENTS, -ENOTDIR},
        {"link", 0, 0},
    };
    (void)state;
    jail_shell(&box, "mkdir dir; echo x > plain; ln -s /etc/passwd link", &run);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct nest_reply reply = jail_write(&box, CASES[i].path, CASES[i].flags, "x", 1);
        if (reply.error != CASES[i].error) {
            print_error("%s: %d\n", CASES[i].path, reply.error);
        }
        assert_int_equal(reply.error, CASES[i].error);
    }
}

/* Runs a listing; names are appended to ret_names, each with a newline. */
static int list(uint32_t op, const char *path, char *ret_names, size_t size)
{
    int pipes[2];
    size_t length = 0;
    assert_int_equal(pipe(pipes), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) > 0);
    struct nest_reply reply = jail_file(&box, op, path, 0, pipes[1], NULL);
    uint64_t count = 0;
    struct nest_entry entry;
    ret_names[0] = '\0';
    while (read(pipes[0], &entry, sizeof(entry)) == (ssize_t)sizeof(entry)) {
        assert_true(length + entry.name_bytes + 2 < size);
        assert_int_equal(read(pipes[0], ret_names + length, entry.name_bytes), entry.name_bytes);
        length += entry.name_bytes;
        ret_names[length++] = S_ISDIR(entry.type) ? '/' : S_ISLNK(entry.type) ? '@' : '\n';
        ret_names[length] = '\0';
        count++;
    }
    close(pipes[0]);
    assert_int_equal(reply.size_bytes, count);
    return reply.error;
}

static void directories_are_listed(void **state)
{
    char names[4096];
    (void)state;
    jail_shell(&box, "mkdir d; echo x > d/one", &run);
    assert_int_equal(list(NEST_LIST, "d", names, sizeof(names)), 0);
    assert_string_equal(names, "one\n");
    assert_int_equal(list(NEST_LIST, "d/one", names, sizeof(names)), -ENOTDIR);
    assert_int_equal(list(NEST_LIST, "/root", names, sizeof(names)), -EACCES);
}

static void patterns_find_files_but_follow_no_symlink(void **state)
{
    char names[4096];
    (void)state;
    jail_shell(&box,
               "mkdir -p out/a; echo x > out/a/r.html; echo y > out/.h.html; ln -s /etc l; "
               "ln -s /etc/passwd out/a/s.html",
               &run);
    assert_int_equal(list(NEST_GLOB, "out/*/r.h?ml", names, sizeof(names)), 0);
    assert_string_equal(names, "/workspace/out/a/r.html\n");
    assert_int_equal(list(NEST_GLOB, "/workspace/out/*/s*", names, sizeof(names)), 0);
    assert_string_equal(names, "/workspace/out/a/s.html@");
    assert_int_equal(list(NEST_GLOB, "l/pass*", names, sizeof(names)), 0);
    assert_string_equal(names, "");
    assert_int_equal(list(NEST_GLOB, "out/*.html", names, sizeof(names)), 0);
    assert_string_equal(names, "");
    assert_int_equal(list(NEST_GLOB, "../*", names, sizeof(names)), -EINVAL);
}

static void workers_cannot_be_reached_from_inside(void **state)
{
    struct nest_request request = {.op = NEST_WRITE};
    struct nest_reply reply;
    int pipes[2];
    int fds[3];
    const uint32_t end = 0;
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    (void)snprintf(request.file.path, sizeof(request.file.path), "slow");
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(file), pipes[0]);
    /* Any process with the user's rights would die of this. */
    const char *const argv[] = {"sh", "-c", "kill -KILL -1; kill -STOP -1; echo alive", NULL};
    struct nest_reply spawned = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(spawned.error, 0);
    jail_wait(&box, spawned.command, &run);
    assert_int_equal(write(pipes[1], &end, sizeof(end)), sizeof(end));
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    (void)jail_nest_receive(&box, &reply, fds);
    assert_int_equal(reply.op, NEST_WRITE);
    assert_int_equal(reply.error, 0);
    close(pipes[0]);
    close(pipes[1]);
}

static void too_many_operations_are_refused(void **state)
{
    int pipes[2];
    int busy = 0;
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    for (int i = 0; i < NEST_MAX_WORKERS + 8; i++) {
        struct nest_request request = {.op = NEST_WRITE};
        (void)snprintf(request.file.path, sizeof(request.file.path), "f%d", i);
        jail_nest_send(&box, &request, NEST_REQUEST_SIZE(file), pipes[0]);
    }
    close(pipes[0]);
    for (int i = 0; i < 8; i++) {
        struct nest_reply reply;
        int fds[3];
        (void)jail_nest_receive(&box, &reply, fds);
        busy += reply.error == -EBUSY;
    }
    assert_int_equal(busy, 8);
    close(pipes[1]);
    for (int i = 0; i < NEST_MAX_WORKERS; i++) {
        struct nest_reply reply;
        int fds[3];
        (void)jail_nest_receive(&box, &reply, fds);
        assert_int_equal(reply.error, -ECANCELED);
    }
}

static void ports_inside_are_reached(void **state)
{
    const char *const argv[] = {
        "perl", "-MIO::Socket::INET", "-e",
        "$s=IO::Socket::INET->new(LocalAddr=>'127.0.0.1',LocalPort=>8080,Listen=>1) or die; "
        "$|=1; print \"up\\n\"; $c=$s->accept; print $c 'hi'",
        NULL};
    char text[8] = {0};
    int fds[3];
    int fd;
    (void)state;
    assert_int_equal(jail_connect_port(&box, 8080, &fd).error, -ECONNREFUSED);
    assert_int_equal(jail_connect_port(&box, 0, &fd).error, -EINVAL);
    assert_int_equal(jail_connect_port(&box, 70000, &fd).error, -EINVAL);
    struct nest_reply spawned = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(read(fds[0], text, 3), 3);
    assert_int_equal(jail_connect_port(&box, 8080, &fd).error, 0);
    assert_int_equal(read(fd, text, 2), 2);
    assert_memory_equal(text, "hi", 2);
    close(fd);
    jail_wait(&box, spawned.command, &run);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(written_file_is_read_back),
        TEST(rewriting_keeps_the_mode),
        TEST(upload_given_up_leaves_nothing),
        TEST(full_disk_is_told_and_leaves_nothing),
        TEST(only_regular_files_are_read),
        TEST(writing_stays_within_the_users_rights),
        TEST(directories_are_listed),
        TEST(patterns_find_files_but_follow_no_symlink),
        TEST(workers_cannot_be_reached_from_inside),
        TEST(too_many_operations_are_refused),
        TEST(ports_inside_are_reached),
    };
    return fixture_main(tests);
}
