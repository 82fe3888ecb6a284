#include "server/util/id.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/clock.h"

#define ID_BODY 26

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void random_bytes(uint8_t *data, int size)
{
    if (RAND_bytes(data, size) != 1)
        abort();
}

/* Two ids of one millisecond keep their order: the later one counts the random part up. */
static void next_value(uint8_t ret_value[16])
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static uint8_t last[16];
    uint8_t fresh[16];
    uint64_t now = clock_wall_ms();

    random_bytes(fresh, sizeof(fresh));
    for (int i = 0; i < 6; i++)
        fresh[i] = (uint8_t)(now >> (40 - 8 * i));
    (void)pthread_mutex_lock(&mutex);
    if (memcmp(fresh, last, 6) > 0) {
        memcpy(last, fresh, sizeof(last));
    } else {
        for (int i = 15; i >= 0 && ++last[i] == 0; i--)
            ;
    }
    memcpy(ret_value, last, sizeof(last));
    (void)pthread_mutex_unlock(&mutex);
}

void id_make(const char *prefix, char ret_id[ID_SIZE])
{
    uint8_t value[16];
    size_t at = strlen(prefix);

    next_value(value);
    memcpy(ret_id, prefix, at);
    /* 26 characters are 130 bits: the first carries only three. */
    for (int i = 0; i < ID_BODY; i++) {
        int bit = 5 * i - 2;
        unsigned digit = 0;

        for (int b = bit; b < bit + 5; b++) {
            digit <<= 1;
            if (b >= 0)
                digit |= (unsigned)(value[b / 8] >> (7 - b % 8)) & 1U;
        }
        ret_id[at++] = alphabet[digit];
    }
    ret_id[at] = '\0';
}

bool id_valid(const char *prefix, const char *text)
{
    size_t size = strlen(prefix);

    if (strncmp(prefix, text, size) != 0 || strlen(text) != size + ID_BODY)
        return false;
    return strspn(text + size, alphabet) == ID_BODY;
}

void id_random(unsigned count, char *ret_text)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t byte;

        random_bytes(&byte, 1);
        ret_text[i] = alphabet[byte & 31U];
    }
    ret_text[count] = '\0';
}
