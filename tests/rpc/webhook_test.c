/* Webhooks of a whole service: what arrives, how often, in which order, and what holds up whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bindings/c/crownest_audit.h"
#include "bindings/c/crownest_key.h"
#include "bindings/c/crownest_webhook.h"
#include "tests/rpc/receiver.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define PERMISSION_DENIED 7
#define RESOURCE_EXHAUSTED 8
#define WEBHOOKS_MAX 64

static struct crownest_error error;

struct hook {
    char id[STEP_ID_SIZE];
    char secret[SERVICE_SECRET_SIZE];
    uint64_t begin; /* entries after this one */
};

static int try_create(struct service *service, Crownest__V1__CreateWebhookRequest *request,
                      struct hook *ret_hook)
{
    Crownest__V1__CreateWebhookResponse *response;
    int result =
        crownest_webhook_create(service->operator_client, request, NULL, &response, &error);

    if (result)
        return result;
    (void)snprintf(ret_hook->id, sizeof(ret_hook->id), "%s", response->webhook->webhook_id);
    (void)snprintf(ret_hook->secret, sizeof(ret_hook->secret), "%s", response->secret);
    ret_hook->begin = response->webhook->delivered_sequence;
    crownest__v1__create_webhook_response__free_unpacked(response, NULL);
    return 0;
}

/* Of the keys that are minted. */
static void create(struct service *service, const struct receiver *receiver, struct hook *ret_hook)
{
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    char *actions[] = {STEP_TEXT("key.create")};

    request.url = STEP_TEXT(receiver->url);
    request.actions = actions;
    request.n_actions = 1;
    assert_done(try_create(service, &request, ret_hook), &error);
}

static int try_delete(struct service *service, const char *id)
{
    Crownest__V1__DeleteWebhookRequest request = CROWNEST__V1__DELETE_WEBHOOK_REQUEST__INIT;
    Crownest__V1__DeleteWebhookResponse *response;

    request.webhook_id = STEP_TEXT(id);
    int result =
        crownest_webhook_delete(service->operator_client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__delete_webhook_response__free_unpacked(response, NULL);
    return result;
}

static void end(struct service *service, const struct hook *hook)
{
    assert_done(try_delete(service, hook->id), &error);
}

static Crownest__V1__ListWebhooksResponse *list(struct service *service)
{
    Crownest__V1__ListWebhooksRequest request = CROWNEST__V1__LIST_WEBHOOKS_REQUEST__INIT;
    Crownest__V1__ListWebhooksResponse *response;

    request.page_size = 500;
    assert_done(crownest_webhook_list(service->operator_client, &request, NULL, &response, &error),
                &error);
    return response;
}

static void list_free(Crownest__V1__ListWebhooksResponse *response)
{
    crownest__v1__list_webhooks_response__free_unpacked(response, NULL);
}

/* Makes an entry that has the label as its detail. */
static void mint(struct service *service, const char *project, const char *label)
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *response;

    request.project = STEP_TEXT(project);
    request.label = STEP_TEXT(label);
    assert_done(crownest_key_create(service->operator_client, &request, NULL, &response, &error),
                &error);
    crownest__v1__create_key_response__free_unpacked(response, NULL);
}

static void assert_tells(const struct delivery *delivery, const char *label)
{
    char member[160];

    (void)snprintf(member, sizeof(member), "\"detail\":\"%s\"", label);
    if (!strstr(delivery->request.body, member))
        fail_msg("no %s in %s", label, delivery->request.body);
}

static uint64_t first_sequence(const struct delivery *delivery)
{
    const char *found = strstr(delivery->request.body, "{\"sequence\":");

    assert_non_null(found);
    return strtoull(found + strlen("{\"sequence\":"), NULL, 10);
}

/* Its head, its signature, and that it names what it holds. */
static void assert_of(const struct delivery *delivery, const struct hook *hook)
{
    char value[1024];
    char expected[128];

    assert_int_equal(strncmp(delivery->request.head, "POST /hook?x=1 HTTP/1.1\r\n", 25), 0);
    assert_string_equal(answer_header(&delivery->request, "Content-Type", value),
                        "application/json");
    assert_null(answer_header(&delivery->request, "Expect", value));
    (void)snprintf(expected, sizeof(expected), "%s.%llu", hook->id,
                   (unsigned long long)first_sequence(delivery));
    assert_string_equal(answer_header(&delivery->request, "X-CrowNest-Delivery", value), expected);
    (void)snprintf(expected, sizeof(expected), "{\"webhook_id\":\"%s\",\"entries\":[{", hook->id);
    assert_int_equal(strncmp(delivery->request.body, expected, strlen(expected)), 0);
    assert_string_equal(delivery->request.body + delivery->request.size - 3, "}]}");
    assert_delivery_signed(delivery, hook->secret);
}

