/*
 * The commands of `crownest`: one struct each, in the table of main.c, one file each.
 *
 * A command gets the arguments from its own name on, prints results to stdout and everything else
 * to stderr, and returns its exit code. Single-threaded unless it says otherwise.
 */
#pragma once

/* Exit codes, the same for every command; the last three are those of `run`, `attach` and `wait`.
 */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,      /* the service refused, or something failed here; stderr says what */
    EXIT_USAGE = 2,       /* called wrongly */
    EXIT_TIMED_OUT = 124, /* the command's timeout passed */
    EXIT_OURS = 125,      /* it failed itself; no exit code of the command's */
    EXIT_SIGNALED = 128,  /* plus the number of the signal that ended the command */
};

struct command {
    const char *name;     /* "run", or two words: "keys create" */
    const char *operands; /* "[--] PROGRAM [ARGUMENT...]", or "" */
    const char *summary;  /* one line, lower case */
    const char *manual;   /* what --help says beside the flags; NULL: nothing more */
    int (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_up;
extern const struct command command_down;
extern const struct command command_restart;
extern const struct command command_doctor;
extern const struct command command_projects_create;
extern const struct command command_projects_update;
extern const struct command command_projects_list;
extern const struct command command_plans_apply;
extern const struct command command_plans_delete;
extern const struct command command_plans;
extern const struct command command_keys_create;
extern const struct command command_keys_list;
extern const struct command command_keys_revoke;
extern const struct command command_operators_create;
extern const struct command command_operators_set_password;
extern const struct command command_operators_list;
extern const struct command command_operators_delete;
extern const struct command command_login;
extern const struct command command_logout;
extern const struct command command_whoami;
extern const struct command command_templates;
extern const struct command command_create;
extern const struct command command_run;
extern const struct command command_ps;
extern const struct command command_logs;
extern const struct command command_attach;
extern const struct command command_wait;
extern const struct command command_signal;
extern const struct command command_stats;
extern const struct command command_update;
extern const struct command command_heartbeat;
extern const struct command command_pause;
extern const struct command command_resume;
extern const struct command command_kill;
extern const struct command command_artifacts_list;
extern const struct command command_artifacts_get;
extern const struct command command_artifacts_delete;
extern const struct command command_audit_list;
extern const struct command command_audit_watch;
extern const struct command command_audit_export;
extern const struct command command_audit_key;
extern const struct command command_audit_verify;
extern const struct command command_buckets_create;
extern const struct command command_buckets_update;
extern const struct command command_buckets_list;
extern const struct command command_buckets_delete;
extern const struct command command_usage_receipt;
extern const struct command command_usage_verify;
extern const struct command command_usage;
extern const struct command command_webhooks_create;
extern const struct command command_webhooks_list;
extern const struct command command_webhooks_delete;
extern const struct command command_backup;
extern const struct command command_restore;
extern const struct command command_version;
