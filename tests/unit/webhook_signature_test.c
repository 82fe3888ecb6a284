/* What deliveries are signed with, and the key that the secrets come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "server/webhook/signature.h"
#include "tests/unit/tempdir.h"

/* By hand: printf '%s' '1700000000.{"entries":[]}' | openssl dgst -sha256 -hmac cnw_secret */
static void a_signature_is_the_hmac_of_time_and_body(void **state)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];

    (void)state;
    webhook_sign("cnw_secret", 1700000000, bytes_of_string("{\"entries\":[]}"), signature);
    assert_string_equal(signature,
                        "t=1700000000,v1="
                        "1fd5981abaecee6baa4257e5d37b24eb9f77fab6366afefb0804a398c319676e");
}

/* printf whk_1 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1f, 20 bytes in base32 */
static void a_secret_is_derived(void **state)
{
    uint8_t key[WEBHOOK_KEY_SIZE];
    char secret[SECRET_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    webhook_secret(key, "whk_1", secret);
    assert_string_equal(secret, "cnw_amp23cddhgg3mm6x9774cjqt79nmk69j");
}

static void secrets_differ_by_webhook_and_by_key(void **state)
{
    uint8_t key[WEBHOOK_KEY_SIZE] = {0};
    char one[SECRET_SIZE];
    char other[SECRET_SIZE];

    (void)state;
    webhook_secret(key, "whk_1", one);
    webhook_secret(key, "whk_2", other);
    assert_string_not_equal(one, other);
    key[0] = 1;
    webhook_secret(key, "whk_1", other);
    assert_string_not_equal(one, other);
}

static void the_key_is_made_once_and_is_its_owner_s(void **state)
{
    uint8_t key[WEBHOOK_KEY_SIZE];
    uint8_t again[WEBHOOK_KEY_SIZE];
    char *directory = tempdir_new();
    char path[512];
    struct stat st;
    struct err err = {0};

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/webhook.key", directory);
    assert_int_equal(webhook_key_open(path, key, &err), 0);
    assert_int_equal(webhook_key_open(path, again, &err), 0);
    assert_memory_equal(key, again, sizeof(key));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    tempdir_free(directory);
}

static void a_file_that_is_no_key_is_refused(void **state)
{
    static const size_t sizes[] = {0, WEBHOOK_KEY_SIZE - 1, WEBHOOK_KEY_SIZE + 1};
    uint8_t key[WEBHOOK_KEY_SIZE];
    char *directory = tempdir_new();
    char path[512];
    struct err err = {0};

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/webhook.key", directory);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        static const uint8_t bytes[WEBHOOK_KEY_SIZE + 1];
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, sizes[i], file), sizes[i]);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(webhook_key_open(path, key, &err), -EINVAL);
        assert_non_null(strstr(err.message, path));
    }
    tempdir_free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_the_hmac_of_time_and_body),
        cmocka_unit_test(a_secret_is_derived),
        cmocka_unit_test(secrets_differ_by_webhook_and_by_key),
        cmocka_unit_test(the_key_is_made_once_and_is_its_owner_s),
        cmocka_unit_test(a_file_that_is_no_key_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
