// The gateway without a network: who may call, what settings it takes, and what becomes of access
// units that are late, missing, or on another clock.
#include "engine/live/log.h"
#include "engine/live/stamp.h"
#include "tests/check.h"
#include "worker/gateway/access.h"
#include "worker/gateway/ingest.h"
#include "worker/gateway/pace.h"
#include "worker/gateway/settings.h"

#include <srt/access_control.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define START_NS  (INT64_C(1790000000) * SECOND_NS)

static void test_access(void)
{
    const struct access_rule open = {"cam1", NULL, false}, anna = {"cam1", "anna", false};
    const struct access_rule busy = {"cam1", NULL, true};
    static char longest[600];
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest, "#!::r=", 6);
    const struct {
        const struct access_rule *rule;
        const char *id;
        int reason;
    } cases[] = {
        {&open, "#!::r=cam1,m=publish", 0},
        {&open, "#!::m=publish,r=cam1,u=anyone,s=1,x=own,t=stream", 0},
        {&open, "cam1", 0}, // as hardware sends it
        {&open, "#!::r=cam2,m=publish", SRT_REJX_NOTFOUND},
        {&open, "#!::r=cam,m=publish", SRT_REJX_NOTFOUND},
        {&open, "#!::r=cam11,m=publish", SRT_REJX_NOTFOUND},
        {&open, "cam2", SRT_REJX_NOTFOUND},
        {&open, "", SRT_REJX_NOTFOUND},
        {&open, "#!::m=publish", SRT_REJX_NOTFOUND},
        {&open, "#!::r=cam1", SRT_REJX_BAD_MODE},
        {&open, "#!::r=cam1,m=request", SRT_REJX_BAD_MODE},
        {&open, "#!::r=cam1,m=bidirectional", SRT_REJX_BAD_MODE},
        {&open, "#!::r=cam1,m=publish,t=file", SRT_REJX_NOTSUP_MEDIA},
        {&open, "#!::", SRT_REJX_NOTFOUND},
        {&open, "#!::rcam1", SRT_REJX_BAD_REQUEST},
        {&open, "#!::=cam1", SRT_REJX_BAD_REQUEST},
        {&open, "#!::r=cam1,,m=publish", SRT_REJX_BAD_REQUEST},
        {&open, "#!:{r=cam1,m=publish}", SRT_REJX_BAD_REQUEST},
        {&open, longest, SRT_REJX_BAD_REQUEST},
        {&anna, "#!::r=cam1,m=publish,u=anna", 0},
        {&anna, "#!::r=cam1,m=publish,u=bert", SRT_REJX_UNAUTHORIZED},
        {&anna, "#!::r=cam1,m=publish", SRT_REJX_UNAUTHORIZED},
        {&anna, "cam1", SRT_REJX_UNAUTHORIZED},
        {&busy, "#!::r=cam1,m=publish", SRT_REJX_CONFLICT},
        {&busy, "cam1", SRT_REJX_CONFLICT},
        {&busy, "#!::r=cam2,m=publish", SRT_REJX_NOTFOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int reason = access_check(cases[i].rule, cases[i].id);
        if (reason != cases[i].reason)
            fprintf(stderr, "case %zu: %s\n", i, cases[i].id);
        CHECK(reason, ==, cases[i].reason);
    }
}

