/*
 * Linked into the nest-init that tools/testing/coverage.sh measures. Where it runs there is no file
 * of the host, and it ends by being killed: so it counts in a file that was opened for it, see
 * coverage_sandboxd.c. Outside, called with the names of that file and of a profile, it writes the
 * profile of what was counted there.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/testing/coverage.h"

/* Of clang's run time. What is counted is added at a counter's address and this. */
extern intptr_t __llvm_profile_counter_bias __attribute__((visibility("hidden")));
char *__llvm_profile_begin_counters(void);
char *__llvm_profile_end_counters(void);
void __llvm_profile_set_filename(const char *name);
int __llvm_profile_write_file(void);

static size_t counters_size(void)
{
    return (size_t)(__llvm_profile_end_counters() - __llvm_profile_begin_counters());
}

static _Noreturn void write_profile(const char *counted, const char *profile)
{
    size_t size = counters_size();
    int fd = open(counted, O_RDONLY | O_CLOEXEC);
    if (read(fd, __llvm_profile_begin_counters(), size) != (ssize_t)size) {
        _exit(1);
    }
    __llvm_profile_set_filename(profile);
    _exit(__llvm_profile_write_file() == 0 ? 0 : 1);
}

__attribute__((constructor, no_profile_instrument_function)) static void begin(int argc,
                                                                               char **argv)
{
    if (argc == 3) {
        write_profile(argv[1], argv[2]);
    }
    void *map = mmap(NULL, counters_size(), PROT_READ | PROT_WRITE, MAP_SHARED, COVERAGE_FD, 0);
    (void)close(COVERAGE_FD);
    if (map != MAP_FAILED) {
        __llvm_profile_counter_bias = (char *)map - __llvm_profile_begin_counters();
    }
}
