#include "sandboxd/requests.h"

#include <errno.h>
#include <string.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/control.h"
#include "sandboxd/io.h"
#include "sandboxd/lifecycle.h"

#define ALIVE (SANDBOX_RUNNING | SANDBOX_FROZEN)
#define NO_SANDBOX 0U /* the request names none */

static const struct sd_policy *policy;
static requests_answer *answer;

struct call {
    const struct sd_request *request;
    struct sandbox_asker asker;
    struct sandbox *sandbox; /* NULL = absent or not asked for */
};

struct rule {
    const char *name;
    unsigned int states; /* enum sandbox_state bits in which it is permitted */
    void (*run)(const struct call *call);
};

static void reply_with(const struct call *call, int error, const char *step, const char *detail)
{
    struct sd_err err = {0};
    struct sd_reply reply = {.version = SD_WIRE_VERSION,
                             .op = call->request->op,
                             .serial = call->request->serial,
                             .error = error};
    memcpy(reply.sandbox, call->request->sandbox, SD_ID_SIZE);
    if (error < 0) {
        (void)sd_err_set(&err, -error, detail);
        sd_err_step(&err, step);
        memcpy(reply.step, err.step, sizeof(reply.step));
        memcpy(reply.detail, err.detail, sizeof(reply.detail));
    }
    (void)answer(&call->asker, &reply, NULL, 0);
}

static void run_hello(const struct call *call)
{
    reply_with(call, 0, "", "");
}

static void run_create(const struct call *call)
{
    const struct sd_request *request = call->request;
    struct sd_err err = {0};
    if (policy_check_limits(policy, &request->limits, &err) < 0) {
        reply_with(call, err.code, err.step, err.detail);
        return;
    }
    struct sandbox *s = sandbox_add(policy, request->sandbox);
    if (s == NULL) {
        reply_with(call, -EAGAIN, "slot", "as many sandboxes as the policy allows");
        return;
    }
    memcpy(s->template_digest, request->template_digest, SD_DIGEST_SIZE);
    s->limits = request->limits;
    s->creator = call->asker;
    lifecycle_create(s);
}

static void run_kill(const struct call *call)
{
    if (call->sandbox->unwanted) {
        reply_with(call, -EALREADY, "state", "is being killed");
        return;
    }
    call->sandbox->killer = call->asker;
    lifecycle_kill(call->sandbox);
}

static void run_adopt(const struct call *call)
{
    const struct sandbox *s = call->sandbox;
    struct sd_err err = {0};
    struct sd_reply reply = {
        .version = SD_WIRE_VERSION, .op = SD_ADOPT, .serial = call->request->serial};
    io_cleanup_fd int control = -1;
    if (control_connect(s->id, &control, &err) < 0) {
        reply_with(call, err.code, "control", err.detail);
        return;
    }
    const int fds[SD_FD_COUNT] = {[SD_FD_CONTROL] = control, [SD_FD_PIDFD] = s->pidfd};
    memcpy(reply.sandbox, s->id, SD_ID_SIZE);
    (void)answer(&call->asker, &reply, fds, SD_FD_COUNT);
}

static uint32_t wire_state(const struct sandbox *s)
{
    switch (s->state) {
    case SANDBOX_RUNNING:
        return SD_STATE_RUNNING;
    case SANDBOX_FROZEN:
        return SD_STATE_FROZEN;
    case SANDBOX_DEAD:
        return SD_STATE_DEAD;
    default:
        return 0; /* comes or goes: its own reply tells */
    }
}

static void run_inventory(const struct call *call)
{
    struct sd_reply reply = {
        .version = SD_WIRE_VERSION, .op = SD_INVENTORY, .serial = call->request->serial};
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        const struct sandbox *s = sandbox_at(i);
        reply.state = wire_state(s);
        if (reply.state == 0) {
            continue;
        }
        struct cgroup_usage usage = {0};
        (void)cgroup_get_usage(s->id, &usage);
        reply.cpu_usec = usage.cpu_usec;
        memcpy(reply.sandbox, s->id, SD_ID_SIZE);
        (void)answer(&call->asker, &reply, NULL, 0);
    }
    reply_with(call, 0, "", "");
}

