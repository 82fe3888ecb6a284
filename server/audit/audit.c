#include "server/audit/audit.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/entry.h"
#include "server/audit/signer.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"
#include "server/util/utf8.h"

#define ARENA_BYTES (64U << 10)
#define CHECKPOINT_ENTRIES 1000
#define CHECKPOINT_MS 60000

struct audit {
    struct store_chain chain;
    struct store *store;
    struct signer *signer;
    struct arena *arena; /* of seal, on the store's thread */

    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    uint64_t last;            /* entry that is written */
    uint64_t last_checkpoint; /* that was written by this process */
    struct audit_follower *followers;
    uint64_t denials_at_ms; /* the second that is counted */
    unsigned denials;       /* written in it */
    unsigned unlisted;
};

/* Adding */

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

/* What fits of it, whole characters. */
static void copy_detail(const char *detail, char ret_detail[AUDIT_DETAIL_MAX + 1])
{
    size_t size = detail ? strlen(detail) : 0;

    if (size > AUDIT_DETAIL_MAX)
        size = AUDIT_DETAIL_MAX;
    while (size > 0 && !utf8_valid(bytes_of(detail, size)))
        size--;
    if (size > 0)
        memcpy(ret_detail, detail, size);
    ret_detail[size] = '\0';
}

struct indexes {
    char text[STORE_ENTRY_INDEXES][AUDIT_ACTOR_SIZE + 8];
    const char *list[STORE_ENTRY_INDEXES];
    size_t count;
};

static void add_index(struct indexes *indexes, const char *type, const char *id)
{
    if (!id[0])
        return;
    (void)snprintf(indexes->text[indexes->count], sizeof(indexes->text[0]), "%s/%s", type, id);
    indexes->list[indexes->count] = indexes->text[indexes->count];
    indexes->count++;
}

void audit_add(struct store_batch *batch, const struct audit_entry *entry)
{
    static const Crownest__V1__AuditOutcome outcomes[] = {
        [AUDIT_OK] = CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK,
        [AUDIT_DENIED] = CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED,
        [AUDIT_FAILED] = CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_FAILED,
        [AUDIT_BEGUN] = CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_BEGUN,
    };
    Crownest__V1__AuditEntry body = CROWNEST__V1__AUDIT_ENTRY__INIT;
    char detail[AUDIT_DETAIL_MAX + 1];
    struct indexes indexes = {0};
    cleanup_buf struct buf packed = {0};

    copy_detail(entry->detail, detail);
    body.actor = text_of(entry->actor ? entry->actor->id : "system");
    body.request_id = text_of(entry->actor ? entry->actor->request_id : NULL);
    body.action = text_of(entry->action);
    body.outcome = outcomes[entry->outcome];
    body.resource_id = text_of(entry->resource_id);
    body.project_id = text_of(entry->project_id);
    body.sandbox_id = text_of(entry->sandbox_id);
    body.reason = text_of(entry->reason);
    body.detail = detail;
    add_index(&indexes, "ea", body.actor);
    add_index(&indexes, "er", body.resource_id);
    add_index(&indexes, "ep", body.project_id);
    if (strcmp(body.sandbox_id, body.resource_id) != 0)
        add_index(&indexes, "er", body.sandbox_id);
    buf_reserve(&packed, crownest__v1__audit_entry__get_packed_size(&body) + 1);
    packed.size = crownest__v1__audit_entry__pack(&body, packed.data);
    store_batch_entry(batch, buf_bytes(&packed), indexes.list, indexes.count);
}

/* The chain */

static void sign(struct audit *audit, Crownest__V1__AuditEntry *entry,
                 const uint8_t previous[STORE_HASH_SIZE])
{
    char text[CHECKPOINT_TEXT_SIZE];
    size_t size = checkpoint_text(entry->sequence, previous, text);

    entry->public_key.data = arena_alloc(audit->arena, AUDIT_KEY_SIZE);
    entry->public_key.len = AUDIT_KEY_SIZE;
    audit_public_key(audit, entry->public_key.data);
    entry->signature.data = arena_alloc(audit->arena, SIGNATURE_SIZE);
    entry->signature.len = SIGNATURE_SIZE;
    signer_sign(audit->signer, text, size, entry->signature.data);
}

