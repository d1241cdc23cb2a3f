// Rendered pictures against values worked out from ITU-R BT.709 and the words of the headers:
// layers with opacity and alpha, a dissolve, fades, a nested timeline with in-point and speed, an
// adjust clip. Code values may be off by the roundings on the way: one, and two where two layers
// mix.
#include "engine/render/render.h"
#include "tests/check.h"

#include <errno.h>
#include <math.h>

#define WIDTH  64
#define HEIGHT 48

static const double red[3] = {1, 0, 0}, blue[3] = {0, 0, 1}, green[3] = {0, 1, 0},
                    black[3] = {0, 0, 0};

#define HEAD                                                                                       \
    "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":48,\"rate\":\"25\"},"
#define COLOUR(colour)                                                                             \
    "\"kind\":\"pattern\",\"pattern\":{\"kind\":\"colour\",\"colour\":\"" colour "\"}"

static int load(void *opaque, const char *uri, char **ret, size_t *ret_size,
                struct diagnostic *reterr)
{
    // Green for 10 frames, then blue; half as large as what it stands in.
    static const char nested[] =
        "{\"schema\":\"vistter.timeline/"
        "1\",\"format\":{\"width\":32,\"height\":24,\"rate\":\"25\"},"
        "\"tracks\":[{\"clips\":[{" COLOUR("#00ff00") ",\"start\":0,\"duration\":10},{" COLOUR(
            "#0000ff") ",\"start\":10,\"duration\":50}]}]}";
    (void)opaque, (void)uri, (void)reterr;
    *ret = strdup(nested);
    *ret_size = sizeof nested - 1;
    return 0;
}

static int no_asset(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    (void)opaque, (void)path;
    return diagnostic_set(reterr, -ENOENT, "asset_missing", uri, "is not there");
}

static struct renderer *renderer;

static void open_tracks(const char *tracks)
{
    char json[4096];
    struct timeline *timeline = NULL;
    struct diagnostic why = {0};
    int length =
        snprintf(json, sizeof json,
                 HEAD "\"background\":\"#000000\",\"assets\":{\"n\":\"file:n\"},\"tracks\":"
                      "[%s]}",
                 tracks);
    if (timeline_parse(json, (size_t)length, load, NULL, &timeline, &why)) {
        fprintf(stderr, "%s: %s\n", why.path, why.text);
        exit(EXIT_FAILURE);
    }
    struct render_config config = {.timeline = timeline,
                                   .width = WIDTH,
                                   .height = HEIGHT,
                                   .rate = {25, 1},
                                   .track_to = (int)timeline->track_count,
                                   .base = true,
                                   .resolver = {no_asset, NULL}};
    CHECK_OK(renderer_create(&config, &renderer, &why));
    timeline_unref(&timeline);
}

static void close_tracks(void)
{
    renderer_destroy(&renderer);
}

static double mix(double a, double b, double share)
{
    return a + (b - a) * share;
}

// The pixel at (x, y) of frame n is `over`, with `share`, on `under`.
static void check_pixel(int64_t n, int x, int y, const double under[3], const double over[3],
                        double share, int tolerance)
{
    struct group_frame *group = NULL;
    struct picture *p = NULL;
    struct render_report report;
    double rgb[3];
    CHECK_OK(renderer_frame(renderer, n, n, NULL, &group, NULL, &report));
    CHECK_OK(group_fold_over(NULL, group, &p));
    for (int i = 0; i < 3; i++)
        rgb[i] = mix(under[i], over[i], share);
    double luma = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    double expected[3] = {16 + 219 * luma, 128 + 224 * (rgb[2] - luma) / 1.8556,
                          128 + 224 * (rgb[0] - luma) / 1.5748};
    int failures = check_failures;
    for (int i = 0; i < 3; i++) {
        int shift = i > 0, value = p->plane[i][(y >> shift) * p->stride[i] + (x >> shift)];
        CHECK(labs(value - lround(expected[i])), <=, tolerance);
        if (check_failures != failures)
            fprintf(stderr, "frame %lld, pixel %d,%d, plane %d: %d, not %.1f\n", (long long)n, x, y,
                    i, value, expected[i]);
    }
    picture_unref(&p);
    group_frame_unref(&group);
}

