// How live sources come: what is taken, and that nothing secret of it is shown.
#include "engine/live/input.h"
#include "tests/check.h"

#include <errno.h>
#include <jansson.h>

// Texts with ' for ".
static json_t *load(const char *text)
{
    char plain[1024];
    snprintf(plain, sizeof plain, "%s", text);
    for (char *c = plain; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *json = json_loads(plain, 0, NULL);
    CHECK_TRUE(json);
    return json;
}

static void check_refused(const char *text, const char *path)
{
    struct live_input in;
    struct diagnostic d = {0};
    json_t *json = load(text);
    CHECK_ERROR(live_input_parse(json, "cam1", &in, &d), -EINVAL);
    CHECK_TEXT(d.path, path);
    CHECK_TRUE(!strstr(d.text, "secret"));
    json_decref(json);
}

static void test_refused(void)
{
    static const char *const addresses[] = {
        "",      "nonsense", "host:", "host:0", "host:65536", "host:9x",
        "::1:9", "[::1:9",   "[]:9",  "a b:9",  "host: 9",    "host:-9",
    };
    char text[256];
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        snprintf(text, sizeof text, "{'kind': 'srt-call', 'address': '%s'}", addresses[i]);
        check_refused(text, "input.address");
        snprintf(text, sizeof text, "{'kind': 'srt-listen', 'listen': '%s'}", addresses[i]);
        check_refused(text, "input.listen");
    }
    check_refused("{'kind': 'srt-call', 'address': ':9'}", "input.address");
    check_refused("{'kind': 'srt-call', 'address': 'a:9', 'passphrase': 'secret\\nsecret'}",
                  "input.passphrase");
    check_refused("{'kind': 'srt-call', 'address': 'a:9', 'listen': ':9'}", "input.listen");
    check_refused("{'kind': 'srt-listen', 'listen': ':9', 'url': 'rtsp://secret'}", "input.url");
    check_refused("{'kind': 'srt-listen', 'listen': ':9', 'latency_ms': '200'}",
                  "input.latency_ms");
    check_refused("{'kind': 'pull', 'url': 'ftp://secret'}", "input.url");
    check_refused("{'kind': 'rtmp'}", "input.key");
    check_refused("{'kind': 'rtmp', 'key': 'secret-too-few-'}", "input.key");
    check_refused("{'kind': 'rtmp', 'key': 'secret/of/sixteen'}", "input.key");
    check_refused("{'kind': 'rtmp', 'key': 'secret-of-sixteen', 'listen': ':9'}", "input.listen");
    check_refused("{'kind': 'rtmp', 'key': 'secret-secret-secret-secret-secret-secret-secret-"
                  "secret-secret-secr'}",
                  "input.key"); // 65
    check_refused("{}", "input.kind");
    check_refused("['secret']", "input");
    struct live_input in;
    CHECK_ERROR(live_input_parse(NULL, "cam1", &in, NULL), -EINVAL);
}

static void check_shown(const char *text, const char *expected)
{
    struct live_input in = {0};
    struct diagnostic d = {0};
    json_t *json = load(text), *wanted = load(expected);
    CHECK_OK(live_input_parse(json, "cam1", &in, &d));
    for (int i = 0; i < 2; i++) {
        json_t *shown = live_input_show(&in);
        char *dumped = json_dumps(shown, JSON_COMPACT);
        if (!json_equal(shown, wanted))
            fprintf(stderr, "shown: %s\n", dumped);
        CHECK_TRUE(json_equal(shown, wanted));
        free(dumped);
        json_decref(shown);
        live_input_hide(&in); // and what is hidden already
        CHECK_TRUE(!memmem(&in, sizeof in, "secret", 6));
    }
    json_decref(json);
    json_decref(wanted);
}

static void check_url(const char *url, const char *expected)
{
    char text[512], shown[512];
    snprintf(text, sizeof text, "{'kind': 'pull', 'url': '%s'}", url);
    snprintf(shown, sizeof shown, "{'kind': 'pull', 'url': '%s'}", expected);
    check_shown(text, shown);
}

static void test_shown(void)
{
    check_shown("{'kind': 'srt-listen', 'listen': ':9'}",
                "{'kind': 'srt-listen', 'listen': ':9', 'resource': 'cam1', 'user': '', "
                "'has_passphrase': false, 'key_bytes': 0, 'latency_ms': 200}");
    check_shown("{'kind': 'srt-listen', 'listen': '[::]:9', 'resource': 'r', 'user': 'anna', "
                "'passphrase': 'a secret of ours', 'key_bytes': 32, 'latency_ms': 500}",
                "{'kind': 'srt-listen', 'listen': '[::]:9', 'resource': 'r', 'user': 'anna', "
                "'has_passphrase': true, 'key_bytes': 32, 'latency_ms': 500}");
    check_shown("{'kind': 'srt-call', 'address': 'h:9', 'stream_id': 'live/secret'}",
                "{'kind': 'srt-call', 'address': 'h:9', 'has_stream_id': true, "
                "'has_passphrase': false, 'key_bytes': 0, 'latency_ms': 200}");
    check_shown("{'kind': 'srt-rendezvous', 'address': 'h:9', 'listen': '*:9', "
                "'passphrase': 'secret secret'}",
                "{'kind': 'srt-rendezvous', 'address': 'h:9', 'listen': '*:9', "
                "'has_passphrase': true, 'key_bytes': 0, 'latency_ms': 200}");
    check_shown("{'kind': 'rtmp', 'key': 'secret-AZaz09_--'}", "{'kind': 'rtmp'}");
    check_url("rtsp://camera", "rtsp://camera");
    check_url("udp://@239.0.0.1:5000", "udp://239.0.0.1:5000");
    check_url("rtsp://anna:secret@camera:554/1", "rtsp://camera:554/***");
    check_url("rtsp://anna:secret@secret@camera", "rtsp://camera");
    check_url("rtmp://host/live/secret", "rtmp://host/***");
    check_url("https://host/secret/index.m3u8?token=secret", "https://host/***");
    check_url("srt://[::1]:9?passphrase=secret", "srt://[::1]:9/***");
    check_url("http://host#secret", "http://host/***");
    // FFmpeg takes "anna" for the host here, and what follows for a path; it may be a password.
    check_url("rtsp://anna:/secret@camera/1", "rtsp://***");
    check_url("rtsp://secret?@camera/1", "rtsp://***");
}

int main(void)
{
    test_refused();
    test_shown();
    return check_end();
}
