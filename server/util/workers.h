/*
 * Threads for what blocks. Jobs are embedded in what they work on, so that submitting one cannot
 * fail; whoever submits bounds how many there are.
 */
#pragma once

struct workers;

struct job {
    void (*run)(struct job *job); /* may free the job */
    const char *tenant;           /* whom it is for; lives as long as the job runs, or NULL */
    struct job *next;
};

/*
 * Jobs run in the order in which they came, but those of one tenant never on more than `share` of
 * the threads, so that one whose jobs take long holds up nobody else.
 */
struct workers *workers_new(const char *name, unsigned threads, unsigned share);
/* From any thread. A job may be submitted again only after it began to run. */
void workers_submit(struct workers *workers, struct job *job);
/* Runs what was submitted, then ends the threads. */
void workers_free(struct workers *workers);