static void on_seal(void *arg, uint64_t sequence, const uint8_t previous[STORE_HASH_SIZE],
                    struct bytes body, struct buf *ret_value, uint8_t ret_hash[STORE_HASH_SIZE])
{
    struct audit *audit = arg;
    Crownest__V1__AuditEntry *entry =
        crownest__v1__audit_entry__unpack(arena_allocator(audit->arena), body.size, body.data);
    cleanup_buf struct buf text = {0};

    if (!entry)
        abort();
    entry->sequence = sequence;
    entry->time = prototime_from_us(audit->arena, clock_wall_us());
    entry->previous_hash.data = arena_memdup(audit->arena, previous, STORE_HASH_SIZE);
    entry->previous_hash.len = STORE_HASH_SIZE;
    if (strcmp(entry->action, ENTRY_CHECKPOINT) == 0)
        sign(audit, entry, previous);
    entry_text(entry, &text);
    (void)SHA256(text.data, text.size, ret_hash);
    size_t size = crownest__v1__audit_entry__get_packed_size(entry);

    buf_reserve(ret_value, size);
    ret_value->size += crownest__v1__audit_entry__pack(entry, ret_value->data + ret_value->size);
    arena_reset(audit->arena);
}

static void on_grown(void *arg, uint64_t sequence)
{
    struct audit *audit = arg;

    lock_scope(&audit->mutex);
    audit->last = sequence;
    if (sequence - audit->last_checkpoint >= CHECKPOINT_ENTRIES)
        (void)pthread_cond_signal(&audit->changed);
    for (struct audit_follower *f = audit->followers; f; f = f->next)
        f->grown(f);
}

const struct store_chain *audit_chain(const struct audit *audit)
{
    return &audit->chain;
}

void audit_follow(struct audit *audit, struct audit_follower *follower)
{
    lock_scope(&audit->mutex);
    follower->next = audit->followers;
    audit->followers = follower;
}

void audit_unfollow(struct audit *audit, struct audit_follower *follower)
{
    lock_scope(&audit->mutex);
    struct audit_follower **at = &audit->followers;

    while (*at != follower)
        at = &(*at)->next;
    *at = follower->next;
}

/* Refusals */

/* Whether there is room for another one in this second; else it is counted. Holds no mutex. */
static bool admit_denial(struct audit *audit, unsigned *ret_unlisted)
{
    lock_scope(&audit->mutex);
    uint64_t now = clock_monotonic_ms();

    if (now - audit->denials_at_ms >= 1000) {
        audit->denials_at_ms = now;
        audit->denials = 0;
    }
    if (audit->denials >= LIMIT_DENIALS_PER_SECOND) {
        audit->unlisted++;
        return false;
    }
    audit->denials++;
    *ret_unlisted = audit->unlisted;
    audit->unlisted = 0;
    return true;
}

void audit_denied(struct audit *audit, const struct audit_entry *entry)
{
    struct audit_entry listed = *entry;
    char detail[AUDIT_DETAIL_MAX];
    unsigned unlisted;

    if (!admit_denial(audit, &unlisted))
        return;
    if (unlisted > 0) {
        (void)snprintf(detail, sizeof(detail), "%u more refusals before it are not listed",
                       unlisted);
        listed.detail = detail;
    }
    struct store_batch *batch = store_batch_new();

    audit_add(batch, &listed);
    /* When it cannot be written nothing can, and the call is refused in any case. */
    (void)store_commit(audit->store, batch, STORE_UNSYNCED);
}

/* Checkpoints */

