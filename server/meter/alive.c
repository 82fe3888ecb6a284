/* When the service was alive last, for those who ended while it was not. */
#include "server/meter/meter_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define ALIVE_ARENA_BYTES 4096

static struct schema_key alive_key(void)
{
    return schema_key("meter", "alive", NULL, NULL);
}

/* Where it cannot be read all starts of the host look the same, and only clocks tell them apart. */
void alive_boot_id(char ret_boot_id[BOOT_ID_SIZE])
{
    cleanup_fd int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, ret_boot_id, BOOT_ID_SIZE - 1);

    ret_boot_id[size > 0 ? size : 0] = '\0';
    ret_boot_id[strcspn(ret_boot_id, "\n")] = '\0';
    if (!ret_boot_id[0])
        (void)snprintf(ret_boot_id, BOOT_ID_SIZE, "unknown");
}

void alive_read(struct meter *meter)
{
    struct arena *arena = arena_new(ALIVE_ARENA_BYTES);
    struct schema_key key = alive_key();
    Crownest__Records__AliveRecord *record;

    if (record_get(meter->store, &key, &crownest__records__alive_record__descriptor, arena,
                   &record) == 0) {
        (void)snprintf(meter->alive_boot_id, sizeof(meter->alive_boot_id), "%s", record->boot_id);
        meter->alive_us = record->boot_us;
    }
    arena_free(arena);
}

void alive_write(const struct meter *meter)
{
    Crownest__Records__AliveRecord record = CROWNEST__RECORDS__ALIVE_RECORD__INIT;
    struct store_batch *batch = store_batch_new();
    struct schema_key key = alive_key();

    record.boot_id = (char *)(uintptr_t)meter->boot_id;
    record.boot_us = clock_boot_us();
    record_put(batch, &key, &record.base);
    (void)store_commit(meter->store, batch, STORE_UNSYNCED);
}
