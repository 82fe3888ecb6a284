/*
 * Threads for what blocks. Jobs are embedded in what they work on, so that submitting one cannot
 * fail; whoever submits bounds how many there are.
 */
#pragma once

struct workers;

struct job {
    void (*run)(struct job *job); /* may free the job */
    struct job *next;
};

struct workers *workers_new(const char *name, unsigned threads);
/* From any thread. A job may be submitted again only after it began to run. */
void workers_submit(struct workers *workers, struct job *job);
/* Runs what was submitted, then ends the threads. */
void workers_free(struct workers *workers);

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer) - __builtin_offsetof(type, member)))