static void run_stats(const struct call *call)
{
    struct sd_reply reply = {
        .version = SD_WIRE_VERSION, .op = SD_STATS, .serial = call->request->serial};
    struct cgroup_usage usage = {0};
    int error = cgroup_get_usage(call->sandbox->id, &usage);
    if (error < 0) {
        reply_with(call, error, "usage", "read the cgroup");
        return;
    }
    reply.cpu_usec = usage.cpu_usec;
    reply.memory_peak_bytes = usage.memory_peak_bytes;
    reply.memory_bytes = usage.memory_bytes;
    reply.processes = usage.processes;
    reply.oom_kills = usage.oom_kills;
    memcpy(reply.sandbox, call->sandbox->id, SD_ID_SIZE);
    (void)answer(&call->asker, &reply, NULL, 0);
}

static void set_frozen(const struct call *call, bool frozen)
{
    int error = cgroup_set_frozen(call->sandbox->id, frozen);
    if (error == 0) {
        call->sandbox->state = frozen ? SANDBOX_FROZEN : SANDBOX_RUNNING;
    }
    reply_with(call, error, "freeze", "cgroup.freeze");
}

static void run_freeze(const struct call *call)
{
    set_frozen(call, true);
}

static void run_thaw(const struct call *call)
{
    set_frozen(call, false);
}

static const struct rule RULES[SD_OP_COUNT] = {
    [SD_HELLO] = {"hello", NO_SANDBOX, run_hello},
    [SD_CREATE] = {"create", SANDBOX_ABSENT, run_create},
    [SD_KILL] = {"kill", ALIVE | SANDBOX_DEAD | SANDBOX_WAITING | SANDBOX_BUILDING, run_kill},
    [SD_ADOPT] = {"adopt", ALIVE, run_adopt},
    [SD_INVENTORY] = {"inventory", NO_SANDBOX, run_inventory},
    [SD_STATS] = {"stats", ALIVE, run_stats},
    [SD_FREEZE] = {"freeze", SANDBOX_RUNNING, run_freeze},
    [SD_THAW] = {"thaw", SANDBOX_FROZEN, run_thaw},
};

static int refuse_state(const struct call *call, enum sandbox_state state)
{
    int error = -EBUSY;
    const char *detail = "not in this state of the sandbox";
    if (state == SANDBOX_ABSENT) {
        error = -ENOENT;
        detail = "no such sandbox";
    } else if (call->request->op == SD_CREATE) {
        error = -EEXIST;
        detail = "there is a sandbox of this id";
    }
    reply_with(call, error, "state", detail);
    return 0;
}

static bool is_zero(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Fields that the op does not use must be zero, so that they can get a meaning later. */
static bool is_well_formed(const struct sd_request *request, const struct rule *rule)
{
    if (rule->states == NO_SANDBOX ? !is_zero(request->sandbox, sizeof(request->sandbox))
                                   : !policy_id_is_valid(request->sandbox)) {
        return false;
    }
    return request->op == SD_CREATE ||
           (is_zero(request->template_digest, sizeof(request->template_digest)) &&
            is_zero(&request->limits, sizeof(request->limits)));
}

int requests_handle(uint64_t connection, const struct sd_request *request, size_t size,
                    bool *greeted)
{
    if (size != sizeof(*request) || request->version != SD_WIRE_VERSION || request->op == 0 ||
        request->op >= SD_OP_COUNT || *greeted == (request->op == SD_HELLO)) {
        return -EPROTO;
    }
    const struct rule *rule = &RULES[request->op];
    if (!is_well_formed(request, rule)) {
        return -EPROTO;
    }
    *greeted = true;
    struct call call = {.request = request,
                        .asker = {.connection = connection, .serial = request->serial}};
    if (rule->states != NO_SANDBOX) {
        call.sandbox = sandbox_find(request->sandbox);
        enum sandbox_state state = call.sandbox == NULL ? SANDBOX_ABSENT : call.sandbox->state;
        if ((rule->states & state) == 0) {
            return refuse_state(&call, state);
        }
    }
    rule->run(&call);
    return 0;
}

void requests_init(const struct sd_policy *new_policy, requests_answer *new_answer)
{
    policy = new_policy;
    answer = new_answer;
}
