#include <stdlib.h>
#include <string.h>

#include "server/sandbox/template.h"
#include "server/service/service.h"
#include "server/util/prototime.h"

#define TEMPLATES_MAX 256

static Crownest__V1__Template *describe(const struct template_info *info, const char *name,
                                        struct arena *arena)
{
    Crownest__V1__Template *template = arena_alloc(arena, sizeof(*template));

    crownest__v1__template__init(template);
    template->name = arena_strdup(arena, name);
    template->digest = arena_strdup(arena, info->digest);
    template->size_bytes = info->size_bytes;
    template->create_time = prototime_from_ms(arena, info->create_time_ms);
    return template;
}

struct listing {
    struct arena *arena;
    Crownest__V1__Template *templates[TEMPLATES_MAX];
    size_t count;
};

static bool visit(void *arg, const struct template_info *info)
{
    struct listing *listing = arg;

    listing->templates[listing->count++] = describe(info, info->name, listing->arena);
    return listing->count < TEMPLATES_MAX;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(Crownest__V1__Template *const *)a)->name,
                  (*(Crownest__V1__Template *const *)b)->name);
}

struct status service_template_list(struct rpc_call *call,
                                    const Crownest__V1__ListTemplatesRequest *request,
                                    Crownest__V1__ListTemplatesResponse *response)
{
    struct arena *arena = rpc_call_arena(call);
    struct listing *listing = arena_alloc(arena, sizeof(*listing));

    (void)request;
    listing->arena = arena;
    int r = template_list(service_of(call)->template_directory, visit, listing);

    if (r < 0)
        return status_unavailable("TEMPLATES_UNREADABLE",
                                  "the folder of templates cannot be read: %s", strerror(-r));
    qsort(listing->templates, listing->count, sizeof(*listing->templates), by_name);
    response->templates = listing->templates;
    response->n_templates = listing->count;
    return STATUS_OK_VALUE;
}

struct status service_template_get(struct rpc_call *call,
                                   const Crownest__V1__GetTemplateRequest *request,
                                   Crownest__V1__GetTemplateResponse *response)
{
    struct template_info info;

    if (template_find(service_of(call)->template_directory, request->template_, &info) < 0)
        return status_at(status_error(STATUS_NOT_FOUND, "TEMPLATE_NOT_FOUND",
                                      "no template %.100s on this host", request->template_),
                         "template");
    response->template_ = describe(&info, request->template_, rpc_call_arena(call));
    return STATUS_OK_VALUE;
}
