/*
 * The few functions of upb that reflection uses, declared by hand: Debian's libgrpc brings the
 * library (libupb.so.29, grpc 1.51) but no headers, and no other upb may be in the process.
 * All types are opaque here.
 */
#pragma once

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>

struct upb_DefPool;
struct upb_FileDef;
struct upb_Arena;
struct upb_MiniTable;
struct upb_alloc;

extern struct upb_alloc upb_alloc_global;
extern const struct upb_MiniTable google_protobuf_FileDescriptorProto_msginit;

struct upb_Arena *upb_Arena_Init(void *memory, size_t size, struct upb_alloc *alloc);
void upb_Arena_Free(struct upb_Arena *arena);
void *_upb_Message_New(const struct upb_MiniTable *table, struct upb_Arena *arena);
/* 0: decoded. */
int upb_Decode(const char *data, size_t size, void *message, const struct upb_MiniTable *table,
               const void *extensions, int options, struct upb_Arena *arena);

struct upb_DefPool *upb_DefPool_New(void);
void upb_DefPool_Free(struct upb_DefPool *pool);
/* Larger than upb's own, which holds a flag and a short text. */
struct upb_Status {
    alignas(8) char opaque[1024];
};

void upb_Status_Clear(struct upb_Status *status);
/* NULL: the file is not valid, or one that it imports was not added before. */
const struct upb_FileDef *upb_DefPool_AddFile(struct upb_DefPool *pool, const void *file_proto,
                                              struct upb_Status *status);
const struct upb_FileDef *upb_DefPool_FindFileContainingSymbol(const struct upb_DefPool *pool,
                                                               const char *name);
const char *upb_FileDef_Name(const struct upb_FileDef *file);
int upb_FileDef_DependencyCount(const struct upb_FileDef *file);
const struct upb_FileDef *upb_FileDef_Dependency(const struct upb_FileDef *file, int i);
const struct upb_FileDef *upb_DefPool_FindFileByName(const struct upb_DefPool *pool,
                                                     const char *name);
