/*
 * crownestd: the service. Opens what it works on, in the order in which it is needed, serves until
 * SIGTERM or SIGINT, and closes everything in the opposite order.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/descriptors.h"
#include "server/edge/edge.h"
#include "server/gateway/gateway.h"
#include "server/policy/admission.h"
#include "server/policy/authorize.h"
#include "server/policy/project.h"
#include "server/rpc/rpc.h"
#include "server/sandbox/preview_visits.h"
#include "server/sandbox/sweeper.h"
#include "server/service/service.h"
#include "server/util/failpoint.h"
#include "server/util/slice.h"

#define DRAIN_MS 5000
#define PATH_SIZE 4096

struct options {
    const char *data;
    const char *listen;
    const char *socket;
    const char *sandboxd;
    const char *templates;
    const char *preview_domain;
    unsigned pool_size;
    uint64_t reserve_bytes;
    int ready_fd;
    bool kill_on_exit;
    bool accept_data_loss;
};

struct node {
    struct options options;
    struct space *space;
    struct loop *loop;
    struct sandboxd *sandboxd;
    struct service service;
    struct sweeper *sweeper;
    struct preview_visits *visits;
    struct rpc_server *rpc;
    struct gateway *gateway;
    struct edge *edge;
};

static void usage(FILE *out)
{
    (void)fprintf(
        out,
        "crownestd --data DIR --sandboxd SOCKET --templates DIR [options]\n"
        "\n"
        "  --data DIR             database, logs and artifacts; made if missing\n"
        "  --sandboxd SOCKET      where sandboxd listens\n"
        "  --templates DIR        images of templates\n"
        "  --listen HOST:PORT     gRPC and previews (default 127.0.0.1:7070; port 0: any)\n"
        "  --socket PATH          unix socket for operators (default: none)\n"
        "  --pool N               jails kept ready for each kind of sandbox (default 4)\n"
        "  --reserve-bytes N      of the disk of DIR, kept for the database: new work is refused\n"
        "                         below it (default, or 0: 2 %% of the disk, 32 MiB to 256 MiB)\n"
        "  --preview-domain NAME  previews are at <preview>.NAME (default localhost)\n"
        "  --kill-on-exit         end all sandboxes when stopped by SIGTERM; else they go on, and\n"
        "                         the next crownestd takes them over\n"
        "  --accept-data-loss     start although acknowledged changes are lost, if they are: the\n"
        "                         damaged database is kept aside\n"
        "  --ready-fd N           write READY and a newline to this descriptor when serving\n");
}

static int parse_number(const char *flag, const char *text, unsigned max, unsigned *ret_number)
{
    char *end;

    errno = 0;
    unsigned long number = strtoul(text, &end, 10);

    if (errno || end == text || *end || text[0] == '-' || number > max) {
        (void)fprintf(stderr, "crownestd: %s is a number from 0 to %u, not %s\n", flag, max, text);
        return -EINVAL;
    }
    *ret_number = (unsigned)number;
    return 0;
}

static int parse_reserve(const char *text, uint64_t *ret_bytes)
{
    char *end;

    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);

    if (errno || end == text || *end || text[0] == '-' || bytes > INT64_MAX) {
        (void)fprintf(stderr, "crownestd: --reserve-bytes is a number of bytes, not %s\n", text);
        return -EINVAL;
    }
    *ret_bytes = bytes;
    return 0;
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {{"data", required_argument, NULL, 'd'},
                                          {"sandboxd", required_argument, NULL, 's'},
                                          {"templates", required_argument, NULL, 't'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"socket", required_argument, NULL, 'u'},
                                          {"preview-domain", required_argument, NULL, 'p'},
                                          {"ready-fd", required_argument, NULL, 'r'},
                                          {"pool", required_argument, NULL, 'n'},
                                          {"reserve-bytes", required_argument, NULL, 'b'},
                                          {"accept-data-loss", no_argument, NULL, 'a'},
                                          {"kill-on-exit", no_argument, NULL, 'k'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    unsigned number;
    int c;

    *options = (struct options){
        .listen = "127.0.0.1:7070", .preview_domain = "localhost", .pool_size = 4, .ready_fd = -1};
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'd':
            options->data = optarg;
            break;
        case 's':
            options->sandboxd = optarg;
            break;
        case 't':
            options->templates = optarg;
            break;
        case 'l':
            options->listen = optarg;
            break;
        case 'u':
            options->socket = optarg;
            break;
        case 'p':
            options->preview_domain = optarg;
            break;
        case 'n':
            if (parse_number("--pool", optarg, JAIL_POOL_SIZE_MAX, &options->pool_size) < 0)
                return -EINVAL;
            break;
        case 'r':
            if (parse_number("--ready-fd", optarg, INT_MAX, &number) < 0)
                return -EINVAL;
            options->ready_fd = (int)number;
            break;
        case 'b':
            if (parse_reserve(optarg, &options->reserve_bytes) < 0)
                return -EINVAL;
            break;
        case 'a':
            options->accept_data_loss = true;
            break;
        case 'k':
            options->kill_on_exit = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return -EINVAL;
        }
    }
    return optind == argc && options->data && options->sandboxd && options->templates ? 0 : -EINVAL;
}

static const char *below(const struct options *options, const char *name, char path[PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%s/%s", options->data, name);
    return path;
}

/* As many sockets as the caps of limits.h add up to, if the host lets us. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_state(struct node *node, struct err *err)
{
    struct service *service = &node->service;
    char path[PATH_SIZE];

    if (mkdir(node->options.data, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "%s cannot be made: %s", node->options.data, strerror(errno));
    int r = audit_new(below(&node->options, "audit.key", path), &service->audit, err);
    struct store_options store = {.directory = below(&node->options, "db", path),
                                  .accept_loss = node->options.accept_data_loss};

    if (r == 0)
        r = space_new(node->options.data, node->options.reserve_bytes, &node->space, err);
    if (r < 0)
        return r;
    store.space = node->space;
    store.chain = audit_chain(service->audit);
    if (r == 0)
        r = store_open_with(&store, &service->store, err);
    if (r == 0 && store_warning(service->store)[0])
        (void)fprintf(stderr, "crownestd: %s\n", store_warning(service->store));
    if (r == 0)
        audit_start(service->audit, service->store);
    if (r == 0)
        r = webhooks_new(
            &(struct webhooks_options){.store = service->store,
                                       .audit = service->audit,
                                       .key_file = below(&node->options, "webhook.key", path)},
            &service->webhooks, err);
    service->admission = (struct admission){.store = service->store, .space = node->space};
    if (r == 0)
        r = blob_store_open(below(&node->options, "blobs", path), &service->blobs, err);
    if (r == 0)
        r = backups_new(service->store, node->options.data, &service->backups, err);
    if (r == 0)
        service->quotas = quotas_new(service->store);
    service->artifacts = (struct artifacts){
        .store = service->store, .blobs = service->blobs, .quotas = service->quotas};
    if (r == 0 && artifacts_load(&service->artifacts) < 0)
        r = err_set(err, EIO, "the artifacts that there are cannot be counted");
    if (r == 0 && project_ensure_default(service->store) < 0)
        r = err_set(err, EIO, "the project `%s` cannot be written", PROJECT_DEFAULT);
    return r;
}

/* The meter's thread calls. */
static void on_empty(void *arg, const char *project_id, const char *sandbox_id,
                     const char *bucket_name, bool pause)
{
    const struct node *node = arg;

    sandboxes_out_of_budget(node->service.sandboxes, project_id, sandbox_id, bucket_name, pause);
}