static void test_settings(void)
{
    static const struct {
        const char *text, *path; // path NULL: it is taken
    } cases[] = {
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-listen', 'listen': ':9000'}}",
         NULL},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'pull', 'url': 'rtsp://c/1'}}",
         NULL},
        {"{'source': 'cam1', 'folder': '/f', 'relay': true, 'input': {'kind': 'pull', 'url': "
         "'rtmp://c/live/cam1'}}",
         NULL},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'rtmp', 'key': "
         "'sh0rt-of-sixteen'}}",
         "input.kind"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'pull', 'url': "
         "'file:///etc/passwd'}}",
         "input.url"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'pull', 'url': 'concat:http://a'}}",
         "input.url"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'pull', 'url': '/etc/passwd'}}",
         "input.url"},
        {"{'source': '../x', 'folder': '/f', 'input': {'kind': 'pull', 'url': 'rtsp://c/1'}}",
         "source"},
        {"{'source': 'cam1', 'input': {'kind': 'pull', 'url': 'rtsp://c/1'}}", "folder"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-call'}}", "input.address"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-rendezvous', 'address': "
         "'a:1'}}",
         "input.listen"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-listen', 'listen': ':1', "
         "'passphrase': 'sh0rt'}}",
         "input.passphrase"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-listen', 'listen': ':1', "
         "'key_bytes': 20}}",
         "input.key_bytes"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-listen', 'listen': ':1', "
         "'latency_ms': 9999}}",
         "input.latency_ms"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'srt-listen', 'listen': ':1', "
         "'passhprase': 'x'}}",
         "input.passhprase"},
        {"{'source': 'cam1', 'folder': '/f', 'input': {'kind': 'file', 'url': 'x'}}", "input.kind"},
        {"{'source': 'cam1', 'folder': '/f', 'quarantined': 1, 'input': {'kind': 'pull', 'url': "
         "'rtsp://c/1'}}",
         "quarantined"},
        {"{'source': 'cam1', 'folder': '/f', 'relay': 'yes', 'input': {'kind': 'pull', 'url': "
         "'rtsp://c/1'}}",
         "relay"},
        {"[]", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s", cases[i].text);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        struct gateway_settings s;
        struct diagnostic d = {0};
        int error = gateway_settings_parse(text, strlen(text), &s, &d);
        CHECK(error, ==, cases[i].path ? -22 : 0);
        if (cases[i].path)
            CHECK_TEXT(d.path, cases[i].path);
        else
            CHECK_TEXT(s.input.resource, s.input.kind == LIVE_INPUT_PULL ? "" : "cam1");
        CHECK_TRUE(!strstr(d.text, "sh0rt") && !strstr(d.text, "passwd")); // values may be secret
    }
}

// Everything at once is let through one after the other, over the wrap; a stall of half a second is
// caught up with, one of three seconds begins anew, and so does a jump.
static void test_pace(void)
{
    struct pace pace = {0};
    const int64_t wrap = INT64_C(1) << 33, first = wrap - 90000;
    for (int i = 0; i < 100; i++)
        CHECK(pace_due_ns(&pace, (first + i * 3600) % wrap, 7 + (i ? (i - 1) * SECOND_NS / 25 : 0)),
              ==, 7 + i * SECOND_NS / 25);
    int64_t due = 7 + 100 * SECOND_NS / 25;
    CHECK(pace_due_ns(&pace, (first + 100 * 3600) % wrap, due + SECOND_NS / 2), ==, due);
    due += SECOND_NS / 25;
    CHECK(pace_due_ns(&pace, (first + 101 * 3600) % wrap, due + 3 * SECOND_NS), ==,
          due + 3 * SECOND_NS);
    CHECK(pace_due_ns(&pace, 5000000000, due + 3 * SECOND_NS), ==, due + 3 * SECOND_NS);
    CHECK(pace_due_ns(&pace, 5000000000 + 3600, due + 3 * SECOND_NS), ==,
          due + 3 * SECOND_NS + SECOND_NS / 25);
}

// ---- Ingest ----------------------------------------------------------------------------------

static char folder[64];
static struct live_log *sink;
static struct ingest *ingest;
static int64_t now_ns;

static void begin(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(live_log_create(path, "cam1", LIVE_LOG_LIMITS, &sink, NULL));
    ingest = ingest_create(sink);
    ingest_begin(ingest, true);
    now_ns = START_NS;
}

static void tick_until(int64_t ns)
{
    for (; now_ns < ns; now_ns += SECOND_NS / 50)
        ingest_tick(ingest, now_ns);
}

static void picture(int i, int64_t ticks, int64_t arrival_ns)
{
    static const struct unit_format format = {.codec = "h264", .width = 640, .height = 360};
    uint8_t body[4] = {(uint8_t)i};
    struct ingest_unit unit = {.stream = UNIT_PICTURE,
                               .format = &format,
                               .pts = ticks,
                               .dts = ticks,
                               .key = i % 25 == 0,
                               .bytes = body,
                               .size = sizeof body};
    tick_until(arrival_ns);
    ingest_add(ingest, &unit, arrival_ns);
}

