#include "tests/jail/outcome.h"

#include <string.h>

#include "tests/jail/fixture.h"

const char *outcome_name(int error)
{
    return error == 0 ? "ok" : strerrorname_np(error);
}

bool outcome_is_one_of(const char *outcome, size_t length, const char *alternatives)
{
    for (const char *at = alternatives; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == length && strncmp(at, outcome, length) == 0) {
            return true;
        }
    }
    return false;
}

void outcome_check(const char *report, const char *name, const char *alternatives)
{
    const char *line = report;
    while (*line != '\0') {
        size_t outcome = strcspn(line, " \r\n");
        size_t length = strcspn(line, "\r\n");
        const char *said = line + outcome + (line[outcome] == ' ');
        if (strncmp(said, name, strlen(name)) == 0 &&
            (size_t)(said - line) + strlen(name) == length) {
            if (!outcome_is_one_of(line, outcome, alternatives)) {
                fail_msg("expected %s: %.*s", alternatives, (int)length, line);
            }
            return;
        }
        line += length;
        line += strspn(line, "\r\n");
    }
    fail_msg("the probe did not come to it: %s", name);
}