void audit_public_key(const struct audit *audit, uint8_t ret_key[AUDIT_KEY_SIZE])
{
    signer_public_key(audit->signer, ret_key);
}

int audit_checkpoint(struct audit *audit)
{
    struct store_batch *batch = store_batch_new();

    audit_add(batch, &(struct audit_entry){.action = ENTRY_CHECKPOINT});
    int r = store_commit(audit->store, batch, STORE_SYNCED);

    if (r == 0) {
        lock_scope(&audit->mutex);
        audit->last_checkpoint = audit->last;
    }
    return r;
}

static bool is_due(const struct audit *audit, bool timed_out)
{
    return audit->last > audit->last_checkpoint &&
           (timed_out || audit->last - audit->last_checkpoint >= CHECKPOINT_ENTRIES);
}

static void *checkpoint_thread(void *arg)
{
    struct audit *audit = arg;
    struct timespec deadline = cond_deadline(CHECKPOINT_MS);

    (void)pthread_mutex_lock(&audit->mutex);
    while (!audit->stopping) {
        int r = pthread_cond_timedwait(&audit->changed, &audit->mutex, &deadline);

        if (r == ETIMEDOUT || is_due(audit, false)) {
            bool due = is_due(audit, r == ETIMEDOUT);

            (void)pthread_mutex_unlock(&audit->mutex);
            if (due)
                (void)audit_checkpoint(audit);
            deadline = cond_deadline(CHECKPOINT_MS);
            (void)pthread_mutex_lock(&audit->mutex);
        }
    }
    (void)pthread_mutex_unlock(&audit->mutex);
    return NULL;
}

/* The service may have died before it signed the last entries. */
static bool ends_signed(struct store *store, uint64_t last)
{
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__V1__AuditEntry *entry;
    bool is_signed = last == 0 || (entry_read(store, last, arena, &entry) == 0 &&
                                   strcmp(entry->action, ENTRY_CHECKPOINT) == 0);

    arena_free(arena);
    return is_signed;
}

void audit_start(struct audit *audit, struct store *store)
{
    audit->store = store;
    audit->last = store_last_entry(store);
    audit->last_checkpoint = ends_signed(store, audit->last) ? audit->last : audit->last - 1;
    if (pthread_create(&audit->thread, NULL, checkpoint_thread, audit) != 0)
        abort();
    (void)pthread_setname_np(audit->thread, "audit");
    audit->started = true;
}

void audit_stop(struct audit *audit)
{
    if (!audit || !audit->started)
        return;
    (void)pthread_mutex_lock(&audit->mutex);
    audit->stopping = true;
    (void)pthread_cond_signal(&audit->changed);
    (void)pthread_mutex_unlock(&audit->mutex);
    (void)pthread_join(audit->thread, NULL);
    audit->started = false;
    if (is_due(audit, true))
        (void)audit_checkpoint(audit);
}

int audit_new(const char *key_file, struct audit **ret_audit, struct err *err)
{
    /* What a user would call a resource; see server/store/schema.h. */
    static const char *const covered[] = {"a", "b",  "c", "j",  "k", "o", "os",
                                          "p", "pl", "s", "ud", "w", NULL};
    struct signer *signer;
    int r = signer_open(key_file, &signer, err);

    if (r < 0)
        return r;
    struct audit *audit = calloc(1, sizeof(*audit));

    if (!audit)
        abort();
    audit->signer = signer;
    audit->arena = arena_new(ARENA_BYTES);
    audit->chain =
        (struct store_chain){.covered = covered, .seal = on_seal, .grown = on_grown, .arg = audit};
    (void)pthread_mutex_init(&audit->mutex, NULL);
    cond_init(&audit->changed);
    *ret_audit = audit;
    return 0;
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    signer_free(audit->signer);
    arena_free(audit->arena);
    (void)pthread_cond_destroy(&audit->changed);
    (void)pthread_mutex_destroy(&audit->mutex);
    free(audit);
}