static void test_layers(void)
{
    // Red everywhere; a blue box of 20x12 around (32, 24) at 40 %; a green shape whose own alpha is
    // 0x80 / 255 in the upper left corner, its corner standing at (4, 4).
    open_tracks("{\"clips\":[{" COLOUR(
        "#ff0000") ",\"start\":0,\"duration\":9}]},"
                   "{\"clips\":[{" COLOUR("#0000ff") ",\"start\":0,\"duration\":9,\"size\":[20,12],"
                                                     "\"opacity\":0.4}]},{\"clips\":[{\"kind\":"
                                                     "\"shape\",\"shape\":{\"kind\":"
                                                     "\"rectangle\",\"size\":[10,8],\"fill\":\"#"
                                                     "00ff0080\"},\"start\":0,\"duration\":9,"
                                                     "\"anchor\":[0,0],\"position\":[4,4]}]}");
    static const struct {
        int x, y;
    } outside[] = {{20, 24}, {43, 24}, {32, 16}, {32, 31}, {2, 2}, {15, 6}, {6, 13}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        check_pixel(0, outside[i].x, outside[i].y, red, red, 0, 1);
    static const struct {
        int x, y;
    } inside[] = {{23, 19}, {40, 28}, {32, 24}, {23, 28}};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        check_pixel(0, inside[i].x, inside[i].y, red, blue, 0.4, 2);
    check_pixel(0, 5, 5, red, green, 128 / 255.0, 2);
    check_pixel(0, 12, 10, red, green, 128 / 255.0, 2);
    close_tracks();
}

// Frame k of a dissolve of 10 mixes k/10; frame k of a fade-in of 8 shows k/8.
static void test_dissolve_and_fades(void)
{
    open_tracks("{\"clips\":[{" COLOUR(
        "#ff0000") ",\"start\":0,\"duration\":20},"
                   "{" COLOUR("#0000ff") ",\"start\":10,\"duration\":20,\"transition\":10}]}");
    for (int n = 0; n < 30; n++)
        check_pixel(n, 30, 20, red, blue, n < 10 ? 0 : n < 20 ? (n - 10) / 10.0 : 1, 2);
    close_tracks();
    open_tracks("{\"clips\":[{" COLOUR("#808080") ",\"start\":5,\"duration\":30,\"fade_in\":8,"
                                                  "\"fade_out\":10}]}");
    const double shade[3] = {128 / 255.0, 128 / 255.0, 128 / 255.0};
    for (int n = 0; n < 40; n++) {
        double share = n < 5 || n >= 35 ? 0
                       : n < 13         ? (n - 5) / 8.0
                       : n >= 25        ? (35 - n) / 10.0
                                        : 1;
        check_pixel(n, 30, 20, black, shade, share, 2);
    }
    close_tracks();
}

// At its natural size the nested timeline covers the middle half, x 16 to 47 and y 12 to 35. It is
// shown from its frame 4 on at twice the speed: frame n is its frame 4 + 2 n, blue from 10 on.
static void test_nested(void)
{
    open_tracks("{\"clips\":[{" COLOUR(
        "#ff0000") ",\"start\":0,\"duration\":20}]},"
                   "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"n\",\"start\":0,\"duration\":20,"
                   "\"fit\":\"none\",\"in\":4,\"speed\":2,\"opacity\":0.7}]}");
    for (int n = 0; n < 8; n++) {
        const double *inner = 4 + 2 * n < 10 ? green : blue;
        check_pixel(n, 17, 13, red, inner, 0.7, 2);
        check_pixel(n, 46, 34, red, inner, 0.7, 2);
        check_pixel(n, 14, 20, red, red, 0, 1);
        check_pixel(n, 48, 20, red, red, 0, 1);
        check_pixel(n, 30, 10, red, red, 0, 1);
        check_pixel(n, 30, 36, red, red, 0, 1);
    }
    close_tracks();
}

// A blue inset x 22..41, y 18..29 with a green border of 4 that is gone after 8 frames, and half a
// black shadow of both, 10 to the right and 4 down; all at 60 % from frame 20 on.
static void test_border_and_shadow(void)
{
    open_tracks(
        "{\"clips\":[{" COLOUR("#ff0000") ",\"start\":0,\"duration\":30}]},{\"clips\":[{" COLOUR(
            "#0000ff") ",\"start\":0,\"duration\":30,\"size\":[20,12],\"border\":{\"colour\":\"#"
                       "00ff00\","
                       "\"width\":{\"keyframes\":[{\"at\":0,\"value\":4},{\"at\":8,\"value\":0}]}},"
                       "\"shadow\":{\"offset\":[10,4],\"blur\":0,\"colour\":\"#00000080\"},"
                       "\"opacity\":"
                       "{\"keyframes\":[{\"at\":0,\"value\":1,\"easing\":\"hold\"},{\"at\":20,"
                       "\"value\":0.6}"
                       "]}}]}");
    const double half = 128 / 255.0;
    static const int widths[][2] = {{0, 4}, {4, 2}, {8, 0}, {9, 0}, {22, 0}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int n = widths[i][0], w = widths[i][1];
        double opacity = n >= 20 ? 0.6 : 1;
        check_pixel(n, 22, 18, red, blue, opacity, 2);
        check_pixel(n, 41, 29, red, blue, opacity, 2); // no shadow shows through
        check_pixel(n, 22 - w, 18 - w, red, w ? green : blue, opacity, 2);
        check_pixel(n, 41 + w, 18 - w, red, w ? green : blue, opacity, 2);
        check_pixel(n, 20 - w, 24, red, red, 0, 1);
        check_pixel(n, 44 + w, 16 + 4 - w, red, red, 0, 1);        // right of it, above its shadow
        check_pixel(n, 51 + w, 24, red, black, half * opacity, 2); // the shadow's edge
        check_pixel(n, 54 + w, 24, red, red, 0, 1);
        check_pixel(n, 40, 33 + w, red, black, half * opacity, 2);
        check_pixel(n, 40, 36 + w, red, red, 0, 1);
    }
    close_tracks();
}

// A picture that covers the canvas hides what is beneath, whatever border it has; one that covers
// it only with a translucent border does not, though both stand in the same track.
static void test_border_hides(void)
{
    open_tracks(
        "{\"clips\":[{" COLOUR("#ff0000") ",\"start\":0,\"duration\":30}]},{\"clips\":[{" COLOUR(
            "#0000ff") ",\"start\":0,\"duration\":30,\"size\":{\"keyframes\":[{\"at\":0,\"value\":["
                       "64,48],"
                       "\"easing\":\"hold\"},{\"at\":10,\"value\":[48,32]}]},\"border\":{\"width\":"
                       "8,"
                       "\"colour\":\"#00ff0080\"},\"shadow\":{\"colour\":\"#00000000\"}}]}");
    for (int n = 8; n < 13; n++) {
        check_pixel(n, 32, 24, red, blue, 1, 1);
        check_pixel(n, 1, 1, n < 10 ? blue : red, n < 10 ? blue : green, 128 / 255.0, 2);
        check_pixel(n, 62, 24, n < 10 ? blue : red, n < 10 ? blue : green, 128 / 255.0, 2);
    }
    close_tracks();
}

// Saturation 0 leaves the luma of what lies beneath.
static void test_adjust(void)
{
    open_tracks("{\"clips\":[{" COLOUR(
        "#ff0000") ",\"start\":0,\"duration\":20}]},"
                   "{\"clips\":[{\"kind\":\"adjust\",\"start\":5,\"duration\":10,\"saturation\":0}]"
                   "},"
                   "{\"clips\":[{" COLOUR(
                       "#0000ff") ",\"start\":0,\"duration\":20,\"size\":[20,12]}]}");
    const double luma[3] = {0.2126, 0.2126, 0.2126};
    for (int n = 0; n < 20; n++) {
        check_pixel(n, 4, 4, n >= 5 && n < 15 ? luma : red, red, 0, 2);
        check_pixel(n, 32, 24, blue, blue, 0, 1); // above the adjust clip
    }
    close_tracks();
}

// Red in the left half gives way to blue everywhere, over green: 16 frames from frame 10 on.
static void open_transition(const char *how)
{
    char tracks[1024];
    snprintf(tracks, sizeof tracks,
             "{\"clips\":[{" COLOUR(
                 "#00ff00") ",\"start\":0,\"duration\":40}]},"
                            "{\"clips\":[{" COLOUR(
                                "#ff0000") ",\"start\":0,\"duration\":26,\"size\":[32,48],"
                                           "\"position\":[16,24]},{" COLOUR(
                                               "#0000ff") ",\"start\":10,\"duration\":30,"
                                                          "\"transition\":{\"duration\":16,%s}}]}",
             how);
    open_tracks(tracks);
}

static void check_column(int64_t n, int x, const double colour[3])
{
    check_pixel(n, x, 24, colour, colour, 0, 1);
}

static void test_moves(void)
{
    open_transition("\"kind\":\"slide\",\"direction\":\"left\"");
    check_column(10, 63, green); // nothing of it yet
    for (int k = 1; k < 16; k++) {
        check_column(10 + k, 64 - 4 * k, blue);
        check_column(10 + k, 63 - 4 * k, 63 - 4 * k < 32 ? red : green);
    }
    check_column(26, 0, blue);
    close_tracks();
    open_transition("\"kind\":\"push\",\"direction\":\"left\"");
    for (int k = 1; k < 16; k++) {
        check_column(10 + k, 64 - 4 * k, blue);
        check_column(10 + k, 63 - 4 * k, green);
        if (k < 8) {
            check_column(10 + k, 31 - 4 * k, red);
            check_column(10 + k, 32 - 4 * k, green);
        }
    }
    close_tracks();
    open_transition("\"kind\":\"push\",\"direction\":\"right\"");
    check_column(14, 15, blue); // a quarter of the way
    check_column(14, 16, red);
    check_column(14, 47, red);
    check_column(14, 48, green);
    close_tracks();
    open_transition("\"kind\":\"slide\",\"direction\":\"down\"");
    check_pixel(18, 10, 22, blue, blue, 0, 1);
    check_pixel(18, 10, 26, red, red, 0, 1);
    close_tracks();
    open_transition("\"kind\":\"slide\",\"direction\":\"up\"");
    check_pixel(18, 10, 22, red, red, 0, 1);
    check_pixel(18, 10, 26, blue, blue, 0, 1);
    close_tracks();
    open_transition("\"kind\":\"zoom\"");
    check_pixel(18, 18, 14, blue, blue, 0, 1); // the middle half
    check_pixel(18, 45, 33, blue, blue, 0, 1);
    check_pixel(18, 12, 24, red, red, 0, 1);
    check_pixel(18, 51, 24, green, green, 0, 1);
    check_pixel(18, 40, 8, green, green, 0, 1);
    close_tracks();
}

// A clip as it is that reaches beyond the canvas brings in no more than what stood on it.
static void test_overhang(void)
{
    open_tracks("{\"clips\":[{" COLOUR("#ff0000") ",\"start\":0,\"duration\":26},{" COLOUR(
        "#0000ff") ",\"start\":10,\"duration\":30,\"fit\":\"none\",\"size\":[128,96],"
                   "\"transition\":{\"duration\":16,\"kind\":\"slide\",\"direction\":\"left\"}}]}");
    for (int k = 1; k < 16; k++) {
        check_column(10 + k, 64 - 4 * k, blue);
        check_column(10 + k, 63 - 4 * k, red);
    }
    close_tracks();
    // Both are off the canvas: the colour of a dip is there all the same.
    open_tracks("{\"clips\":[{" COLOUR(
        "#ff0000") ",\"start\":0,\"duration\":26,\"position\":"
                   "[900,24]},{" COLOUR("#0000ff") ",\"start\":10,\"duration\":30,\"position\":"
                                                   "[900,24],\"transition\":{\"duration\":16,"
                                                   "\"kind\":\"dip\",\"colour\":"
                                                   "\"#00ff00\"}}]}");
    check_column(18, 30, green);
    check_column(30, 30, black);
    close_tracks();
}

static void test_mixes(void)
{
    const double white[3] = {1, 1, 1}, magenta[3] = {1, 0, 1};
    open_transition("\"kind\":\"dip\",\"colour\":\"#fff\"");
    for (int k = 0; k <= 8; k++) {
        check_pixel(10 + k, 10, 24, red, white, k / 8.0, 3);
        check_pixel(18 + k, 10, 24, white, blue, k / 8.0, 3);
    }
    close_tracks();
    open_transition("\"kind\":\"add\"");
    for (int k = 0; k <= 8; k++) { // blue comes in full, then red goes
        check_pixel(10 + k, 10, 24, red, magenta, k / 8.0, 4);
        check_pixel(18 + k, 10, 24, magenta, blue, k / 8.0, 4);
    }
    close_tracks();
    open_transition("\"kind\":\"wipe\",\"wipe\":\"left-to-right\"");
    for (int k = 1; k < 16; k++) { // the edge is two pixels wide
        check_column(10 + k, 4 * k - 4 < 0 ? 0 : 4 * k - 4, blue);
        check_column(10 + k, 4 * k + 3, 4 * k + 3 < 32 ? red : green);
    }
    close_tracks();
    // Its image is missing: a dissolve, and a problem.
    open_transition("\"kind\":\"luma\",\"asset\":\"n\"");
    check_pixel(18, 10, 24, red, blue, 0.5, 2);
    struct render_report report;
    struct group_frame *group = NULL;
    CHECK_OK(renderer_frame(renderer, 19, 19, NULL, &group, NULL, &report));
    CHECK(report.problems, ==, 1);
    CHECK_TRUE(strstr(report.first.text, "is not there"));
    group_frame_unref(&group);
    close_tracks();
}

int main(void)
{
    test_layers();
    test_dissolve_and_fades();
    test_moves();
    test_overhang();
    test_mixes();
    test_nested();
    test_border_and_shadow();
    test_border_hides();
    test_adjust();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
