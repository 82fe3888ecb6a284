/*
 * What a library function says when it fails: beside its negative errno, what was tried. The caller
 * owns the struct; a NULL is taken everywhere and means that nobody wants to know.
 */
#pragma once

struct err {
    int code; /* positive errno */
    char message[256];
};

/* Fills err and returns -code, so that callers can `return err_set(...)`. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
