#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "bindings/c/crownest_artifact.h"
#include "server/util/cleanup.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

#define DIGEST_TEXT_SIZE (sizeof("sha256:") + 64)

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Artifact *artifact = (const Crownest__V1__Artifact *)item;
    char created[TEXT_TIME_SIZE];

    text_time(artifact->create_time, created);
    printf("%-30s  %-30s  %-20s  %12" PRIu64 "  ", artifact->artifact_id, artifact->sandbox_id,
           created, artifact->size_bytes);
    text_print(artifact->name, stdout);
    putchar('\n');
}

/* context: the sandbox's id, or "". */
static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListArtifactsRequest request = CROWNEST__V1__LIST_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__ListArtifactsResponse *page;

    request.page_token = (char *)page_token;
    request.sandbox_id = list->context;
    int result = crownest_artifact_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_artifacts; i++)
        list_item(list, &page->artifacts[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_artifacts_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "ARTIFACT                        SANDBOX                         CREATED       "
                   "               BYTES  NAME\n",
        .print_row = print_row,
        .fetch = fetch,
        .takes_operand = true,
    };

    return list_main(&list, argc, argv);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t done = write(fd, data, len);

        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            data += done;
            len -= (size_t)done;
        }
    }
    return 0;
}

/* Writes what the stream brings, in order, and hashes it. 0, 1 (the call failed), or -errno. */
static int copy_stream(struct crownest_artifact_download_reader *reader, int fd, EVP_MD_CTX *hash,
                       struct crownest_error *error)
{
    Crownest__V1__DownloadArtifactResponse *message;
    int result;

    while ((result = crownest_artifact_download_next(reader, &message, error)) > 0) {
        int written = write_all(fd, message->data.data, message->data.len);

        (void)EVP_DigestUpdate(hash, message->data.data, message->data.len);
        crownest__v1__download_artifact_response__free_unpacked(message, NULL);
        if (written)
            return written;
    }
    return result ? 1 : 0;
}

static void format_digest(EVP_MD_CTX *hash, char ret_text[DIGEST_TEXT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    size_t at = (size_t)snprintf(ret_text, DIGEST_TEXT_SIZE, "sha256:");

    (void)EVP_DigestFinal_ex(hash, digest, &len);
    for (unsigned int i = 0; i < len && at + 2 < DIGEST_TEXT_SIZE; i++, at += 2)
        (void)snprintf(ret_text + at, 3, "%02x", digest[i]);
}

/* Downloads an artifact into fd and compares the digest of what came with the promised one. */
static int download(const struct command *command, struct crownest_client *client,
                    const Crownest__V1__Artifact *artifact, int fd)
{
    Crownest__V1__DownloadArtifactRequest request = CROWNEST__V1__DOWNLOAD_ARTIFACT_REQUEST__INIT;
    struct crownest_artifact_download_reader *reader;
    struct crownest_error error;
    char digest[DIGEST_TEXT_SIZE];

    request.artifact_id = artifact->artifact_id;
    if (crownest_artifact_download_open(client, &request, NULL, &reader, &error))
        return connect_failed(command, client, &error);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    (void)EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    int result = copy_stream(reader, fd, hash, &error);
    format_digest(hash, digest);
    EVP_MD_CTX_free(hash);
    crownest_artifact_download_free(reader);
    if (result > 0)
        return connect_failed(command, client, &error);
    if (result) {
        fprintf(stderr, "crownest %s: cannot write: %s\n", command->name, strerror(-result));
        return EXIT_FAILED;
    }
    if (!strcmp(digest, artifact->digest))
        return EXIT_OK;
    fprintf(stderr, "crownest %s: damaged: its digest is %s, not %s\n", command->name, digest,
            artifact->digest);
    return EXIT_FAILED;
}

/* Downloads beside the destination and renames, so that a file with that name is always whole. */
static int download_to_file(const struct command *command, struct crownest_client *client,
                            const Crownest__V1__Artifact *artifact, const char *path, bool force)
{
    char part[4096 + 16];

    if (snprintf(part, sizeof(part), "%s.XXXXXX", path) >= (int)sizeof(part))
        return flags_mistake(command, "the path is too long");
    cleanup_fd int fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "crownest %s: %s: %s\n", command->name, path, strerror(errno));
        return EXIT_FAILED;
    }
    (void)fchmod(fd, 0644);
    int code = download(command, client, artifact, fd);
    if (!code && (force ? rename(part, path) : link(part, path))) {
        fprintf(stderr, "crownest %s: %s: %s%s\n", command->name, path, strerror(errno),
                errno == EEXIST ? " (--force replaces it)" : "");
        code = EXIT_FAILED;
    }
    if (code || !force)
        (void)unlink(part);
    return code;
}

struct get_flags {
    struct connect_flags connect;
    const char *output;
    bool force;
};

static int get(const struct command *command, const struct get_flags *values, char *artifact_id)
{
    Crownest__V1__GetArtifactRequest request = CROWNEST__V1__GET_ARTIFACT_REQUEST__INIT;
    Crownest__V1__GetArtifactResponse *response;
    struct crownest_error error;
    struct crownest_client *client = connect_client(command, &values->connect);
    int code;

    if (!client)
        return EXIT_FAILED;
    request.artifact_id = artifact_id;
    if (crownest_artifact_get(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
        crownest_client_free(client);
        return code;
    }
    const char *name = response->artifact->name;
    if (values->output && !strcmp(values->output, "-"))
        code = download(command, client, response->artifact, STDOUT_FILENO);
    else if (values->output)
        code = download_to_file(command, client, response->artifact, values->output, values->force);
    else if (strchr(name, '/') || name[0] == '.' || !name[0])
        code = flags_mistake(command, "its name is not safe as a file's: choose one with -o");
    else
        code = download_to_file(command, client, response->artifact, name, values->force);
    crownest__v1__get_artifact_response__free_unpacked(response, NULL);
    crownest_client_free(client);
    return code;
}

static int get_run(const struct command *command, int argc, char **argv)
{
    struct get_flags values = {0};
    const struct flag flags[] = {
        {.name = "output",
         .letter = 'o',
         .kind = FLAG_TEXT,
         .value = &values.output,
         .operand = "FILE",
         .help = "where to; - is stdout; default: the artifact's name, here"},
        {.name = "force",
         .kind = FLAG_SWITCH,
         .value = &values.force,
         .help = "replace a file that is there"},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one artifact");
    return get(command, &values, argv[first]);
}

static int delete_one(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__DeleteArtifactRequest request = CROWNEST__V1__DELETE_ARTIFACT_REQUEST__INIT;
    Crownest__V1__DeleteArtifactResponse *response;
    struct crownest_error error;

    request.artifact_id = id;
    if (crownest_artifact_delete(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->artifact->artifact_id);
    crownest__v1__delete_artifact_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int delete_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "an artifact", delete_one);
}

const struct command command_artifacts_delete = {
    .name = "artifacts delete",
    .operands = "ARTIFACT...",
    .summary = "delete artifacts",
    .run = delete_run,
};

const struct command command_artifacts_list = {
    .name = "artifacts list",
    .operands = "[SANDBOX]",
    .summary = "list artifacts, newest first",
    .run = list_run,
};

const struct command command_artifacts_get = {
    .name = "artifacts get",
    .operands = "ARTIFACT",
    .summary = "download an artifact and check its digest",
    .run = get_run,
};
