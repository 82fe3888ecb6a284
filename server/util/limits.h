/* Every bound of the server in one place. Sizes in bytes unless the name says otherwise. */
#pragma once

#define LIMIT_CALL_ARENA (32U << 20)      /* memory of one call */
#define LIMIT_CALLS_RUNNING 4096          /* unary calls admitted at one time */
#define LIMIT_STREAMS 32768               /* streams open at one time */
#define LIMIT_STREAMS_PER_CONNECTION 1024 /* HTTP/2 streams of one connection at one time */
#define LIMIT_METADATA_BYTES (16U << 10)  /* headers of one call */
#define LIMIT_RPC_BYTES (1U << 30)        /* gRPC's buffers, all connections together */
#define LIMIT_WORKERS 128                 /* threads for what blocks */
#define LIMIT_CONNECTIONS 20000           /* accepted sockets, both ports */
#define LIMIT_CONNECTIONS_PER_PEER 4096   /* accepted sockets of one address */
#define LIMIT_SNIFF_MS 10000              /* from accept to the first bytes of a protocol */
#define LIMIT_RECHECK_MS 1000             /* between looks at who reads and writes streams */
#define LIMIT_CUT_MS 1000                 /* for a client to take the status of a stream cut off */
#define LIMIT_STREAM_CHUNK (256U << 10)   /* data of one message of a file or artifact stream */
#define LIMIT_LOG_FRAME (64U << 10)       /* payload of one log frame */
#define LIMIT_LOG_BYTES (4ULL << 30)      /* kept bytes of one command's log */
#define LIMIT_ARTIFACT_BYTES (2ULL << 30) /* one artifact */
#define LIMIT_COLLECT_BYTES (4ULL << 30)  /* all artifacts of one collect */
#define LIMIT_COLLECT_ITEMS 64            /* items of one collect */
#define LIMIT_COLLECT_FILES 256           /* files that one collect may match */
#define LIMIT_SANDBOXES 1024              /* living sandboxes of this host */
#define LIMIT_COMMANDS_PER_SANDBOX 256    /* running commands of one sandbox */
#define LIMIT_BUCKETS_PER_PROJECT 100
#define LIMIT_BUCKET_CAP 1000000000000LL /* compute unit seconds */
#define LIMIT_METER_POINTS 1024          /* changes of state in the life of a sandbox */
#define LIMIT_PREVIEWS_PER_SANDBOX 32    /* open previews of one sandbox */
#define LIMIT_FILES_LISTED 10000         /* entries of one directory listing */
#define LIMIT_PAGE_DEFAULT 50            /* resources on a page */
#define LIMIT_PAGE 500                   /* resources on a page, at most */
#define LIMIT_ARGV 4096                  /* arguments of a command */
#define LIMIT_ARGV_ENV_BYTES (1U << 20)  /* argv and env of a command */
#define LIMIT_COMMAND_ENV 1024           /* variables of a command */
#define LIMIT_SANDBOX_ENV 256            /* variables of a sandbox */
#define LIMIT_SANDBOX_ENV_BYTES (64U << 10)
#define LIMIT_TERMINAL_SIDE 1000     /* rows, and columns, of a terminal */
#define LIMIT_INPUT_BYTES (1U << 20) /* input of a command in one request */
#define LIMIT_WAIT_S 60              /* for one answer of Wait */
#define LIMIT_LABELS 32
#define LIMIT_TTL_S 86400 /* a sandbox's life */
#define LIMIT_TTL_DEFAULT_S 300
#define LIMIT_TIMEOUT_S 86400 /* a command's timeout */
#define LIMIT_OPERATORS 1000
#define LIMIT_SESSIONS_PER_OPERATOR 32 /* one more ends the oldest */
#define LIMIT_SESSION_S 604800         /* a session of an operator */
#define LIMIT_SESSION_DEFAULT_S 43200
#define LIMIT_PASSWORDS_WAITING 8 /* to be hashed; one at a time is, in 64 MiB */
#define LIMIT_LOGIN_NAMES 1024    /* names, or those that look alike, with failures of their own */
#define LIMIT_LOGIN_FAILURES 5    /* of one name in a row; then one every so often: */
#define LIMIT_LOGIN_PAUSE_MS 30000
#define LIMIT_LOGIN_ALL_FAILURES 50 /* the same of all names together */
#define LIMIT_LOGIN_ALL_PAUSE_MS 1000
#define LIMIT_KEYS_REMEMBERED 4096       /* keys whose last use is known without a read */
#define LIMIT_KEY_USE_MS 60000           /* between two notes that a key was used */
#define LIMIT_ANSWER_KEPT_MS 86400000ULL /* how long the answer to a request_id is kept */
#define LIMIT_DENIALS_PER_SECOND 100     /* refusals that the audit lists one by one */
#define LIMIT_AUDIT_WATCHES 1024         /* streams of entries at one time */
#define LIMIT_AUDIT_VISITED 10000        /* entries that one page of a list looks at */
#define LIMIT_SANDBOXD_WAIT_MS 20000     /* for an answer of sandboxd */
#define LIMIT_NEST_WAIT_MS 10000         /* for an answer of nest-init */
#define LIMIT_FILE_WAIT_MS 120000        /* for a whole file to be written */

/* Of one sandbox. */
#define LIMIT_MEMORY_MIN (32ULL << 20)
#define LIMIT_MEMORY_MAX (16ULL << 30)
#define LIMIT_CPU_MILLIS_MIN 50
#define LIMIT_CPU_MILLIS_MAX 64000
#define LIMIT_PROCESSES_MIN 8
#define LIMIT_PROCESSES_MAX 32768
#define LIMIT_DISK_MIN (1ULL << 20)
#define LIMIT_DISK_MAX (64ULL << 30)

#define LIMIT_PLANS 200
#define LIMIT_RETENTION_S 315360000 /* how long logs, artifacts or tombstones are kept */
#define LIMIT_LOG_RETENTION_DEFAULT_S 2592000
#define LIMIT_ARTIFACT_RETENTION_DEFAULT_S 2592000
#define LIMIT_TOMBSTONE_RETENTION_DEFAULT_S 7776000

#define LIMIT_WEBHOOKS 64
#define LIMIT_WEBHOOK_URL 2048
#define LIMIT_WEBHOOK_THREADS 4                /* that deliver, one for a webhook */
#define LIMIT_WEBHOOK_SLOW_THREADS 2           /* of them, if its last delivery failed, or took */
#define LIMIT_WEBHOOK_SLOW_MS 1000             /* so long */
#define LIMIT_WEBHOOK_ENTRIES 100              /* of one delivery */
#define LIMIT_WEBHOOK_BODY (256U << 10)        /* of one delivery */
#define LIMIT_WEBHOOK_ANSWER_BYTES (64U << 10) /* of an answer; then it is cut */
#define LIMIT_WEBHOOK_CONNECT_MS 5000
#define LIMIT_WEBHOOK_DELIVERY_MS 15000
#define LIMIT_WEBHOOK_BACKOFF_MIN_MS 1000
#define LIMIT_WEBHOOK_BACKOFF_MAX_MS 600000