static void take_of(const struct receiver *receiver, const struct hook *hook,
                    struct delivery *ret_delivery)
{
    receiver_take(receiver, ret_delivery);
    assert_of(ret_delivery, hook);
}

/* The labels `prefix`0, `prefix`1 and so on in their order, from `next` on; returns what is next.
 */
static unsigned count_labels(const struct delivery *delivery, const char *prefix, unsigned next)
{
    char member[64];
    const char *at = delivery->request.body;

    while ((at = strstr(at, "\"detail\":\""))) {
        (void)snprintf(member, sizeof(member), "\"detail\":\"%s%u\"", prefix, next++);
        assert_int_equal(strncmp(at, member, strlen(member)), 0);
        at += strlen(member);
    }
    return next;
}

static void entries_arrive_signed_and_in_order(void **state)
{
    struct service *service = service_of(state);
    struct receiver receiver;
    struct delivery delivery;
    struct hook hook;
    unsigned next = 0;

    receiver_open(&receiver);
    create(service, &receiver, &hook);
    for (unsigned i = 0; i < 250; i++) {
        char label[16];

        (void)snprintf(label, sizeof(label), "order-%u", i);
        mint(service, "", label);
    }
    while (next < 250) {
        unsigned before = next;

        take_of(&receiver, &hook, &delivery);
        assert_true(first_sequence(&delivery) > hook.begin);
        next = count_labels(&delivery, "order-", next);
        assert_in_range(next - before, 1, 100);
        delivery_answer(&delivery, "200 OK");
    }
    end(service, &hook);
    receiver_close(&receiver);
}

static void assert_failing(struct service *service, const struct hook *hook, const char *why)
{
    Crownest__V1__ListWebhooksResponse *webhooks = list(service);
    const Crownest__V1__Webhook *webhook = webhooks->webhooks[0];

    assert_string_equal(webhook->webhook_id, hook->id);
    assert_int_equal(webhook->failing_since != NULL, why != NULL);
    assert_string_equal(webhook->last_error, why ? why : "");
    list_free(webhooks);
}

