#include "sandboxd/busy.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/loop.h"

#define LOOK_MS 250
#define CALM_LOOKS 4
#define MILLIS_PER_CPU 1000U
/* Of all sandboxes together; below it nobody's share matters. */
#define QUIET_MILLIS 100
#define CPU_TEXT_SIZE 5 /* "1023," */

static unsigned cpus[CPU_SETSIZE]; /* their numbers; the rest of this file counts places in it */
static uint32_t cpu_count;

int busy_init(struct sd_err *err)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0) {
        return sd_err_sys(err, "sched_getaffinity");
    }
    cpu_count = 0;
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) {
            cpus[cpu_count++] = i;
        }
    }
    return 0;
}

/* Thousandths of a CPU used since the sample, which is replaced; 0 when that is not known. */
static uint64_t used_since(struct sandbox_cpu_sample *sample, const char *id, int64_t now_ms)
{
    const struct sandbox_cpu_sample last = *sample;
    if (cgroup_get_cpu_used(id, &sample->used_usec) < 0) {
        return 0;
    }
    sample->at_ms = now_ms;
    bool known = last.at_ms != 0 && now_ms > last.at_ms && sample->used_usec >= last.used_usec;
    return known ? (sample->used_usec - last.used_usec) / (uint64_t)(now_ms - last.at_ms) : 0;
}

static uint32_t cpus_filled_by(uint32_t millis)
{
    uint32_t count = (millis + MILLIS_PER_CPU - 1) / MILLIS_PER_CPU;
    return count < cpu_count ? count : cpu_count;
}

/*
 * Where the fewest busy sandboxes are; of several such places the last, since much of what a host
 * does by itself happens on its first CPUs.
 */
static uint32_t choose_first_cpu(uint32_t count)
{
    uint16_t sandboxes[CPU_SETSIZE] = {0};
    uint32_t best = 0;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        const struct sandbox *s = sandbox_at(i);
        for (uint32_t n = 0; s->cpu.busy && n < cpus_filled_by(s->cpu.quota_millis); n++) {
            sandboxes[(s->cpu.first + n) % cpu_count]++;
        }
    }
    for (uint32_t first = 0; first < cpu_count; first++) {
        uint32_t sum = 0;
        for (uint32_t n = 0; n < count; n++) {
            sum += sandboxes[(first + n) % cpu_count];
        }
        if (sum <= least) {
            least = sum;
            best = first;
        }
    }
    return best;
}

/* What fails here and below leaves the sandbox as the others are. */
static void begin(struct sandbox *s)
{
    char list[CPU_SETSIZE * CPU_TEXT_SIZE + 1];
    size_t length = 0;
    uint32_t count = cpus_filled_by(s->cpu.quota_millis);
    s->cpu.first = choose_first_cpu(count);
    s->cpu.busy = true;
    for (uint32_t n = 0; n < count; n++) {
        length += (size_t)snprintf(list + length, sizeof(list) - length, n == 0 ? "%u" : ",%u",
                                   cpus[(s->cpu.first + n) % cpu_count]);
    }
    (void)cgroup_yield(s->id, list);
}

static void end(struct sandbox *s)
{
    s->cpu.busy = false;
    (void)cgroup_stop_yielding(s->id, s->cpu.quota_millis);
}

static bool know_quota(struct sandbox *s)
{
    return s->cpu.quota_millis != 0 || cgroup_get_cpu_quota(s->id, &s->cpu.quota_millis) == 0;
}

void busy_take_over(struct sandbox *sandbox)
{
    if (know_quota(sandbox)) {
        end(sandbox);
    }
}

static void look_at(struct sandbox *s, int64_t now_ms)
{
    struct sandbox_cpu *cpu = &s->cpu;
    uint64_t used = used_since(&cpu->sample, s->id, now_ms);
    if (!know_quota(s)) {
        return;
    }
    uint64_t all = (uint64_t)cpu_count * MILLIS_PER_CPU;
    uint64_t quota = cpu->quota_millis < all ? cpu->quota_millis : all;
    cpu->calm_looks = used * 2 < quota ? cpu->calm_looks + 1 : 0;
    if (!cpu->busy && used * 10 >= quota * 9) {
        begin(s);
    } else if (cpu->busy && cpu->calm_looks >= CALM_LOOKS) {
        end(s);
    }
}

int busy_check(void)
{
    static int64_t next_look_ms;
    static struct sandbox_cpu_sample together;
    static bool any_busy;
    uint32_t first = 0;
    int64_t now_ms = loop_now_ms();
    if (now_ms < next_look_ms) {
        return (int)(next_look_ms - now_ms);
    }
    while (first < sandbox_limit() && sandbox_at(first)->state != SANDBOX_RUNNING) {
        first++;
    }
    if (first == sandbox_limit()) {
        return -1;
    }
    next_look_ms = now_ms + LOOK_MS;
    if (used_since(&together, "", now_ms) < QUIET_MILLIS && !any_busy) {
        return LOOK_MS;
    }
    any_busy = false;
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        struct sandbox *s = sandbox_at(i);
        if (s->state == SANDBOX_RUNNING) {
            look_at(s, now_ms);
        }
        any_busy = any_busy || s->cpu.busy;
    }
    return LOOK_MS;
}