static void sound(int64_t ticks, int64_t arrival_ns)
{
    static const struct unit_format format = {.codec = "aac", .sample_rate = 48000, .channels = 2};
    uint8_t body[4] = {1};
    struct ingest_unit unit = {.stream = UNIT_SOUND,
                               .format = &format,
                               .pts = ticks,
                               .dts = ticks,
                               .key = true,
                               .samples = 1024,
                               .bytes = body,
                               .size = sizeof body};
    ingest_add(ingest, &unit, arrival_ns);
}

// What the log holds, after all its promises have been checked: nothing comes at or below done_ns,
// no seq is missing, gens do not fall, map points come a second ahead.
struct summary {
    int pictures, sounds, picture_gaps, sound_gaps, gens, points;
    int late;                       // pictures that are not shown
    int64_t gap_from_ns, gap_to_ns; // the last one of pictures
    int64_t sound_hole;             // samples left out
};

static struct summary finish(const char *name)
{
    char path[128];
    struct summary s = {0};
    struct live_reader *reader;
    struct unit u;
    uint64_t seq = 0;
    uint32_t gen = 0;
    int64_t done[UNIT_STREAMS] = {INT64_MIN, INT64_MIN}, gap[UNIT_STREAMS] = {0}, next_sample = 0;
    ingest_destroy(&ingest);
    live_log_destroy(&sink);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(live_reader_open(path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        CHECK(u.seq, ==, seq + 1);
        CHECK(u.done_ns, >=, done[u.stream]);
        if (u.kind == UNIT_DATA)
            CHECK(u.chan_ns, >, done[u.stream]);
        if (u.kind != UNIT_FORMAT && u.kind != UNIT_MAP)
            CHECK(u.gen, >=, gen);
        seq = u.seq;
        done[u.stream] = u.done_ns;
        if (u.gen > gen) {
            gen = u.gen;
            s.gens++;
            next_sample = 0;
        }
        if (u.kind == UNIT_GAP && u.chan_ns != gap[u.stream]) {
            gap[u.stream] = u.chan_ns;
            *(u.stream == UNIT_PICTURE ? &s.picture_gaps : &s.sound_gaps) += 1;
        }
        if (u.kind == UNIT_GAP && u.stream == UNIT_PICTURE) {
            s.gap_from_ns = u.chan_ns;
            s.gap_to_ns = u.done_ns;
        }
        if (u.kind == UNIT_DATA && u.stream == UNIT_PICTURE)
            s.pictures++, s.late += !!(u.flags & UNIT_LATE);
        if (u.kind == UNIT_DATA && u.stream == UNIT_SOUND) {
            s.sounds++;
            s.sound_hole += u.index - next_sample;
            next_sample = u.index + 1024;
        }
        if (u.kind == UNIT_MAP && !(u.flags & UNIT_AGAIN) && u.index) {
            CHECK(u.index - next_sample, >=, 48000 - 1024);
            s.points++;
        }
    }
    live_reader_close(&reader);
    return s;
}

static int64_t at(int i)
{
    return START_NS + SECOND_NS + i * SECOND_NS / 25;
}

// Ten seconds, of which pictures 100 to 149 do not come.
static void test_gap(void)
{
    begin("gap");
    for (int i = 0; i < 250; i++)
        if (i < 100 || i >= 150)
            picture(i, i * 3600, at(i));
    struct ingest_stats stats;
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 1);
    CHECK(stats.streams[UNIT_PICTURE].gaps, ==, 1); // that before the first one is none
    struct summary s = finish("gap");
    CHECK(s.pictures, ==, 200);
    CHECK(s.picture_gaps, ==, 2); // before the first one, and this
    // What was told done while it was not yet one stays as it was: three periods at most.
    CHECK(s.gap_from_ns, >=, at(99));
    CHECK(s.gap_from_ns, <=, at(102));
    CHECK(s.gap_to_ns, >=, at(150) - SECOND_NS * 3 / 10 - SECOND_NS / 25);
    CHECK(s.gap_to_ns, <, at(150));
}

