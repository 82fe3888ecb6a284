#include "sandboxd/sandbox.h"

#include <string.h>

#include "sandboxd/io.h"

static struct sandbox table[SD_MAX_SANDBOXES];
static uint32_t limit;

struct sandbox *sandbox_at(uint32_t slot)
{
    return &table[slot];
}

uint32_t sandbox_slot(const struct sandbox *sandbox)
{
    return (uint32_t)(sandbox - table);
}

uint32_t sandbox_limit(void)
{
    return limit;
}

static bool is_free(uint32_t slot)
{
    return slot >= limit || table[slot].state == SANDBOX_ABSENT;
}

struct sandbox *sandbox_find(const char id[SD_ID_SIZE])
{
    for (uint32_t i = 0; i < limit; i++) {
        if (!is_free(i) && memcmp(table[i].id, id, SD_ID_SIZE) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static struct sandbox *occupy(uint32_t slot, const char id[SD_ID_SIZE], enum sandbox_state state)
{
    for (; limit <= slot; limit++) {
        table[limit].state = SANDBOX_ABSENT;
    }
    struct sandbox *s = &table[slot];
    *s = (struct sandbox){.state = state, .pidfd = -1, .control = -1, .work = {.socket = -1}};
    memcpy(s->id, id, SD_ID_SIZE);
    return s;
}

struct sandbox *sandbox_add(const struct sd_policy *policy, const char id[SD_ID_SIZE])
{
    uint32_t slot = 0;
    while (slot < policy->max_sandboxes && !is_free(slot)) {
        slot++;
    }
    return slot == policy->max_sandboxes ? NULL : occupy(slot, id, SANDBOX_WAITING);
}

struct sandbox *sandbox_restore(const struct sd_policy *policy, const char id[SD_ID_SIZE],
                                uint32_t slot)
{
    bool possible = slot < policy->max_sandboxes && is_free(slot) && sandbox_find(id) == NULL;
    return possible ? occupy(slot, id, SANDBOX_DEAD) : NULL;
}

void sandbox_remove(struct sandbox *sandbox)
{
    io_close(&sandbox->pidfd);
    io_close(&sandbox->control);
    io_close(&sandbox->work.socket);
    *sandbox = (struct sandbox){.state = SANDBOX_ABSENT};
}
