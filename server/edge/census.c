#include "server/edge/census.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BUCKETS 4096U
#define NONE (-1)

struct peer {
    uint8_t address[8];
};

struct entry {
    bool used;
    ino_t inode;
    struct peer peer;
    int next; /* descriptor of the next entry of the bucket, or NONE */
};

struct census {
    unsigned limit, peer_limit;
    unsigned count;
    struct entry *entries; /* by descriptor */
    int entry_count;
    int buckets[BUCKETS];
};

struct census *census_new(unsigned limit, unsigned peer_limit)
{
    struct census *census = calloc(1, sizeof(*census));

    if (!census)
        abort();
    census->limit = limit;
    census->peer_limit = peer_limit;
    for (unsigned i = 0; i < BUCKETS; i++)
        census->buckets[i] = NONE;
    return census;
}

void census_free(struct census *census)
{
    if (!census)
        return;
    free(census->entries);
    free(census);
}

unsigned census_count(const struct census *census)
{
    return census->count;
}

/* A family's mark and the part of an address that one peer controls. Unix sockets are one peer. */
static struct peer peer_of(const struct sockaddr_storage *name)
{
    struct peer peer = {{0}};

    if (name->ss_family == AF_INET) {
        peer.address[0] = 4;
        memcpy(peer.address + 4, &((const struct sockaddr_in *)name)->sin_addr, 4);
    } else if (name->ss_family == AF_INET6) {
        memcpy(peer.address, &((const struct sockaddr_in6 *)name)->sin6_addr, 8);
    }
    return peer;
}

static unsigned bucket_of(const struct peer *peer)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < sizeof(peer->address); i++)
        hash = (hash ^ peer->address[i]) * 0x100000001b3U;
    return (unsigned)(hash >> 20) % BUCKETS;
}

static unsigned count_peer(const struct census *census, const struct peer *peer)
{
    unsigned count = 0;

    for (int fd = census->buckets[bucket_of(peer)]; fd != NONE; fd = census->entries[fd].next)
        count += memcmp(&census->entries[fd].peer, peer, sizeof(*peer)) == 0;
    return count;
}

static void grow(struct census *census, int fd)
{
    int count = census->entry_count ? census->entry_count : 64;

    if (fd < census->entry_count)
        return;
    while (count <= fd)
        count *= 2;
    census->entries = realloc(census->entries, (size_t)count * sizeof(*census->entries));
    if (!census->entries)
        abort();
    memset(census->entries + census->entry_count, 0,
           (size_t)(count - census->entry_count) * sizeof(*census->entries));
    census->entry_count = count;
}

void census_remove(struct census *census, int fd)
{
    if (fd >= census->entry_count || !census->entries[fd].used)
        return;
    int *link = &census->buckets[bucket_of(&census->entries[fd].peer)];

    while (*link != fd)
        link = &census->entries[*link].next;
    *link = census->entries[fd].next;
    census->entries[fd].used = false;
    census->count--;
}

bool census_add(struct census *census, int fd, const struct sockaddr_storage *name)
{
    struct peer peer = peer_of(name);
    struct stat status;

    grow(census, fd);
    census_remove(census, fd);
    if (census->count >= census->limit || count_peer(census, &peer) >= census->peer_limit ||
        fstat(fd, &status) < 0)
        return false;
    int *bucket = &census->buckets[bucket_of(&peer)];

    census->entries[fd] =
        (struct entry){.used = true, .inode = status.st_ino, .peer = peer, .next = *bucket};
    *bucket = fd;
    census->count++;
    return true;
}

void census_sweep(struct census *census)
{
    struct stat status;

    for (int fd = 0; fd < census->entry_count; fd++)
        if (census->entries[fd].used && (fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode) ||
                                         status.st_ino != census->entries[fd].inode))
            census_remove(census, fd);
}
