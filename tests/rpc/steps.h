/*
 * What tests of the service do again and again, in one line each. Every step fails the test, with
 * what the service said, when it does not succeed; to be used from the test's own thread only.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bindings/c/call.h"
#include "bindings/c/crownest_artifact.h"
#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_file.h"
#include "bindings/c/crownest_sandbox.h"
#include "bindings/c/crownest_usage.h"

#define STEP_ID_SIZE 64

/* Prepared messages borrow literals and ids; nothing is written to them. */
#define STEP_TEXT(text) ((char *)(uintptr_t)(text))

void step_create(struct crownest_client *client, const char *template, char ret_id[STEP_ID_SIZE]);
/* With a request_id, where they may be refused: they return 0 or what the client does. */
int step_try_create(struct crownest_client *client, const char *request_id, const char *template,
                    char ret_id[STEP_ID_SIZE], struct crownest_error *ret_error);
int step_try_collect(struct crownest_client *client, const char *request_id, const char *sandbox_id,
                     const char *path, char ret_id[STEP_ID_SIZE], struct crownest_error *ret_error);
void step_kill(struct crownest_client *client, const char *sandbox_id);
/* Freed by the caller with crownest__v1__sandbox__free_unpacked. */
Crownest__V1__Sandbox *step_sandbox(struct crownest_client *client, const char *sandbox_id);
/* Freed by the caller with crownest__v1__command__free_unpacked. */
Crownest__V1__Command *step_command(struct crownest_client *client, const char *command_id);

/* Freed by the caller with crownest__v1__receipt__free_unpacked. */
Crownest__V1__Receipt *step_receipt(struct crownest_client *client, const char *sandbox_id);
/*
 * That a receipt's intervals follow each other without a hole or an overlap, from the sandbox's
 * start to its end, and that their sums are those of the receipt.
 */
void assert_receipt_is_whole(const Crownest__V1__Receipt *receipt);
/* That rows and receipts of the client's project agree. Returns how many sandboxes there are. */
uint64_t step_verify_usage(struct crownest_client *client);

/* A shell line in a sandbox. */
Crownest__V1__CommandSpec step_shell(const char *sandbox_id, const char *line);
void step_start(struct crownest_client *client, const char *sandbox_id, const char *line,
                char ret_command_id[STEP_ID_SIZE]);
/* Until its log has so many bytes; it must not end before. */
void step_await_output(struct crownest_client *client, const char *command_id, uint64_t bytes);

/*
 * What a stream of a command told: each byte with the stream it belongs to. Events are added in
 * order; a transcript checks that offsets leave no hole and that nothing follows `exited`.
 */
struct transcript {
    char command_id[STEP_ID_SIZE];
    uint64_t from;
    uint8_t *bytes;
    uint8_t *streams;
    size_t size;
    size_t capacity;
    size_t frames;
    Crownest__V1__CommandExited *exited; /* NULL until then */
};

void transcript_add(struct transcript *transcript, Crownest__V1__CommandEvent *event);
void transcript_done(struct transcript *transcript);
/* The bytes of one stream, NUL-terminated; freed by the caller. */
char *transcript_text(const struct transcript *transcript, Crownest__V1__LogStream stream);
/* That `part` is exactly what `whole` holds from part's first offset on. */
void assert_transcript_tail(const struct transcript *part, const struct transcript *whole);

/* Runs to the end. */
void step_run(struct crownest_client *client, const Crownest__V1__CommandSpec *command,
              struct transcript *ret_transcript);
void step_run_shell(struct crownest_client *client, const char *sandbox_id, const char *line,
                    struct transcript *ret_transcript);
/* Runs a line that must exit with 0 and whose output is of no interest. */
void step_do(struct crownest_client *client, const char *sandbox_id, const char *line);
void step_read_log(struct crownest_client *client, const char *command_id, uint64_t offset,
                   bool follow, struct transcript *ret_transcript);

/* Health, of a service or with "" of all */
struct crownest_stream *step_watch_health(struct crownest_client *client, const char *name);
/* Until it is so: serving or not. */
void step_await_health(struct crownest_stream *stream, bool serving);

/* Files */
void step_write(struct crownest_client *client, const char *sandbox_id, const char *path,
                const void *data, size_t size);
/* Freed by the caller; has a NUL after it. */
uint8_t *step_read(struct crownest_client *client, const char *sandbox_id, const char *path,
                   size_t *ret_size);
uint8_t *step_download(struct crownest_client *client, const char *artifact_id, size_t *ret_size);

/* That a call was refused with a gRPC status, an ErrorInfo reason and a field ("" for none). */
void assert_refused_at(int result, const struct crownest_error *error, int code, const char *reason,
                       const char *field, const char *what);
#define assert_refused(result, error, code, reason, field)                                         \
    assert_refused_at(result, error, code, reason, field, #result)
/* That it was not. */
void assert_done(int result, const struct crownest_error *error);