/* The sandboxes and commands, those of an earlier process taken over. */
static int open_domain(struct node *node, struct err *err)
{
    struct service *service = &node->service;
    char path[PATH_SIZE];
    int r = loop_new(&node->loop);

    if (r == 0)
        r = sandboxd_new(node->options.sandboxd, &node->sandboxd, err);
    if (r < 0)
        return r;
    struct commands_options commands = {.store = service->store,
                                        .quotas = service->quotas,
                                        .loop = node->loop,
                                        .blobs = service->blobs,
                                        .log_directory = below(&node->options, "logs", path)};

    service->meter = meter_new(service->store);
    service->commands = commands_new(&commands);
    struct sandboxes_options sandboxes = {.store = service->store,
                                          .quotas = service->quotas,
                                          .loop = node->loop,
                                          .sandboxd = node->sandboxd,
                                          .meter = service->meter,
                                          .pool_size = node->options.pool_size,
                                          .hooks = commands_hooks(service->commands)};

    service->sandboxes = sandboxes_new(&sandboxes);
    r = sandboxes_reconcile(service->sandboxes, err);
    if (r == 0)
        r = commands_reconcile(service->commands, service->sandboxes, err);
    FAILPOINT("service.reconciled");
    if (r == 0) {
        struct meter_hooks budget = {.empty = on_empty, .arg = node};

        if (meter_start(service->meter, &budget) < 0)
            return err_set(err, EIO, "what was spent of the buckets cannot be read");
        sandboxes_heed_plans(service->sandboxes);
        sandboxes_greet(service->sandboxes);
        struct sweep sweep = {.store = service->store,
                              .quotas = service->quotas,
                              .artifacts = &service->artifacts,
                              .log_directory = path};

        node->sweeper = sweeper_new(&sweep);
    }
    return r;
}

