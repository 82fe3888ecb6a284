/*
 * The sessions that `crownest login` has begun, one for each service: in
 * $XDG_CONFIG_HOME/crownest/sessions.json, else below ~/.config, for the user alone (0600). A token
 * is found by the address it was given for, so that it is never sent to another.
 */
#pragma once

#include "server/util/err.h"

#define SESSION_FILE_TOKEN_SIZE 128

/* 0; -ENOENT when there is none; -EPERM when others could read or write it; another -errno. */
int session_file_find(const char *target, char ret_token[SESSION_FILE_TOKEN_SIZE],
                      struct err *ret_err);

/* Puts it in place of an earlier one; token NULL: removes that. 0, or -errno. */
int session_file_put(const char *target, const char *token, struct err *ret_err);
