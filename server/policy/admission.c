#include "server/policy/admission.h"

enum need {
    NEED_NOTHING = 1, /* reads, ends, or changes only what runs */
    NEED_STORE,       /* writes a record */
    NEED_ROOM,        /* the same, and lets logs, artifacts or sandboxes grow */
};

#define NEED_admin_backup NEED_STORE
#define NEED_artifact_collect NEED_ROOM
#define NEED_artifact_delete NEED_STORE
#define NEED_artifact_download NEED_NOTHING
#define NEED_artifact_get NEED_NOTHING
#define NEED_artifact_list NEED_NOTHING
#define NEED_audit_export NEED_NOTHING
#define NEED_audit_get_key NEED_NOTHING
#define NEED_audit_list NEED_NOTHING
#define NEED_audit_watch NEED_NOTHING
#define NEED_bucket_create NEED_STORE
#define NEED_bucket_delete NEED_STORE
#define NEED_bucket_get NEED_NOTHING
#define NEED_bucket_list NEED_NOTHING
#define NEED_bucket_update NEED_STORE
#define NEED_command_cancel NEED_NOTHING
#define NEED_command_get NEED_NOTHING
#define NEED_command_list NEED_NOTHING
#define NEED_command_resize NEED_NOTHING
#define NEED_command_run NEED_ROOM
#define NEED_command_signal NEED_NOTHING
#define NEED_command_start NEED_ROOM
#define NEED_command_stream_logs NEED_NOTHING
#define NEED_command_wait NEED_NOTHING
#define NEED_command_write_stdin NEED_NOTHING
#define NEED_file_get_upload NEED_NOTHING
#define NEED_file_list NEED_NOTHING
#define NEED_file_make_dir NEED_STORE
#define NEED_file_move NEED_STORE
#define NEED_file_read NEED_NOTHING
#define NEED_file_remove NEED_STORE
#define NEED_file_stat NEED_NOTHING
#define NEED_file_write NEED_NOTHING
#define NEED_key_create NEED_STORE
#define NEED_key_list NEED_NOTHING
#define NEED_key_revoke NEED_STORE
#define NEED_key_who_am_i NEED_NOTHING
#define NEED_operator_create NEED_STORE
#define NEED_operator_delete NEED_STORE
#define NEED_operator_list NEED_NOTHING
#define NEED_operator_login NEED_STORE
#define NEED_operator_logout NEED_STORE
#define NEED_operator_set_password NEED_STORE
#define NEED_plan_delete NEED_STORE
#define NEED_plan_get NEED_NOTHING
#define NEED_plan_list NEED_NOTHING
#define NEED_plan_put NEED_STORE
#define NEED_preview_create NEED_STORE
#define NEED_preview_delete NEED_STORE
#define NEED_preview_get NEED_NOTHING
#define NEED_preview_list NEED_NOTHING
#define NEED_project_create NEED_STORE
#define NEED_project_list NEED_NOTHING
#define NEED_project_update NEED_STORE
#define NEED_sandbox_create NEED_ROOM
#define NEED_sandbox_get NEED_NOTHING
#define NEED_sandbox_heartbeat NEED_NOTHING
#define NEED_sandbox_kill NEED_NOTHING
#define NEED_sandbox_list NEED_NOTHING
#define NEED_sandbox_pause NEED_STORE
#define NEED_sandbox_resume NEED_STORE
#define NEED_sandbox_stats NEED_NOTHING
#define NEED_sandbox_update NEED_STORE
#define NEED_template_get NEED_NOTHING
#define NEED_template_list NEED_NOTHING
#define NEED_usage_get NEED_NOTHING
#define NEED_usage_get_pricing NEED_NOTHING
#define NEED_usage_get_receipt NEED_NOTHING
#define NEED_usage_verify NEED_NOTHING
#define NEED_webhook_create NEED_STORE
#define NEED_webhook_delete NEED_STORE
#define NEED_webhook_list NEED_NOTHING

#define ENTRY(id, name, request_type, response_type) [id] = NEED_##name,

static const enum need needs[RPC_METHOD_COUNT] = {
    RPC_UNARY_METHODS(ENTRY) RPC_SERVER_STREAM_METHODS(ENTRY) RPC_CLIENT_STREAM_METHODS(ENTRY)};

struct status admission_check(const struct admission *admission, const struct rpc_method *method)
{
    enum need need = needs[method - rpc_methods];

    if (need == NEED_NOTHING)
        return STATUS_OK_VALUE;
    struct status status = store_writable(admission->store);

    if (status_is_ok(&status) && need == NEED_ROOM)
        status = space_admit(admission->space);
    return status;
}

struct status admission_open(const struct admission *admission, const struct rpc_method *method)
{
    if (protobuf_c_message_descriptor_get_field_by_name(method->input, "request_id"))
        return STATUS_OK_VALUE;
    return admission_check(admission, method);
}