static struct status authorize_call(void *context, struct rpc_call *call, bool local,
                                    struct rpc_caller *ret_caller)
{
    const struct service *service = context;
    struct status status = authorize(&service->authority, call, local, ret_caller);

    /* An operator's calls are not a project's, and must be able to change its plan. */
    if (status_is_ok(&status) && ret_caller->key_id[0]) {
        status = quota_take_call(service->quotas, ret_caller->project_id);
        if (!status_is_ok(&status) && status.retry_after_ms > 0)
            rpc_call_set_metadata(call, "x-crownest-remaining-calls", "0");
    }
    if (!status_is_ok(&status)) {
        service_denied(call, &status);
        return status;
    }
    return admission_open(&service->admission, rpc_call_method(call));
}

/* The store's thread calls. */
static void on_store(void *arg, const struct status *writable)
{
    const struct node *node = arg;

    rpc_server_set_serving(node->rpc, status_is_ok(writable));
    if (!status_is_ok(writable))
        (void)fprintf(stderr, "crownestd: %s: %s\n", writable->reason, writable->message);
}

static void on_http2(void *arg, int fd)
{
    struct node *node = arg;

    rpc_server_adopt(node->rpc, fd, false);
}

static void on_http1(void *arg, int fd)
{
    struct node *node = arg;

    gateway_adopt(node->gateway, fd);
}

static void on_local(void *arg, int fd)
{
    struct node *node = arg;

    rpc_server_adopt(node->rpc, fd, true);
}

static enum gateway_lookup on_lookup(void *arg, const char *preview_id,
                                     struct gateway_preview *ret_preview)
{
    const struct node *node = arg;

    _Static_assert(sizeof(ret_preview->sandbox_id) >= ID_SIZE, "an id fits");
    switch (preview_look(&node->service.previews, preview_id, ret_preview->token_hash,
                         ret_preview->sandbox_id)) {
    case PREVIEW_OPEN:
        return GATEWAY_OPEN;
    case PREVIEW_ENDED:
        return GATEWAY_ENDED;
    default:
        return GATEWAY_MISSING;
    }
}

static void on_visited(void *arg, const char *preview_id, enum gateway_visit visit)
{
    static const enum preview_visit visits[] = {
        [GATEWAY_VISIT_URL] = PREVIEW_VISIT_URL,
        [GATEWAY_VISIT_HEADER] = PREVIEW_VISIT_HEADER,
        [GATEWAY_VISIT_REFUSED] = PREVIEW_VISIT_REFUSED,
    };
    const struct node *node = arg;

    preview_visits_tell(node->visits, preview_id, visits[visit]);
}

static int on_connect(void *arg, const char *preview_id)
{
    const struct node *node = arg;

    return preview_connect(&node->service.previews, preview_id);
}

static void on_sent(void *arg, const char *sandbox_id, size_t bytes)
{
    const struct node *node = arg;

    meter_count_egress(node->service.meter, sandbox_id, bytes);
}

