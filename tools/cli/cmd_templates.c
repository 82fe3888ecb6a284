#include <inttypes.h>

#include "bindings/c/crownest_template.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Template *entry = (const Crownest__V1__Template *)item;
    char created[TEXT_TIME_SIZE];

    text_time(entry->create_time, created);
    printf("%-16s  %6" PRIu64 " MiB  %-20s  ", entry->name, entry->size_bytes >> 20, created);
    text_print(entry->digest, stdout);
    putchar('\n');
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListTemplatesRequest request = CROWNEST__V1__LIST_TEMPLATES_REQUEST__INIT;
    Crownest__V1__ListTemplatesResponse *page;

    (void)page_token; /* there is one page of them */
    int result = crownest_template_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_templates; i++)
        list_item(list, &page->templates[i]->base);
    *ret_next = NULL;
    crownest__v1__list_templates_response__free_unpacked(page, NULL);
    return 0;
}

static int templates_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "TEMPLATE                SIZE  CREATED               DIGEST\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

const struct command command_templates = {
    .name = "templates",
    .operands = "",
    .summary = "list the templates that sandboxes can be made from",
    .run = templates_run,
};
