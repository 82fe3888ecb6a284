#include "tools/cli/input.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "bindings/c/crownest_command.h"
#include "server/util/clock.h"
#include "tools/cli/local_terminal.h"
#include "tools/cli/retry.h"

#define PAUSED_MS 500  /* before a paused sandbox is tried again */
#define STALLED_MS 100 /* after a request that moved nothing */

/* What was typed last, for the escape. */
enum { LINE_BEGINS, LINE_TILDE, LINE_GOES_ON };

size_t input_filter(unsigned char *state, unsigned char *data, size_t len, bool *ret_end)
{
    unsigned char out[INPUT_PART_SIZE + 1];
    size_t count = 0;

    for (size_t i = 0; i < len && !*ret_end; i++) {
        bool escaped = *state == LINE_TILDE;

        if (*state == LINE_BEGINS && data[i] == '~') {
            *state = LINE_TILDE;
            continue;
        }
        *ret_end = escaped && data[i] == '.';
        if (*ret_end)
            break;
        if (escaped && data[i] != '~')
            out[count++] = '~';
        out[count++] = data[i];
        *state = data[i] == '\r' || data[i] == '\n' ? LINE_BEGINS : LINE_GOES_ON;
    }
    memcpy(data, out, count);
    return count;
}

/* Reads what comes next, behind what was not sent yet. */
static void read_ahead(struct input *input)
{
    unsigned char *at = input->ahead + input->ahead_len;
    ssize_t len = read(STDIN_FILENO, at, INPUT_PART_SIZE - input->ahead_len);

    if (len < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    input->ended = len <= 0;
    if (len > 0 && input->terminal)
        len = (ssize_t)input_filter(&input->line_state, at, (size_t)len, &input->escaped);
    if (len > 0)
        input->ahead_len += (size_t)len;
    if (!input->escaped)
        return;
    input->ended = true;
    (void)kill(getpid(), SIGTERM);
}

/*
 * True: it was asked to stop. What is typed meanwhile is read, for the escape must work also when
 * nothing can be sent.
 */
static bool pause_for(struct input *input, int ms)
{
    uint64_t now = clock_monotonic_ms();
    uint64_t end = now + (uint64_t)ms;

    for (;;) {
        bool room = !input->ended && input->ahead_len < INPUT_PART_SIZE;
        struct pollfd polls[2] = {
            {.fd = input->stop, .events = POLLIN},
            {.fd = input->terminal && room ? STDIN_FILENO : -1, .events = POLLIN}};
        int count = poll(polls, 2, (int)(end - now));

        if (count > 0 && polls[0].revents)
            return true;
        if (count > 0)
            read_ahead(input);
        now = clock_monotonic_ms();
        if (now >= end)
            return false;
    }
}

static void report(const struct crownest_error *error)
{
    const char *end = local_terminal_is_raw() ? "\r\n" : "\n";

    fputs("crownest: input: ", stderr);
    text_print(error->message, stderr);
    fputs(end, stderr);
}

bool input_is_unwanted(const struct crownest_error *error)
{
    return !strcmp(error->reason, "COMMAND_NOT_RUNNING") || !strcmp(error->reason, "INPUT_CLOSED");
}

/* What to do after a request that failed: wait and try again, or leave it. */
static bool is_worth_repeating(struct input *input, struct retry *retry,
                               const struct crownest_error *error)
{
    if (!strcmp(error->reason, "SANDBOX_PAUSED"))
        return !pause_for(input, PAUSED_MS);
    int pause_ms = retry_pause(retry, error);

    if (pause_ms >= 0)
        return !pause_for(input, pause_ms);
    if (!input_is_unwanted(error))
        report(error);
    return false;
}

/* One request. *ret_closed: the input is closed. */
static int send_part(struct input *input, unsigned char *data, size_t len, bool close_it,
                     bool *ret_closed, struct crownest_error *error)
{
    Crownest__V1__WriteStdinRequest request = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *response;

    request.command_id = input->command_id;
    request.offset = input->offset;
    request.data = (ProtobufCBinaryData){.data = data, .len = len};
    request.close = close_it;
    int result = crownest_command_write_stdin(input->client, &request, NULL, &response, error);
    if (result)
        return result;
    input->offset = response->offset;
    *ret_closed = response->closed;
    crownest__v1__write_stdin_response__free_unpacked(response, NULL);
    return 0;
}

/* All of it, however long the command does not read. False: there is no more to do. */
static bool send_all(struct input *input, unsigned char *data, size_t len, bool close_it)
{
    struct retry retry = RETRY(RETRY_WINDOW_MS);
    uint64_t begin = input->offset;
    struct crownest_error error;
    bool closed = false;

    while (input->offset < begin + len || (close_it && !closed)) {
        uint64_t before = input->offset;
        /* Somebody else may have written more than this. */
        size_t at = before - begin < len ? (size_t)(before - begin) : len;

        if (send_part(input, data + at, len - at, close_it, &closed, &error)) {
            if (!is_worth_repeating(input, &retry, &error))
                return false;
            continue;
        }
        retry_reset(&retry);
        if (pause_for(input, input->offset > before || closed ? 0 : STALLED_MS))
            return false;
    }
    return !close_it;
}

static void send_size(struct input *input)
{
    Crownest__V1__ResizeCommandRequest request = CROWNEST__V1__RESIZE_COMMAND_REQUEST__INIT;
    Crownest__V1__TerminalSize size = CROWNEST__V1__TERMINAL_SIZE__INIT;
    Crownest__V1__ResizeCommandResponse *response;
    struct retry retry = RETRY(RETRY_WINDOW_MS);
    struct crownest_error error;
    int result;

    request.command_id = input->command_id;
    request.terminal = &size;
    do {
        if (!local_terminal_size(&size.rows, &size.columns))
            return;
        result = crownest_command_resize(input->client, &request, NULL, &response, &error);
    } while (result && is_worth_repeating(input, &retry, &error));
    if (!result)
        crownest__v1__resize_command_response__free_unpacked(response, NULL);
}

/* False: no more input comes, or is wanted. */
static bool take_input(struct input *input)
{
    static unsigned char data[INPUT_PART_SIZE + 1];

    if (!input->ahead_len && !input->ended)
        read_ahead(input);
    size_t len = input->ahead_len;
    bool last = input->ended;
    memcpy(data, input->ahead, len);
    input->ahead_len = 0;
    return send_all(input, data, len, last && !input->escaped) && !last;
}

static void take_resize(struct input *input)
{
    struct signalfd_siginfo info;

    (void)!read(input->resizes, &info, sizeof(info));
    send_size(input);
}

static void *pass_on(void *argument)
{
    struct input *input = argument;
    struct pollfd polls[3] = {{.fd = input->stop, .events = POLLIN},
                              {.fd = input->resizes, .events = POLLIN},
                              {.fd = STDIN_FILENO, .events = POLLIN}};

    /* It may have changed since the command was asked for. */
    if (input->terminal)
        send_size(input);
    for (;;) {
        bool waiting = polls[2].fd >= 0 && (input->ahead_len || input->ended);

        if (poll(polls, 3, waiting ? 0 : -1) < 0)
            continue;
        if (polls[0].revents)
            return NULL;
        if (polls[1].revents)
            take_resize(input);
        if ((waiting || polls[2].revents) && !take_input(input))
            polls[2].fd = -1;
    }
}

void input_prepare(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGWINCH);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int input_find_offset(struct crownest_client *client, char *command_id, uint64_t *ret_offset,
                      struct crownest_error *ret_error)
{
    Crownest__V1__WriteStdinRequest request = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *response;

    request.command_id = command_id;
    int result = crownest_command_write_stdin(client, &request, NULL, &response, ret_error);
    if (result)
        return result;
    *ret_offset = response->offset;
    crownest__v1__write_stdin_response__free_unpacked(response, NULL);
    return 0;
}

int input_start(struct input *input, struct crownest_client *client, const char *command_id,
                uint64_t offset, bool terminal)
{
    sigset_t set;

    *input =
        (struct input){.client = client, .terminal = terminal, .offset = offset, .resizes = -1};
    (void)snprintf(input->command_id, sizeof(input->command_id), "%s", command_id);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGWINCH);
    input->stop = eventfd(0, EFD_CLOEXEC);
    if (input->stop < 0)
        return -errno;
    if (terminal)
        input->resizes = signalfd(-1, &set, SFD_CLOEXEC);
    int result = pthread_create(&input->thread, NULL, pass_on, input);
    input->running = !result;
    if (result) {
        (void)close(input->stop);
        if (input->resizes >= 0)
            (void)close(input->resizes);
    }
    return -result;
}

void input_stop(struct input *input)
{
    uint64_t one = 1;

    if (!input->running)
        return;
    (void)!write(input->stop, &one, sizeof(one));
    (void)pthread_join(input->thread, NULL);
    input->running = false;
    (void)close(input->stop);
    if (input->resizes >= 0)
        (void)close(input->resizes);
}
