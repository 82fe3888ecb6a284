/*
 * What went wrong, as one fixed-size value: which step, which errno, what was tried. No allocation
 * and no formatting, so that it may be filled between clone and exec.
 */
#pragma once

#define SD_STEP_SIZE 32
#define SD_ERR_DETAIL_SIZE 160

struct sd_err {
    int code; /* a negative errno; 0 when nothing failed */
    char step[SD_STEP_SIZE];
    char detail[SD_ERR_DETAIL_SIZE];
};

/* Notes errno and what was tried (cut to fit). Returns -errno, so that a caller can return it. */
int sd_err_sys(struct sd_err *err, const char *what);

/* The same with a given errno (positive). Returns -code. */
int sd_err_set(struct sd_err *err, int code, const char *what);

/* Names the step that failed, unless a deeper one was named already. */
void sd_err_step(struct sd_err *err, const char *step);
