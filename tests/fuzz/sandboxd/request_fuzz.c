/*
 * Feeds sequences of messages to sandboxd's table of requests, as a server that was taken over may
 * send them, and lets jails come up and die in between. The real requests, sandboxes and policy;
 * lifecycle and cgroups are played here.
 *
 * The input is a sequence of steps: one byte says what happens, see step(); a message is then a
 * length byte pair and as many bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/control.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNECTION 1
#define MAX_DUE 4096

static unsigned int answers; /* to the request under way */
static unsigned int due;     /* by creations and kills that go on */

static void check(int condition)
{
    if (!condition) {
        abort();
    }
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool take_answer(const struct sandbox_asker *asker, const struct sd_reply *reply,
                        const int *fds, size_t fd_count)
{
    (void)fds;
    check(asker->connection == CONNECTION);
    check(reply->version == SD_WIRE_VERSION && reply->op > 0 && reply->op < SD_OP_COUNT);
    check(reply->error <= 0 && reply->error > -4096);
    check(ends(reply->step, sizeof(reply->step)) && ends(reply->detail, sizeof(reply->detail)));
    check(fd_count == (reply->op == SD_ADOPT && reply->error == 0 ? SD_FD_COUNT : 0));
    if (reply->op != SD_INVENTORY || reply->sandbox[0] == '\0') {
        answers++;
    }
    return true;
}

/* --- what is played --- */

void lifecycle_create(struct sandbox *sandbox)
{
    struct sd_err err = {0};
    check(sandbox->state == SANDBOX_WAITING && policy_id_is_valid(sandbox->id));
    check(policy_check_limits(policy_get(), &sandbox->limits, &err) == 0);
    check(sandbox->creator.connection == CONNECTION);
    due++;
}

void lifecycle_kill(struct sandbox *sandbox)
{
    check(sandbox->state != SANDBOX_ABSENT && sandbox->state != SANDBOX_ENDING);
    check(sandbox->killer.connection == CONNECTION && !sandbox->unwanted);
    due++;
    if (sandbox->state == SANDBOX_BUILDING) {
        sandbox->unwanted = true;
    } else {
        sandbox->state = SANDBOX_ENDING;
    }
}

int control_connect(const char *id, int *ret_connection, struct sd_err *err)
{
    check(policy_id_is_valid(id));
    int fd = id[29] == '0' ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return sd_err_set(err, ECONNREFUSED, "connect to nest-init");
    }
    *ret_connection = fd;
    return 0;
}

int cgroup_get_usage(const char *id, struct cgroup_usage *ret_usage)
{
    check(policy_id_is_valid(id));
    *ret_usage = (struct cgroup_usage){.cpu_usec = 1};
    return 0;
}

int cgroup_set_frozen(const char *id, bool frozen)
{
    check(policy_id_is_valid(id));
    return id[29] == '0' && frozen ? -EIO : 0;
}

/* Time passes for one sandbox. */
static void advance(struct sandbox *s)
{
    switch (s->state) {
    case SANDBOX_WAITING:
        s->state = SANDBOX_BUILDING;
        break;
    case SANDBOX_BUILDING:
        s->state = s->unwanted ? SANDBOX_ENDING : SANDBOX_RUNNING;
        break;
    case SANDBOX_RUNNING:
    case SANDBOX_FROZEN:
        s->state = SANDBOX_DEAD;
        break;
    case SANDBOX_ENDING:
        sandbox_remove(s);
        break;
    default:
        break;
    }
}

/* --- the steps --- */

static void message(const uint8_t *data, size_t size, bool *greeted)
{
    struct sd_request request;
    unsigned int due_before = due;
    bool was_greeted = *greeted;
    memset(&request, 0xa5, sizeof(request));
    memcpy(&request, data, size < sizeof(request) ? size : sizeof(request));
    answers = 0;
    int error = requests_handle(CONNECTION, &request, size, greeted);
    check(error == 0 || error == -EPROTO);
    check(answers + (due - due_before) == (error == 0 ? 1 : 0));
    check(*greeted || error < 0);
    check(error == 0 || *greeted == was_greeted);
    if (error < 0) {
        *greeted = false; /* the connection ended; the next one begins */
    }
}

/* Returns how many bytes it took. */
static size_t step(const uint8_t *data, size_t size, bool *greeted)
{
    uint8_t what = data[0];
    if (what >= 0x80) {
        uint32_t slot = what & 0x7f;
        if (slot < sandbox_limit()) {
            advance(sandbox_at(slot));
        }
        return 1;
    }
    if (what >= 0x40) { /* a message of the right size, of which the input tells the beginning */
        struct sd_request request = {.version = SD_WIRE_VERSION, .op = what & 15};
        size_t given = size - 1 < sizeof(request) - 8 ? size - 1 : sizeof(request) - 8;
        memcpy((char *)&request + 8, data + 1, given);
        message((const uint8_t *)&request, sizeof(request), greeted);
        return 1 + given;
    }
    size_t length = size > 1 ? data[1] : 0;
    length = length < size - (size > 1 ? 2 : 1) ? length : size - (size > 1 ? 2 : 1);
    message(data + (size > 1 ? 2 : 1), length, greeted);
    return (size > 1 ? 2 : 1) + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool greeted = false;
    requests_init(policy_get(), take_answer);
    due = 0;
    while (size > 0 && due < MAX_DUE) {
        size_t took = step(data, size, &greeted);
        data += took;
        size -= took;
    }
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        if (sandbox_at(i)->state != SANDBOX_ABSENT) {
            sandbox_remove(sandbox_at(i));
        }
    }
    return 0;
}