/* A redirect is no delivery either, and nobody goes where it points. */
static void what_was_not_taken_comes_again(void **state)
{
    struct service *service = service_of(state);
    struct receiver receiver;
    struct receiver elsewhere;
    struct delivery first;
    struct delivery again;
    struct hook hook;
    char redirect[128];

    receiver_open(&receiver);
    receiver_open(&elsewhere);
    create(service, &receiver, &hook);
    mint(service, "", "again-0");
    take_of(&receiver, &hook, &first);
    /* Does not join the delivery that has begun. */
    mint(service, "", "again-1");
    visitor_sendf(first.fd, "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    take_of(&receiver, &hook, &again);
    assert_failing(service, &hook, "the answer was 500, not 2xx");
    assert_string_equal(again.request.body, first.request.body);
    delivery_drop(&first);
    first = again;
    (void)snprintf(redirect, sizeof(redirect), "307 Away\r\nLocation: %s", elsewhere.url);
    visitor_sendf(first.fd, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                  redirect);
    take_of(&receiver, &hook, &again);
    assert_string_equal(again.request.body, first.request.body);
    assert_true(receiver_is_idle(&elsewhere));
    assert_int_equal(count_labels(&again, "again-", 0), 1);
    delivery_answer(&again, "204 Thanks");
    take_of(&receiver, &hook, &again);
    assert_failing(service, &hook, NULL);
    assert_int_equal(count_labels(&again, "again-", 1), 2);
    delivery_answer(&again, "200 OK");
    delivery_drop(&first);
    end(service, &hook);
    receiver_close(&elsewhere);
    receiver_close(&receiver);
}

static void a_killed_service_goes_on_where_it_was(void **state)
{
    struct service *service = service_of(state);
    struct receiver receiver;
    struct delivery first;
    struct delivery again;
    struct hook hook;

    receiver_open(&receiver);
    create(service, &receiver, &hook);
    mint(service, "", "killed-0");
    take_of(&receiver, &hook, &first);
    assert_tells(&first, "killed-0");
    delivery_answer(&first, "200 OK");
    mint(service, "", "killed-1");
    take_of(&receiver, &hook, &first);
    assert_int_equal(count_labels(&first, "killed-", 1), 2);
    mint(service, "", "killed-2");
    service_crash_crownestd(service);
    service_come_back(service);
    take_of(&receiver, &hook, &again);
    assert_string_equal(again.request.body, first.request.body);
    delivery_drop(&first);
    delivery_answer(&again, "200 OK");
    take_of(&receiver, &hook, &again);
    assert_int_equal(count_labels(&again, "killed-", 2), 3);
    delivery_answer(&again, "200 OK");
    end(service, &hook);
    receiver_close(&receiver);
}

/* Before anything arrived, too. */
static void a_new_one_outlives_a_kill(void **state)
{
    struct service *service = service_of(state);
    struct receiver receiver;
    struct delivery delivery;
    struct hook hook;

    receiver_open(&receiver);
    mint(service, "", "before");
    create(service, &receiver, &hook);
    service_crash_crownestd(service);
    service_come_back(service);
    mint(service, "", "new-0");
    take_of(&receiver, &hook, &delivery);
    assert_int_equal(count_labels(&delivery, "new-", 0), 1);
    delivery_answer(&delivery, "200 OK");
    end(service, &hook);
    receiver_close(&receiver);
}

/* More of them than there are threads. */
static void those_that_hang_hold_up_nobody(void **state)
{
    struct service *service = service_of(state);
    struct receiver silent;
    struct receiver receiver;
    struct delivery held;
    struct delivery delivery;
    struct hook hanging;
    struct hook hook;

    receiver_open(&silent);
    receiver_open(&receiver);
    create(service, &silent, &hanging);
    create(service, &receiver, &hook);
    mint(service, "", "hang-0");
    take_of(&silent, &hanging, &held);
    for (unsigned i = 0; i < 20; i++) {
        char label[16];

        (void)snprintf(label, sizeof(label), "hang-%u", i);
        if (i > 0)
            mint(service, "", label);
        take_of(&receiver, &hook, &delivery);
        assert_int_equal(count_labels(&delivery, "hang-", i), i + 1);
        delivery_answer(&delivery, "200 OK");
    }
    /* All the while it was the same one. */
    assert_true(receiver_is_idle(&silent));
    end(service, &hanging);
    delivery_await_hangup(&held);
    end(service, &hook);
    receiver_close(&receiver);
    receiver_close(&silent);
}

static void only_what_fits_arrives(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    struct receiver mine;
    struct receiver all;
    struct delivery delivery;
    struct hook my_hook;
    struct hook all_hook;
    struct hook deleted;
    char *nouns[] = {STEP_TEXT("webhook"), STEP_TEXT("key.create")};

    receiver_open(&mine);
    receiver_open(&all);
    create(service, &mine, &my_hook);
    request.url = all.url;
    request.actions = nouns;
    request.n_actions = 2;
    request.all_projects = true;
    assert_done(try_create(service, &request, &all_hook), &error);
    mint(service, SERVICE_OTHER_PROJECT, "fits-0");
    take_of(&all, &all_hook, &delivery);
    assert_tells(&delivery, "fits-0");
    delivery_answer(&delivery, "200 OK");
    create(service, &mine, &deleted);
    end(service, &deleted);
    take_of(&all, &all_hook, &delivery);
    assert_non_null(strstr(delivery.request.body, "\"action\":\"webhook.create\""));
    /* Of the URL only what is no secret. */
    assert_null(strstr(delivery.request.body, "hook?x"));
    delivery_answer(&delivery, "200 OK");
    mint(service, "", "fits-1");
    take_of(&mine, &my_hook, &delivery);
    assert_int_equal(count_labels(&delivery, "fits-", 1), 2);
    delivery_answer(&delivery, "200 OK");
    end(service, &my_hook);
    end(service, &all_hook);
    receiver_close(&all);
    receiver_close(&mine);
}

static void a_deleted_one_is_silent(void **state)
{
    struct service *service = service_of(state);
    struct receiver gone;
    struct receiver receiver;
    struct delivery delivery;
    struct hook deleted;
    struct hook hook;

    receiver_open(&gone);
    receiver_open(&receiver);
    create(service, &gone, &deleted);
    create(service, &receiver, &hook);
    end(service, &deleted);
    mint(service, "", "silent-0");
    take_of(&receiver, &hook, &delivery);
    delivery_answer(&delivery, "200 OK");
    service_crash_crownestd(service);
    service_come_back(service);
    mint(service, "", "silent-1");
    take_of(&receiver, &hook, &delivery);
    delivery_answer(&delivery, "200 OK");
    assert_true(receiver_is_idle(&gone));
    assert_refused(try_delete(service, deleted.id), &error, NOT_FOUND, "WEBHOOK_NOT_FOUND",
                   "webhook_id");
    end(service, &hook);
    receiver_close(&receiver);
    receiver_close(&gone);
}

/* It has the delivery, and nobody waits for the rest. */
static void an_endless_answer_is_cut(void **state)
{
    static const char data[8192];
    struct service *service = service_of(state);
    struct receiver receiver;
    struct delivery delivery;
    struct hook hook;

    receiver_open(&receiver);
    create(service, &receiver, &hook);
    mint(service, "", "endless-0");
    take_of(&receiver, &hook, &delivery);
    visitor_sendf(delivery.fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    while (send(delivery.fd, data, sizeof(data), MSG_NOSIGNAL) > 0)
        ;
    delivery_drop(&delivery);
    mint(service, "", "endless-1");
    take_of(&receiver, &hook, &delivery);
    assert_int_equal(count_labels(&delivery, "endless-", 1), 2);
    delivery_answer(&delivery, "200 OK");
    end(service, &hook);
    receiver_close(&receiver);
}

static void a_retried_create_answers_the_same(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    struct hook hook;
    struct hook again;

    request.request_id = STEP_TEXT("webhook-retried");
    request.url = STEP_TEXT("http://127.0.0.1:9/");
    request.actions = (char *[]){STEP_TEXT("nothing")};
    request.n_actions = 1;
    assert_done(try_create(service, &request, &hook), &error);
    assert_int_equal(strncmp(hook.secret, "cnw_", 4), 0);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_done(try_create(service, &request, &again), &error);
    assert_string_equal(again.id, hook.id);
    assert_string_equal(again.secret, hook.secret);
    end(service, &hook);
}

static void wrong_ones_are_refused(void **state)
{
    struct service *service = service_of(state);
    static char long_label[130];
    static const struct {
        const char *url;
        const char *action;
        const char *label;
        size_t actions;
        const char *reason;
        const char *field;
    } wrong[] = {
        {"", "key", "", 1, "URL_INVALID", "url"},
        {"ftp://example.com/", "key", "", 1, "URL_INVALID", "url"},
        {"http://user:secret@example.com/", "key", "", 1, "URL_INVALID", "url"},
        {"http://example.com/", "key create", "", 1, "FILTER_INVALID", "actions"},
        {"http://example.com/", "", "", 1, "FILTER_INVALID", "actions"},
        {"http://example.com/", "key", "", 17, "FILTER_INVALID", "actions"},
        {"http://example.com/", "key", long_label, 1, "LABEL_INVALID", "label"},
    };
    struct hook hook;

    memset(long_label, 'x', sizeof(long_label) - 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
        char *actions[17];

        for (size_t j = 0; j < 17; j++)
            actions[j] = STEP_TEXT(wrong[i].action);
        request.url = STEP_TEXT(wrong[i].url);
        request.actions = actions;
        request.n_actions = wrong[i].actions;
        request.label = STEP_TEXT(wrong[i].label);
        assert_refused(try_create(service, &request, &hook), &error, INVALID_ARGUMENT,
                       wrong[i].reason, wrong[i].field);
        assert_null(strstr(error.message, "secret"));
    }
    assert_refused(try_delete(service, "whk_/../"), &error, NOT_FOUND, "WEBHOOK_NOT_FOUND",
                   "webhook_id");
}

static void keys_have_no_webhooks(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__ListWebhooksRequest request = CROWNEST__V1__LIST_WEBHOOKS_REQUEST__INIT;
    Crownest__V1__ListWebhooksResponse *response;

    assert_refused(crownest_webhook_list(service->client, &request, NULL, &response, &error),
                   &error, PERMISSION_DENIED, "OPERATOR_ONLY", "");
}

static void there_is_a_limit(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    struct hook hooks[WEBHOOKS_MAX];

    request.url = STEP_TEXT("http://127.0.0.1:9/");
    request.actions = (char *[]){STEP_TEXT("nothing")};
    request.n_actions = 1;
    for (size_t i = 0; i < WEBHOOKS_MAX; i++)
        assert_done(try_create(service, &request, &hooks[i]), &error);
    assert_refused(try_create(service, &request, &hooks[0]), &error, RESOURCE_EXHAUSTED,
                   "WEBHOOK_LIMIT", "");
    for (size_t i = 0; i < WEBHOOKS_MAX; i++)
        end(service, &hooks[i]);
    Crownest__V1__ListWebhooksResponse *none = list(service);

    assert_int_equal(none->n_webhooks, 0);
    list_free(none);
}

/* The last but one, with a delivery under way, so that the end of the service meets it. */
static void one_that_hangs_when_the_service_ends(void **state)
{
    static struct receiver silent;
    struct service *service = service_of(state);
    struct delivery held;
    struct hook hook;

    receiver_open(&silent);
    create(service, &silent, &hook);
    mint(service, "", "end-0");
    take_of(&silent, &hook, &held);
    answer_done(&held.request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_arrive_signed_and_in_order),
        cmocka_unit_test(what_was_not_taken_comes_again),
        cmocka_unit_test(a_killed_service_goes_on_where_it_was),
        cmocka_unit_test(a_new_one_outlives_a_kill),
        cmocka_unit_test(those_that_hang_hold_up_nobody),
        cmocka_unit_test(only_what_fits_arrives),
        cmocka_unit_test(a_deleted_one_is_silent),
        cmocka_unit_test(an_endless_answer_is_cut),
        cmocka_unit_test(a_retried_create_answers_the_same),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(keys_have_no_webhooks),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(one_that_hangs_when_the_service_ends),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
