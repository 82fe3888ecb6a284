#include "server/util/space.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define BALLAST_PART 2     /* of the reserve: enough to open the database anew */
#define DEFAULT_PART 50    /* of the disk */
#define ROOM_RETRY_MS 2000 /* room does not come back sooner */

struct space {
    int directory;
    int ballast;           /* -1: none can be had here */
    pthread_mutex_t mutex; /* of what follows */
    struct space_report now;
};

static bool measure(struct space *space)
{
    struct statvfs disk;

    if (fstatvfs(space->directory, &disk) < 0)
        return false;
    space->now.free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    space->now.total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    space->now.free_inodes = disk.f_files ? disk.f_favail : UINT64_MAX;
    return true;
}

/* What is free as far as the reserve is concerned. */
static uint64_t room(const struct space_report *report)
{
    return report->free_bytes + report->ballast_bytes;
}

static void drop_ballast(struct space *space)
{
    if (space->now.ballast_bytes == 0 || ftruncate(space->ballast, 0) < 0)
        return;
    space->now.ballast_bytes = 0;
    (void)measure(space);
}

/* A part of it would have to be accounted for: all or nothing. */
static void take_ballast(struct space *space)
{
    uint64_t size = space->now.reserve_bytes / BALLAST_PART;

    if (space->ballast < 0 || size == 0)
        return;
    if (fallocate(space->ballast, 0, 0, (off_t)size) < 0) {
        int error = errno;

        (void)!ftruncate(space->ballast, 0);
        if (error == EOPNOTSUPP) {
            (void)close(space->ballast);
            space->ballast = -1;
        }
        return;
    }
    space->now.ballast_bytes = size;
    (void)measure(space);
}

/* Holds the mutex. A disk that cannot be asked is taken to be as it was. */
static void refresh(struct space *space)
{
    if (!measure(space))
        return;
    if (space->now.ballast_bytes == 0 && space->now.free_bytes >= space->now.reserve_bytes)
        take_ballast(space);
}

static uint64_t default_reserve(uint64_t total)
{
    uint64_t reserve = total / DEFAULT_PART;

    if (reserve > SPACE_RESERVE_MAX)
        return SPACE_RESERVE_MAX;
    return reserve < SPACE_RESERVE_MIN ? SPACE_RESERVE_MIN : reserve;
}

/* One that an earlier process left may be of another size: what it has counts as what it had. */
static void find_ballast(struct space *space)
{
    struct stat file;

    space->ballast =
        openat(space->directory, "ballast", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (space->ballast < 0 || fstat(space->ballast, &file) < 0)
        return;
    space->now.ballast_bytes = (uint64_t)file.st_size;
    if (space->now.ballast_bytes != space->now.reserve_bytes / BALLAST_PART)
        drop_ballast(space);
}

int space_new(const char *directory, uint64_t reserve_bytes, struct space **ret_space,
              struct err *err)
{
    struct space *space = calloc(1, sizeof(*space));

    if (!space)
        abort();
    (void)pthread_mutex_init(&space->mutex, NULL);
    space->ballast = -1;
    space->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (space->directory < 0 || !measure(space)) {
        int error = errno;

        space_free(space);
        return err_set(err, error, "the room in %.200s cannot be read: %s", directory,
                       strerror(error));
    }
    space->now.reserve_bytes =
        reserve_bytes ? reserve_bytes : default_reserve(space->now.total_bytes);
    find_ballast(space);
    refresh(space);
    *ret_space = space;
    return 0;
}

void space_free(struct space *space)
{
    if (!space)
        return;
    if (space->ballast >= 0)
        (void)close(space->ballast);
    if (space->directory >= 0)
        (void)close(space->directory);
    (void)pthread_mutex_destroy(&space->mutex);
    free(space);
}

void space_look(struct space *space, struct space_report *ret_report)
{
    lock_scope(&space->mutex);
    refresh(space);
    *ret_report = space->now;
}

struct status space_admit(struct space *space)
{
    struct space_report report;
    struct status status;

    space_look(space, &report);
    if (room(&report) < report.reserve_bytes)
        status = status_error(STATUS_RESOURCE_EXHAUSTED, "DISK_FULL",
                              "the service's disk has %llu MiB free, and %llu MiB must stay free: "
                              "ask its operator to make room, then try again",
                              (unsigned long long)(room(&report) >> 20),
                              (unsigned long long)(report.reserve_bytes >> 20));
    else if (report.free_inodes < SPACE_RESERVE_INODES)
        status = status_error(STATUS_RESOURCE_EXHAUSTED, "DISK_FULL",
                              "the service's disk has room for %llu more files, and must have it "
                              "for %d: ask its operator to make room, then try again",
                              (unsigned long long)report.free_inodes, SPACE_RESERVE_INODES);
    else
        return STATUS_OK_VALUE;
    status.retryable = true;
    status.retry_after_ms = ROOM_RETRY_MS;
    return status;
}

void space_give_way(struct space *space)
{
    lock_scope(&space->mutex);
    drop_ballast(space);
}
