#include "coordinator/cli/document.h"

#include "tests/check.h"

#include <errno.h>

// Writes down what it is told, and renames "file:" URIs.
struct log {
    char text[1024];
    int refuse_at; // call that is refused; 0: none
    int calls;
};

static int on_uri(void *opaque, const char *path, const char *uri, char **ret,
                  struct diagnostic *reterr)
{
    struct log *log = opaque;
    size_t length = strlen(log->text);
    snprintf(log->text + length, sizeof log->text - length, "%s=%s;", path, uri);
    if (++log->calls == log->refuse_at)
        return diagnostic_set(reterr, -ENOENT, "gone", path, "gone");
    if (!strncmp(uri, "file:", 5))
        *ret = strdup("sha256:0");
    return 0;
}

static void check_rewrite(const char *from, const char *to, const char *calls)
{
    struct log log = {0};
    struct diagnostic problem;
    char *out = NULL;
    size_t size = 0;
    CHECK_OK(document_rewrite(from, strlen(from), on_uri, &log, &out, &size, &problem));
    CHECK_TEXT(out, to);
    CHECK(size, ==, strlen(to));
    CHECK_TEXT(log.text, calls);
    free(out);
}

static void test_rewrite(void)
{
    check_rewrite(
        "{\"assets\": {\"a\": \"file:x.mp4\", \"b\": \"sha256:1\"}, \"fonts\":[\"file:f\"]}",
        "{\"assets\": {\"a\": \"sha256:0\", \"b\": \"sha256:1\"}, \"fonts\":[\"sha256:0\"]}",
        "assets.a=file:x.mp4;assets.b=sha256:1;fonts[0]=file:f;");
    check_rewrite("{\"pictures\":[ \"file:1.png\" ,\"file:2.png\"\n],\"rate\":\"25\"}\n",
                  "{\"pictures\":[ \"sha256:0\" ,\"sha256:0\"\n],\"rate\":\"25\"}\n",
                  "pictures[0]=file:1.png;pictures[1]=file:2.png;");
}

// Whatever is no URI keeps its bytes: numbers, escapes, layout.
static void test_untouched(void)
{
    static const char *const texts[] = {
        "{}",
        "[\"file:a\"]",
        " { \"n\" : 0.10 , \"m\":1e2,\"t\":[true,null,-0.0] }\r\n",
        "{\"assets\":[\"file:a\"],\"fonts\":{\"a\":\"file:a\"}}", // of the wrong type
        "{\"tracks\":[{\"assets\":{\"a\":\"file:a\"},\"text\":\"\\\"assets\\\": {\\\"a\\\\\"}]}",
        ("{\"fonts\":[1,{\"assets\":\"file:x\"},[\"file:x\"]],\"assets\":{\"k\":{\"z\":\"file:q\"}}"
         "}"),
        "{\"assets\":{},\"fonts\":[]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_rewrite(texts[i], texts[i], "");
}

static void test_escapes(void)
{
    // Keys and values mean what their escapes say.
    check_rewrite("{\"\\u0061ssets\":{\"\\\"\":\"\\u0066ile:\\\\\"}}",
                  "{\"\\u0061ssets\":{\"\\\"\":\"sha256:0\"}}", "assets.\"=file:\\;");
    check_rewrite("{\"x\":\"}\\\"{[\",\"fonts\":[\"file:\xc3\xa9\"]}",
                  "{\"x\":\"}\\\"{[\",\"fonts\":[\"sha256:0\"]}", "fonts[0]=file:\xc3\xa9;");
}

static void test_refused(void)
{
    struct log log = {.refuse_at = 2};
    struct diagnostic problem;
    char *out = NULL;
    size_t size;
    const char *text = "{\"fonts\":[\"file:a\",\"file:b\",\"file:c\"]}";
    CHECK_ERROR(document_rewrite(text, strlen(text), on_uri, &log, &out, &size, &problem), -ENOENT);
    CHECK_TEXT(problem.path, "fonts[1]");
    CHECK(log.calls, ==, 2);
    CHECK_TRUE(!out);
    CHECK_ERROR(document_rewrite("{\"fonts\":[", 10, on_uri, &log, &out, &size, &problem), -EINVAL);
    CHECK_TRUE(!out);
}

static void test_kind(void)
{
    static const struct {
        const char *text;
        enum document_kind kind;
    } cases[] = {
        {"{\"schema\":\"vistter.timeline/1\"}", DOCUMENT_TIMELINE},
        {" \n{\"rate\":\"25\",\"schema\":\"vistter.sequence/1\"}", DOCUMENT_SEQUENCE},
        {"{\"schema\":\"other/1\"}", DOCUMENT_OTHER},
        {"{\"schema\":1}", DOCUMENT_OTHER},
        {"[1]", DOCUMENT_OTHER},
        {"\x89PNG", DOCUMENT_OTHER},
        {"", DOCUMENT_OTHER},
    };
    struct diagnostic problem;
    enum document_kind kind;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(document_kind_of(cases[i].text, strlen(cases[i].text), &kind, &problem));
        CHECK(kind, ==, cases[i].kind);
    }
    CHECK_ERROR(document_kind_of("{\n\"a\":", 6, &kind, &problem), -EINVAL);
    CHECK_TRUE(!strncmp(problem.path, "line 2", 6));
}

int main(void)
{
    test_rewrite();
    test_untouched();
    test_escapes();
    test_refused();
    test_kind();
    return check_end();
}
