#include "server/gateway/page.h"

#include <string.h>

struct page {
    unsigned status;
    const char *line;
    const char *text;
};

static const struct page pages[] = {
    {400, "400 Bad Request", "The request is not well-formed HTTP/1.1."},
    {401, "401 Unauthorized",
     "This preview is private. Open it with the URL that carries its token."},
    {403, "403 Forbidden", "A page of another origin may not do this."},
    {404, "404 Not Found", "There is no such preview."},
    {405, "405 Method Not Allowed", "Previews do not take this method."},
    {408, "408 Request Timeout", "The request took too long to arrive."},
    {410, "410 Gone", "The sandbox of this preview has ended."},
    {414, "414 URI Too Long", "The URL is too long."},
    {417, "417 Expectation Failed", "The request expects something unknown."},
    {431, "431 Request Header Fields Too Large", "The request has too many or too large fields."},
    {500, "500 Internal Server Error", "The gateway could not go on."},
    {502, "502 Bad Gateway",
     "Nothing in the sandbox answers at this port, or its answer is not HTTP/1.1."},
    {503, "503 Service Unavailable", "Too many connections are open. Close some, or try again."},
    {504, "504 Gateway Timeout", "The sandbox did not answer in time."},
    {505, "505 HTTP Version Not Supported", "Previews speak HTTP/1.0 and HTTP/1.1."},
    {PAGE_DOMAIN, "404 Not Found", "This is CrowNest. Each preview has a host name of its own."},
};

static const char head[] = "<!doctype html><meta charset=utf-8><title>CrowNest</title><p>";

static const struct page *find(unsigned status)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (pages[i].status == status)
            return &pages[i];
    }
    return find(500);
}

void page_write(unsigned status, bool without_body, struct evbuffer *output)
{
    const struct page *page = find(status);
    size_t size = sizeof(head) - 1 + strlen(page->text) + 1;

    (void)evbuffer_add_printf(
        output,
        "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\n"
        "Content-Length: %zu\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'\r\n%s%s"
        "Connection: close\r\n\r\n",
        page->line, size, status == 401 ? "WWW-Authenticate: CrowNest-Preview-Token\r\n" : "",
        status == 405 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" : "");
    if (!without_body)
        (void)evbuffer_add_printf(output, "%s%s\n", head, page->text);
}
