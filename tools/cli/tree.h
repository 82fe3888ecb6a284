/*
 * Files below a directory, named by relative paths that may come from elsewhere: they never lead
 * out of it, and no link is followed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/evp.h>

#define TREE_PATH_MAX 512
#define TREE_DIGEST_SIZE 65 /* SHA-256 in hexadecimal digits, NUL */

/* Components of [A-Za-z0-9._-], none beginning with a dot, separated by single slashes. */
bool tree_path_valid(const char *path);

/* A file that is being made. */
struct tree_file {
    int fd; /* -1: none */
    uint64_t size;
    EVP_MD_CTX *hash;
};

#define TREE_FILE_NONE ((struct tree_file){.fd = -1})

/* Makes it, and the directories above it. -EEXIST when it is there. 0 or -errno. */
int tree_create(int root, const char *path, struct tree_file *ret_file);
int tree_write(struct tree_file *file, const void *data, size_t size);
/* Closes it. ret_digest may be NULL. 0 or -errno, and then file is none in any case. */
int tree_close(struct tree_file *file, char ret_digest[TREE_DIGEST_SIZE]);

/* Opens a regular file for reading; returns the descriptor or -errno. */
int tree_open(int root, const char *path);

/* Gives everything in it, and itself, to a user. 0 or -errno. */
int tree_chown(const char *path, uid_t uid, gid_t gid);
/* Removes everything in it, and itself; the rest goes on after an error. */
void tree_remove(const char *path);
/* 0 when path is missing or an empty directory, -ENOTEMPTY, or another -errno. */
int tree_check_empty(const char *path);
