/*
 * The keys of the database. The owning project stands in the key of everything a tenant has, so
 * that a lookup under another project finds nothing; `/` separates, and no id or name contains it.
 *
 *   j/<project>                     Project               jn/<name>            → project id
 *   k/<key>                         KeyRecord             kh/<hash in hex>     → key id
 *   ku/<key>                        when it was last used: milliseconds since 1970, decimal
 *   o/<name>                        OperatorRecord
 *   os/<hash in hex>                SessionRecord         on/<name>/<session>  → hash in hex
 *   pl/<plan>                       Plan
 *   s/<project>/<sandbox>           SandboxRecord         live/<sandbox>       → project id
 *   c/<project>/<command>           CommandRecord         run/<command>        → project id
 *   cs/<project>/<sandbox>/<command>  (index)
 *   l/<project>/<end>/<command>    (index: its log is kept)
 *   lc/<end>/<command>              (index: its log is to be compressed)
 *   lx/<command>                    (its record is gone: its log is to be removed)
 *   a/<project>/<artifact>          Artifact              as/<project>/<sandbox>/<artifact> (index)
 *   ad/<digest in hex>/<artifact>   → project id          m/<what>             (what was done to
 * old records) p/<project>/<preview>           PreviewRecord         pi/<preview>         → project
 * id ps/<project>/<sandbox>/<preview>  (index) w/<webhook>                     Webhook wc/<webhook>
 * → WebhookProgress e/<number>                      hash, AuditEntry      the chain: see struct
 * store_chain ea/<actor>/<number>  er/<id>/<number>  ep/<project>/<number>  (indexes of it)
 *   r/<project>/<request id>        AnswerRecord
 *   ra/<time>/<project>/<request id>  (index: milliseconds, 16 hexadecimal digits)
 *   ud/<project>/<day>/<sandbox>    UsageRow (yyyymmdd; of sandboxes that have ended)
 *   b/<project>/<bucket>            BucketRecord
 *   bn/<project>/<bucket>           BucketNote
 *   me/<project>/<sandbox>          EgressRecord (of sandboxes that live)
 *   meter/alive                     AliveRecord
 *
 * <number>: of an entry, 16 hexadecimal digits. What a user would call a resource is changed with
 * an entry only: see audit_new.
 * <end>: when the command ended, milliseconds since 1970 in 16 hexadecimal digits.
 */
#pragma once

#include <stdio.h>

#include "server/util/bytes.h"

struct schema_key {
    char text[200];
    size_t size;
};

static inline struct bytes schema_bytes(const struct schema_key *key)
{
    return bytes_of(key->text, key->size);
}

/* One to three parts behind the type; a NULL part ends the key. An empty last part makes a prefix.
 */
static inline struct schema_key schema_key(const char *type, const char *a, const char *b,
                                           const char *c)
{
    struct schema_key key;
    int size = snprintf(key.text, sizeof(key.text), "%s/%s%s%s%s%s", type, a, b ? "/" : "",
                        b ? b : "", b && c ? "/" : "", b && c ? c : "");

    key.size = size < 0 ? 0 : (size_t)size;
    if (key.size >= sizeof(key.text))
        key.size = sizeof(key.text) - 1;
    return key;
}
