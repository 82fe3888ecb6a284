/*
 * Settings of the kernel that weaken isolation when they are wrong. Jails are refused all of this
 * anyhow: it is a matter of what else runs on the host, of crownestd or sandboxd should they be
 * taken over, and of what a jail's filter may have missed. `sandboxd --check-host` and `crownest
 * doctor` look at them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct host_setting {
    const char *what; /* for a person, when it is right */
    const char *name; /* as sysctl(8) has it, unless it has a path */
    long least;       /* right from here … */
    long most;        /* … to here */
    long better;
    /* For what is no number below /proc/sys. */
    const char *path;
    bool (*is_right)(const char *text);
    const char *remedy;
};

extern const struct host_setting host_settings[];
extern const size_t host_setting_count;

#define HOST_SETTING_PATH_SIZE 128

/* The file that the kernel shows it in. A kernel that has none cannot have it wrong. */
void host_setting_path(const struct host_setting *setting, char ret_path[HOST_SETTING_PATH_SIZE]);

/* text: what is in the file. */
bool host_setting_is_right(const struct host_setting *setting, const char *text);