static int open_doors(struct node *node, struct err *err)
{
    struct service *service = &node->service;
    struct edge_options edge = {
        .listen = node->options.listen,
        .unix_socket = node->options.socket,
        .operator_uid = geteuid(),
        .hooks = {.http2 = on_http2, .http1 = on_http1, .local = on_local, .arg = node}};
    struct gateway_options gateway = {.domain = node->options.preview_domain,
                                      .hooks = {.lookup = on_lookup,
                                                .connect = on_connect,
                                                .visited = on_visited,
                                                .sent = on_sent,
                                                .arg = node}};
    struct rpc_server_options rpc = {.handlers = service_handlers(),
                                     .descriptors = descriptors_bytes(),
                                     .authorize = authorize_call,
                                     .recheck = authorize_still,
                                     .context = service};
    service->authority = (struct authority){.store = service->store,
                                            .uses = key_uses_new(service->store),
                                            .operators = operators_new(service->store)};
    int r = edge_new(&edge, &node->edge, err);

    node->visits = preview_visits_new(service->store, service->audit);
    if (r == 0)
        r = gateway_new(&gateway, &node->gateway, err);
    if (r == 0)
        r = rpc_server_new(&rpc, &node->rpc, err);
    if (r < 0)
        return r;
    service->answers = answers_new(&service->admission);
    service->template_directory = node->options.templates;
    service->previews = (struct previews){.store = service->store,
                                          .sandboxes = service->sandboxes,
                                          .domain = node->options.preview_domain,
                                          .port = edge_port(node->edge)};
    store_watch(service->store, on_store, node);
    edge_start(node->edge);
    return 0;
}

static void close_node(struct node *node)
{
    struct service *service = &node->service;

    if (service->store)
        store_watch(service->store, NULL, NULL);
    if (node->edge)
        edge_stop(node->edge);
    if (node->rpc)
        rpc_server_drain(node->rpc, DRAIN_MS);
    edge_free(node->edge);
    rpc_server_free(node->rpc);
    gateway_free(node->gateway);
    preview_visits_free(node->visits);
    answers_free(service->answers);
    key_uses_free(service->authority.uses);
    operators_free(service->authority.operators);
    sweeper_free(node->sweeper);
    meter_stop(service->meter);
    /* What the loop calls, and what finishes commands, works on the sandboxes to the end. */
    sandboxes_stop(service->sandboxes, node->options.kill_on_exit);
    loop_stop(node->loop);
    commands_free(service->commands);
    sandboxes_free(service->sandboxes);
    meter_free(service->meter);
    loop_free(node->loop);
    sandboxd_free(node->sandboxd);
    backups_free(service->backups);
    blob_store_close(service->blobs);
    quotas_free(service->quotas);
    webhooks_free(service->webhooks);
    audit_stop(service->audit);
    store_close(service->store);
    audit_free(service->audit);
    space_free(node->space);
}

static void announce(const struct node *node)
{
    (void)fprintf(stderr, "crownestd: serving on port %u\n", (unsigned)edge_port(node->edge));
    if (node->options.ready_fd >= 0) {
        (void)!write(node->options.ready_fd, "READY\n", 6);
        (void)close(node->options.ready_fd);
    }
}

int main(int argc, char **argv)
{
    static struct node node;
    struct err err = {0};
    sigset_t stop;
    int signal_number;

    if (parse(argc, argv, &node.options) < 0) {
        usage(stderr);
        return 2;
    }
    (void)umask(0077);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&stop);
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    raise_descriptor_limit();
    slice_shorten();
    int r = open_state(&node, &err);

    if (r == 0)
        r = open_domain(&node, &err);
    if (r == 0)
        r = open_doors(&node, &err);
    if (r < 0) {
        (void)fprintf(stderr, "crownestd: %s\n", err.message);
        /* Nobody has stopped it: what it has taken over is for whoever tries again. */
        node.options.kill_on_exit = false;
    } else {
        announce(&node);
        (void)sigwait(&stop, &signal_number);
        (void)fprintf(stderr, "crownestd: stopping\n");
    }
    close_node(&node);
    return r < 0 ? 1 : 0;
}