// Pictures that are up to 150 ms late make no gap, and one that comes after a gap was told is still
// logged, but later.
static void test_late(void)
{
    begin("late");
    for (int i = 0; i < 250; i++)
        picture(i, i * 3600, at(i) + (i % 50 >= 47 ? (50 - i % 50) * SECOND_NS / 25 : 0));
    struct summary s = finish("late");
    CHECK(s.pictures, ==, 250);
    CHECK(s.picture_gaps, ==, 1);
    begin("later");
    for (int i = 0; i < 250; i++)
        picture(i, i * 3600, at(i) + (i >= 100 && i < 120 ? at(120) - at(i) : 0));
    s = finish("later");
    CHECK(s.pictures, ==, 250);
    CHECK(s.picture_gaps, ==, 2);
    CHECK(s.gens, ==, 1);
}

// What comes all at once after two seconds is decoded and not shown; a way that has become 230 ms
// longer is another mapping after a second.
static void test_longer_way(void)
{
    begin("burst");
    for (int i = 0; i < 250; i++)
        picture(i, i * 3600, at(i) + (i >= 100 && i < 150 ? at(150) - at(i) : 0));
    struct summary s = finish("burst");
    CHECK(s.pictures, ==, 250);
    CHECK(s.late, >=, 40);
    CHECK(s.late, <=, 65); // with the first half second
    begin("longer");
    for (int i = 0; i < 250; i++)
        picture(i, i * 3600, at(i) + (i >= 100 ? 230000000 : 0));
    struct ingest_stats stats;
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 2);
    s = finish("longer");
    CHECK(s.late, <=, 65);
    CHECK(s.pictures, >=, 235);
}

// A clock that jumps, one that wraps, a connection that is made anew.
static void test_gens(void)
{
    begin("gens");
    for (int i = 0; i < 100; i++)
        picture(i, (INT64_C(1) << 33) - 50 * 3600 + i * 3600, at(i));
    for (int i = 100; i < 200; i++)
        picture(i, 1000000000 + i * 3600, at(i));
    ingest_begin(ingest, true);
    for (int i = 200; i < 300; i++)
        picture(i, i * 3600, at(i));
    struct ingest_stats stats;
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 3);
    struct summary s = finish("gens");
    CHECK(s.pictures, ==, 300);
    // The next gateway goes on where this one ended.
    begin("gens");
    for (int i = 300; i < 350; i++)
        picture(i, i * 3600, at(i));
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 4);
    s = finish("gens");
    CHECK(s.pictures, ==, 350);
}

// A gateway that ends in a gap: the next one goes on with it at once, and no time between is said
// to be one when a picture still stood; nor is any that was told not to be a gap part of one later.
static void test_gap_goes_on(void)
{
    struct live_reader *reader;
    char path[128];
    struct unit u;
    int64_t idle_ns = 0, gap_ns = 0;
    begin("goes-on");
    for (int i = 0; i < 100; i++)
        picture(i, i * 3600, at(i));
    tick_until(at(150));
    (void)finish("goes-on");
    begin("goes-on");
    now_ns = at(155);
    tick_until(at(200));
    (void)finish("goes-on");
    snprintf(path, sizeof path, "%s/goes-on", folder);
    CHECK_OK(live_reader_open(path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        if (u.stream != UNIT_PICTURE || u.done_ns <= at(99))
            continue;
        if (u.kind == UNIT_IDLE) {
            CHECK(gap_ns, ==, 0);
            idle_ns = u.done_ns;
        } else if (u.kind == UNIT_GAP) {
            CHECK(u.chan_ns, >=, idle_ns);
            CHECK_TRUE(!gap_ns || u.chan_ns <= gap_ns); // no hole
            gap_ns = u.done_ns;
        }
    }
    live_reader_close(&reader);
    CHECK(idle_ns, >, at(99));
    CHECK(gap_ns, >, at(180));
}

// A source of a picture a second is there all the time; what it has is known 300 ms later.
static void test_slow(void)
{
    begin("slow");
    struct live_reader *reader;
    char path[128];
    struct unit u;
    int64_t done_ns = 0, worst_ns = 0;
    snprintf(path, sizeof path, "%s/slow", folder);
    CHECK_OK(live_reader_open(path, &reader, NULL));
    for (int i = 0; i < 11; i++) {
        picture(i, (int64_t)i * 90000, START_NS + i * SECOND_NS);
        for (int64_t to = now_ns + SECOND_NS * 9 / 10; now_ns < to;) {
            tick_until(now_ns + SECOND_NS / 50);
            while (!live_reader_next(reader, &u))
                done_ns = u.stream == UNIT_PICTURE ? u.done_ns : done_ns;
            if (i > 1 && now_ns - done_ns > worst_ns)
                worst_ns = now_ns - done_ns;
        }
    }
    live_reader_close(&reader);
    CHECK(worst_ns, <=, 300000000);
    struct summary s = finish("slow");
    CHECK(s.pictures, ==, 11);
    CHECK(s.picture_gaps, ==, 1); // before the first one
}

// Sound beside pictures: 200 ms of it missing in the middle are a hole of so many samples and one
// gap at most, and its map goes on.
static void test_sound(void)
{
    begin("sound");
    int64_t sample = 0;
    for (int i = 0; i < 300; i++) {
        picture(i, i * 3600, at(i));
        for (; sample * 90000 / 48000 < (i + 1) * 3600; sample += 1024)
            if (sample < 245760 || sample >= 245760 + 10 * 1024)
                sound(sample * 90000 / 48000, at(i));
    }
    struct ingest_stats stats;
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 1);
    struct summary s = finish("sound");
    CHECK(llabs(s.sound_hole - 10 * 1024), <=, 2);
    CHECK(s.points, >=, 11);
    CHECK(s.sounds, >=, 520);
}

