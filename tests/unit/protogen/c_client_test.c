/* A proto comment that holds the end of a C comment does not end the generated one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tools/build/protogen/c_client.h"

static void a_comment_cannot_end_early(void **state)
{
    static uint8_t data[1 << 20];
    static char text[1 << 16];
    struct contract *contract;
    struct contract_error error;

    (void)state;
    FILE *in = fopen("tests/unit/protogen/good.descriptors", "rb");
    assert_non_null(in);
    size_t len = fread(data, 1, sizeof(data), in);
    (void)fclose(in);
    assert_int_equal(contract_load(data, len, &contract, &error), 0);
    FILE *out = fmemopen(text, sizeof(text), "w");
    c_client_write_header(&contract->services[0], out);
    (void)fclose(out);
    assert_non_null(strstr(text, " * Pokes * / it.\n"));
    assert_non_null(strstr(text, "int crownest_nest_poke(struct crownest_client *client,"));
    contract_free(contract);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_comment_cannot_end_early)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
