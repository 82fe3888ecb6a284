#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_operator.h"
#include "tools/cli/ask_password.h"
#include "tools/cli/connect.h"
#include "tools/cli/json.h"
#include "tools/cli/session_file.h"
#include "tools/cli/text.h"

#define WEEK_S (7 * 24 * 3600)

struct login_flags {
    struct connect_flags connect;
    const char *name;
    uint64_t ttl; /* seconds; 0: the service's own */
    bool password_stdin;
    bool as_json;
};

/* The token stays where later commands find it: it is not printed. */
static int keep(const struct command *command, const char *target,
                const Crownest__V1__LoginResponse *response, bool as_json)
{
    struct err err = {0};
    char until[TEXT_TIME_SIZE];
    const char *variable = getenv("CROWNEST_API_KEY");

    if (session_file_put(target, response->token, &err) < 0) {
        fprintf(stderr, "crownest %s: %s\n", command->name, err.message);
        return EXIT_FAILED;
    }
    if (variable && variable[0])
        fprintf(stderr, "CROWNEST_API_KEY is set, and is used instead of the session.\n");
    if (as_json) {
        explicit_bzero(response->token, strlen(response->token));
        return json_print(json_from_message(&response->base), stdout) ? EXIT_FAILED : EXIT_OK;
    }
    text_time(response->expire_time, until);
    fprintf(stderr, "%s is logged in until %s.\n", response->name, until);
    return EXIT_OK;
}

static int login(const struct command *command, const struct login_flags *values)
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__LoginRequest request = CROWNEST__V1__LOGIN_REQUEST__INIT;
    Crownest__V1__LoginResponse *response;
    struct crownest_error error;
    char password[ASK_PASSWORD_SIZE];
    int code;

    if (ask_password(command, values->password_stdin, false, password) < 0)
        return EXIT_FAILED;
    struct crownest_client *client = connect_client_without(command, &values->connect);

    request.name = (char *)(uintptr_t)values->name;
    request.password = password;
    ttl.seconds = (int64_t)values->ttl;
    request.ttl = values->ttl ? &ttl : NULL;
    if (!client) {
        code = EXIT_FAILED;
    } else if (crownest_operator_login(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = keep(command, crownest_client_target(client), response, values->as_json);
        explicit_bzero(response->token, strlen(response->token));
        crownest__v1__login_response__free_unpacked(response, NULL);
    }
    explicit_bzero(password, sizeof(password));
    crownest_client_free(client);
    return code;
}

static int login_run(const struct command *command, int argc, char **argv)
{
    struct login_flags values = {0};
    const struct flag flags[] = {
        {.name = "password-stdin",
         .kind = FLAG_SWITCH,
         .value = &values.password_stdin,
         .help = "read the password from stdin instead of the terminal"},
        {.name = "ttl",
         .kind = FLAG_NUMBER,
         .value = &values.ttl,
         .operand = "SECONDS",
         .help = "how long the session lasts (43200)",
         .max = WEEK_S},
        {.name = "json", .kind = FLAG_SWITCH, .value = &values.as_json, .help = "print as JSON"},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the name of an operator");
    if (connect_is_local(&values.connect))
        return flags_mistake(command, "is for services elsewhere: on the local socket one is an "
                                      "operator already; give --url");
    values.name = argv[first];
    return login(command, &values);
}

/* Whatever the service says, the token is of no more use. */
static int logout(const struct command *command, struct crownest_client *client, bool everywhere)
{
    Crownest__V1__LogoutRequest request = CROWNEST__V1__LOGOUT_REQUEST__INIT;
    Crownest__V1__LogoutResponse *response;
    struct crownest_error error;
    struct err err = {0};
    int code = EXIT_OK;

    request.everywhere = everywhere;
    if (crownest_operator_logout(client, &request, NULL, &response, &error))
        code = connect_failed(command, client, &error);
    else
        crownest__v1__logout_response__free_unpacked(response, NULL);
    if (session_file_put(crownest_client_target(client), NULL, &err) < 0) {
        fprintf(stderr, "crownest %s: %s\n", command->name, err.message);
        code = EXIT_FAILED;
    }
    return code;
}

static int logout_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool everywhere = false;
    const struct flag flags[] = {
        {.name = "everywhere",
         .kind = FLAG_SWITCH,
         .value = &everywhere,
         .help = "end all sessions of the operator"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    struct crownest_client *client = connect_client_session(command, &connect);
    int code = client ? logout(command, client, everywhere) : EXIT_FAILED;

    crownest_client_free(client);
    return code;
}

const struct command command_login = {
    .name = "login",
    .operands = "NAME",
    .summary = "become an operator of a service elsewhere, by a password",
    .manual = "Later commands with the same address use the session, unless CROWNEST_API_KEY is\n"
              "set. It is kept in $XDG_CONFIG_HOME/crownest/sessions.json, or below ~/.config.\n",
    .run = login_run,
};

const struct command command_logout = {
    .name = "logout",
    .operands = "",
    .summary = "end the session that login began, its open streams too",
    .run = logout_run,
};
