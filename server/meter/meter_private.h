/* What the files of the meter share. */
#pragma once

#include <pthread.h>

#include <uthash.h>

#include "server/meter/amount.h"
#include "server/meter/day.h"
#include "server/meter/meter.h"
#include "server/meter/timeline.h"

#define BOOT_ID_SIZE 40
#define BUCKET_NAME_SIZE 41

struct metered_day {
    uint32_t day; /* as day_number */
    struct meter_bytes bytes;
};

struct metered {
    struct meter *meter;
    char sandbox_id[ID_SIZE];
    char project_id[ID_SIZE];
    /* Under the meter's mutex. */
    Crownest__Records__Meter *part;
    struct metered_day *days; /* oldest first */
    size_t day_count;
    bool sends;       /* something that is not written down yet */
    uint64_t told_us; /* when it was last told that a bucket of it is empty; 0: never */
    UT_hash_handle hh;
};

struct bucket {
    char bucket_id[ID_SIZE];
    Crownest__Records__BucketRecord *record;
    uint64_t start_us;     /* since when it counts, by the wall clock */
    uint64_t end_us;       /* until when; UINT64_MAX: for ever */
    int64_t start_boot_us; /* start_us by the host's own clock, of which it may be from before */
    amount_units ended;    /* spent since then by those that have ended */
    /* What the last look found. */
    amount_units spent;
    amount_units burn; /* in a microsecond */
    /* What was told of it in this period, and what is to be. */
    Crownest__Records__BucketNote told;
    Crownest__Records__BucketNote to_tell;
    struct bucket *next; /* of its project */
    UT_hash_handle hh;
};

/* The buckets of a project. */
struct budget {
    char project_id[ID_SIZE];
    struct bucket *first;
    unsigned count;
    UT_hash_handle hh;
};

struct meter {
    struct store *store;
    char boot_id[BOOT_ID_SIZE];
    char alive_boot_id[BOOT_ID_SIZE]; /* of the last note of an earlier process; empty: none */
    uint64_t alive_us;                /* the same note: microseconds since that start of the host */
    struct meter_hooks hooks;
    pthread_t notes_thread;
    pthread_t budget_thread;
    bool started;
    pthread_mutex_t changing; /* held while a bucket is made, changed or deleted */
    pthread_mutex_t mutex;    /* of what follows */
    pthread_cond_t wake;      /* of the notes */
    pthread_cond_t kicked;    /* of the budget's thread */
    bool kick;
    bool stopping;
    struct metered *living; /* by sandbox_id */
    struct bucket *buckets; /* by bucket_id */
    struct budget *budgets; /* by project_id */
};

/* budget.c: all with the mutex held */

bool budget_pays(const struct bucket *bucket, const struct metered *metered);
amount_units budget_cap(const struct bucket *bucket);
/* Fills spent and burn of a project's buckets. */
void budget_look(struct meter *meter, struct budget *budget, uint64_t boot_us);
/* Whether they could pay for a second of the sandbox if it burnt so much more. */
struct status budget_admit(struct meter *meter, const struct metered *metered, amount_units more);
/* One that has ended is added up. */
void budget_close(struct meter *meter, const struct metered *metered);
/* Begins the period that the moment lies in. */
void budget_begin_period(const struct meter *meter, struct bucket *bucket, uint64_t wall_us,
                         uint64_t boot_us);
/* Something has changed: looks at once. */
void budget_kick(struct meter *meter);
/* Without the mutex: watches until the meter is stopping. */
void *budget_thread(void *arg);

/* bucket_load.c */

/* Reads all buckets, and what was spent of them. 0 or -EIO. */
int bucket_load_all(struct meter *meter);
/* Puts it among the others; takes the record. With the mutex held. */
struct bucket *bucket_insert(struct meter *meter, Crownest__Records__BucketRecord *record);
/* The same, and reads what was spent of it by those that have ended. */
void bucket_insert_summed(struct meter *meter, Crownest__Records__BucketRecord *record);
void bucket_remove(struct meter *meter, struct bucket *bucket);

/* bucket.c: a copy on its own, allocated by protobuf-c's own allocator for NULL. */
Crownest__Records__BucketRecord *bucket_copy(const Crownest__Records__BucketRecord *record,
                                             ProtobufCAllocator *allocator);

/* bucket_note.c */

/* Writes down, and tells, what is to be told. */
void bucket_tell(struct meter *meter);

/* egress.c */

/* Writes down what was sent. Not synced. */
void egress_write(struct meter *meter);
/* Adds what is written down of one. */
void egress_read(struct store *store, const char *project_id, const char *sandbox_id,
                 struct metered_day **days, size_t *count);
void egress_delete(struct store_batch *batch, const char *project_id, const char *sandbox_id);

/* bytes.c */

/* What ended commands and artifacts of a sandbox come to, by day; the caller frees *ret_days. */
void bytes_derive(struct store *store, const char *project_id, const char *sandbox_id,
                  struct metered_day **ret_days, size_t *ret_count);
/* Adds to a day of a list, which is kept in order. */
void bytes_add(struct metered_day **days, size_t *count, uint32_t day,
               const struct meter_bytes *bytes);

/* alive.c */

void alive_boot_id(char ret_boot_id[BOOT_ID_SIZE]);
void alive_read(struct meter *meter);
/* Not synced. */
void alive_write(const struct meter *meter);
