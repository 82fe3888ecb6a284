#include "server/service/page.h"

#include "server/util/limits.h"

struct status page_init(struct page *page, struct rpc_call *call, uint32_t page_size,
                        const char *page_token, const char *id_prefix)
{
    *page = (struct page){.arena = rpc_call_arena(call)};
    if (page_size > LIMIT_PAGE)
        return status_invalid("page_size", "PAGE_SIZE_INVALID", "a page holds at most %d",
                              LIMIT_PAGE);
    if (page_token[0] && !id_valid(id_prefix, page_token))
        return status_invalid("page_token", "PAGE_TOKEN_INVALID",
                              "a page_token is the next_page_token of the page before");
    page->range.start = page_token;
    page->range.count = page_size ? page_size : LIMIT_PAGE_DEFAULT;
    page->items = arena_alloc(page->arena, page->range.count * sizeof(*page->items));
    return STATUS_OK_VALUE;
}

static bool page_visit(void *arg, const char *id, struct bytes value)
{
    struct page *page = arg;
    void *item = NULL;

    if (page->type)
        item = protobuf_c_message_unpack(page->type, arena_allocator(page->arena), value.size,
                                         value.data);
    else
        item = arena_strdup(page->arena, id);
    if (!item || (page->keep && !page->keep(page->keep_arg, item)))
        return false;
    page->items[page->count++] = item;
    return true;
}

struct status page_read(struct page *page, struct store *store, char **ret_next)
{
    char next[ID_SIZE];

    if (record_page(store, &page->range, page_visit, page, next, sizeof(next)) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    *ret_next = arena_strdup(page->arena, next);
    return STATUS_OK_VALUE;
}
