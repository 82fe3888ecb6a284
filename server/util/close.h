/* Closing what came out of a sandbox. */
#pragma once

/*
 * Closes a descriptor without waiting for anybody. Whoever gave it away may have set SO_LINGER of
 * the socket that it is, or of one that is on its way in that: the last close of such a one waits
 * for as long as that says, which may be for ever. Uses SIGALRM, in the calling thread only. Keeps
 * errno.
 */
void close_promptly(int fd);
