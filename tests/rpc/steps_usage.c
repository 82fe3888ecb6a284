#include "tests/rpc/steps.h"

#include <stdio.h>
#include <string.h>

static struct crownest_error error;

Crownest__V1__Receipt *step_receipt(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__GetReceiptRequest request = CROWNEST__V1__GET_RECEIPT_REQUEST__INIT;
    Crownest__V1__GetReceiptResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_usage_get_receipt(client, &request, NULL, &response, &error), &error);
    Crownest__V1__Receipt *receipt = response->receipt;

    response->receipt = NULL;
    crownest__v1__get_receipt_response__free_unpacked(response, NULL);
    return receipt;
}

static int64_t usec(const Google__Protobuf__Timestamp *time)
{
    return time->seconds * 1000000 + time->nanos / 1000;
}

void assert_receipt_is_whole(const Crownest__V1__Receipt *receipt)
{
    uint64_t sums[2] = {0, 0};

    for (size_t i = 0; i < receipt->n_intervals; i++) {
        const Crownest__V1__Interval *interval = receipt->intervals[i];
        bool last = i + 1 == receipt->n_intervals;

        sums[interval->paused] += interval->duration_usec;
        if (i == 0)
            assert_false(interval->paused);
        else
            assert_true(interval->paused != receipt->intervals[i - 1]->paused);
        assert_true(last ? receipt->final == (interval->end_time != NULL)
                         : interval->end_time != NULL);
        if (!interval->end_time)
            continue;
        assert_int_equal(usec(interval->end_time) - usec(interval->start_time),
                         interval->duration_usec);
        if (!last)
            assert_int_equal(usec(interval->end_time), usec(receipt->intervals[i + 1]->start_time));
    }
    assert_int_equal(sums[0], receipt->running_usec);
    assert_int_equal(sums[1], receipt->paused_usec);
}

uint64_t step_verify_usage(struct crownest_client *client)
{
    char token[2 * STEP_ID_SIZE] = "";
    uint64_t sandboxes = 0;

    do {
        Crownest__V1__VerifyUsageRequest request = CROWNEST__V1__VERIFY_USAGE_REQUEST__INIT;
        Crownest__V1__VerifyUsageResponse *response;

        request.page_token = token;
        assert_done(crownest_usage_verify(client, &request, NULL, &response, &error), &error);
        if (response->problem[0])
            fail_msg("%s %s: %s", response->sandbox_id, response->day, response->problem);
        sandboxes += response->sandboxes;
        (void)snprintf(token, sizeof(token), "%s", response->next_page_token);
        crownest__v1__verify_usage_response__free_unpacked(response, NULL);
    } while (token[0]);
    return sandboxes;
}
