#include "server/webhook/post.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/limits.h"

#define HEADER_SIZE 192

void post_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

/* URLs */

static struct status wrong_url(const char *why)
{
    return status_invalid("url", "URL_INVALID", "%s", why);
}

static void fill_origin(CURLU *parsed, char ret_origin[POST_ORIGIN_SIZE])
{
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;

    (void)curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    (void)curl_url_get(parsed, CURLUPART_HOST, &host, 0);
    (void)curl_url_get(parsed, CURLUPART_PORT, &port, 0);
    (void)snprintf(ret_origin, POST_ORIGIN_SIZE, "%s://%s%s%s", scheme ? scheme : "",
                   host ? host : "", port ? ":" : "", port ? port : "");
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
}

static struct status judge(CURLU *parsed, const char *url)
{
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER);

    if (code == CURLUE_USER_NOT_ALLOWED)
        return wrong_url("a user and a password in the URL are not taken: whoever lists webhooks "
                         "would see them; check the signature instead");
    if (code != CURLUE_OK)
        return wrong_url("it is no http or https URL, such as https://example.com/hook");
    return STATUS_OK_VALUE;
}

struct status post_check_url(const char *url, char ret_origin[POST_ORIGIN_SIZE])
{
    if (strlen(url) > LIMIT_WEBHOOK_URL)
        return wrong_url("a URL is at most 2048 characters");
    for (const char *c = url; *c; c++) {
        if (*c <= ' ' || *c > '~')
            return wrong_url("a URL is printable ASCII without spaces; encode the rest with %");
    }
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return wrong_url("a URL begins with http:// or https://");
    /* libcurl takes three slashes for two. */
    if (strstr(url, "://")[3] == '/')
        return wrong_url("the URL names no host");
    CURLU *parsed = curl_url();

    if (!parsed)
        abort();
    struct status status = judge(parsed, url);

    if (status_is_ok(&status))
        fill_origin(parsed, ret_origin);
    curl_url_cleanup(parsed);
    return status;
}

/* Sending */

/* Of the answer: its head and its body, which are counted and forgotten. */
static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
    size_t *seen = arg;

    (void)data;
    *seen += size * count;
    return *seen > LIMIT_WEBHOOK_ANSWER_BYTES ? 0 : size * count;
}

static int on_progress(void *arg, curl_off_t to_receive, curl_off_t received, curl_off_t to_send,
                       curl_off_t sent)
{
    const struct post *post = arg;

    (void)to_receive;
    (void)received;
    (void)to_send;
    (void)sent;
    return post->stop && post->stop(post->arg);
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char line[HEADER_SIZE];

    (void)snprintf(line, sizeof(line), "%s: %s", name, value);
    list = curl_slist_append(list, line);
    if (!list)
        abort();
    return list;
}

static struct curl_slist *make_headers(const struct post *post)
{
    struct curl_slist *list = add_header(NULL, "Content-Type", "application/json");

    list = add_header(list, "X-CrowNest-Delivery", post->delivery);
    list = add_header(list, "X-CrowNest-Signature", post->signature);
    /* Without a value libcurl leaves it out, and does not wait for a 100 that few servers send. */
    return add_header(list, "Expect", "");
}

static void set_bounds(CURL *curl, const struct post *post)
{
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    /* Of the environment. */
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_WEBHOOK_CONNECT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)LIMIT_WEBHOOK_DELIVERY_MS);
    /* Else whoever gives up waits for a name server all the same. */
    (void)curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, post);
}

static void set_exchange(CURL *curl, const struct post *post, struct curl_slist *headers,
                         size_t *seen)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, post->url);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "crownest");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->body.data);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.size);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, seen);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_answer);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, seen);
}

/* What libcurl says may quote a certificate, that is, anything. */
static void fill_error(const char *text, char ret_error[POST_ERROR_SIZE])
{
    (void)snprintf(ret_error, POST_ERROR_SIZE, "%s", text);
    for (char *c = ret_error; *c; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?';
    }
}

/* Whoever answers 2xx has the delivery, whatever becomes of the rest of the answer. */
static int judge_answer(CURL *curl, CURLcode code, const char *text,
                        char ret_error[POST_ERROR_SIZE])
{
    long status = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2)
        return 0;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return -ECANCELED;
    if (status >= 300)
        (void)snprintf(ret_error, POST_ERROR_SIZE, "the answer was %ld, not 2xx", status);
    else
        fill_error(text[0] ? text : curl_easy_strerror(code), ret_error);
    return -EIO;
}

int post_send(const struct post *post, char ret_error[POST_ERROR_SIZE])
{
    CURL *curl = curl_easy_init();
    char text[CURL_ERROR_SIZE] = "";
    size_t seen = 0;

    if (!curl)
        abort();
    struct curl_slist *headers = make_headers(post);

    set_bounds(curl, post);
    set_exchange(curl, post, headers, &seen);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    CURLcode code = curl_easy_perform(curl);
    int r = judge_answer(curl, code, text, ret_error);

    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return r;
}