// Sound that comes back after five seconds belongs where its stamps say.
static void test_sound_returns(void)
{
    begin("returns");
    int64_t sample = 0;
    for (int i = 0; i < 300; i++) {
        picture(i, i * 3600, at(i));
        for (; sample * 90000 / 48000 < (i + 1) * 3600; sample += 1024)
            if (i < 100 || i >= 225)
                sound(sample * 90000 / 48000, at(i));
    }
    struct live_reader *reader;
    char path[128];
    struct unit u;
    int64_t first[UNIT_STREAMS] = {0}, worst_ns = 0;
    int far = 0;
    snprintf(path, sizeof path, "%s/returns", folder);
    CHECK_OK(live_reader_open(path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        if (u.kind != UNIT_DATA || u.chan_ns < at(60))
            continue;
        // Both by one clock: stamps and farm times differ by the same.
        int64_t off_ns = u.chan_ns - u.pts * 100000 / 9;
        if (!first[0] && u.stream == UNIT_PICTURE)
            first[0] = off_ns;
        if (u.stream == UNIT_SOUND && first[0]) {
            worst_ns = llabs(off_ns - first[0]) > worst_ns ? llabs(off_ns - first[0]) : worst_ns;
            far += u.chan_ns > at(230);
        }
    }
    live_reader_close(&reader);
    CHECK(worst_ns, <, 5000000);
    CHECK(far, >, 100);
    struct ingest_stats stats;
    ingest_stats(ingest, &stats);
    CHECK(stats.gen, ==, 1);
    struct summary s = finish("returns");
    CHECK(s.sound_gaps, ==, 2);
    CHECK(llabs(s.sound_hole - 5 * 48000), <=, 1024 + 2);
}

// Sound that its muxer holds back for up to 400 ms is all there: the source is shown so much later.
static void test_held_back(void)
{
    begin("held");
    int64_t sample = 0;
    for (int i = 0; i < 300; i++) {
        picture(i, i * 3600, at(i));
        for (; i % 10 == 9 && sample * 90000 / 48000 < (i + 1) * 3600; sample += 1024)
            sound(sample * 90000 / 48000, at(i));
    }
    struct summary s = finish("held");
    CHECK(s.pictures, ==, 300);
    CHECK(s.sounds, >=, (int)(sample / 1024) - 25); // those of the first half second
    CHECK(s.sound_hole, <=, 2);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/gateway-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    test_access();
    test_settings();
    test_pace();
    test_gap();
    test_late();
    test_slow();
    test_longer_way();
    test_gens();
    test_gap_goes_on();
    test_sound();
    test_sound_returns();
    test_held_back();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
