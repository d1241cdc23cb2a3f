// Plans with several outputs on one edge: what is taken from the message, what the desk mixes of
// it, and what the ledger says of frames that were not as planned.
#include "edge/ledger.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define W 128
#define H 64

typedef Vistter__Control__V1__GroupPlan group_message;
typedef Vistter__Control__V1__LinkPlan link_message;
typedef Vistter__Control__V1__OutputPlan output_message;
typedef Vistter__Control__V1__RenditionPlan rendition_message;

// A channel with the programme (groups 1 and 2) and a clean feed (group 1) on edge "e", and a
// smaller output (group 3) elsewhere.
static struct message {
    Vistter__Control__V1__ChannelPlan plan;
    group_message group[3], *groups[3];
    link_message link[3], *links[3];
    output_message output[3], *outputs[3];
    rendition_message rendition[3], *renditions[3];
    uint32_t shown[4];
    uint8_t revision[32], key[32];
} m;

static void message_make(void)
{
    memset(&m, 0, sizeof m);
    vistter__control__v1__channel_plan__init(&m.plan);
    m.plan.channel = 7;
    m.plan.plan_epoch = 3;
    m.plan.width = W;
    m.plan.height = H;
    m.plan.rate_num = 30;
    m.plan.rate_den = 1;
    m.plan.revision = (ProtobufCBinaryData){32, m.revision};
    for (uint32_t i = 0; i < 3; i++) {
        vistter__control__v1__group_plan__init(&m.group[i]);
        vistter__control__v1__link_plan__init(&m.link[i]);
        vistter__control__v1__output_plan__init(&m.output[i]);
        vistter__control__v1__rendition_plan__init(&m.rendition[i]);
        m.link[i].consumer = i < 2 ? "e" : "other";
        m.link[i].link_id = "l";
        m.link[i].key = (ProtobufCBinaryData){32, m.key};
        m.links[i] = &m.link[i];
        m.group[i].group = i + 1;
        m.group[i].from_base = i != 1;
        m.group[i].width = i < 2 ? W : W / 2;
        m.group[i].height = i < 2 ? H : H / 2;
        m.group[i].provider_address = "h:1";
        m.group[i].links = &m.links[i];
        m.group[i].n_links = 1;
        m.groups[i] = &m.group[i];
        m.rendition[i].rendition = 1;
        m.renditions[i] = &m.rendition[i];
        m.output[i].output = i + 1;
        m.output[i].edge = i < 2 ? "e" : "other";
        m.output[i].renditions = &m.renditions[i];
        m.output[i].n_renditions = 1;
        m.outputs[i] = &m.output[i];
    }
    m.shown[0] = 1, m.shown[1] = 2, m.shown[2] = 1, m.shown[3] = 3;
    m.output[0].groups = &m.shown[0];
    m.output[0].n_groups = 2;
    m.output[1].groups = &m.shown[2];
    m.output[1].n_groups = 1;
    m.output[1].name = "clean";
    m.output[2].groups = &m.shown[3];
    m.output[2].n_groups = 1;
    m.output[2].width = W / 2;
    m.output[2].height = H / 2;
    m.plan.groups = m.groups;
    m.plan.n_groups = 3;
    m.plan.outputs = m.outputs;
    m.plan.n_outputs = 3;
}

static void test_parse(struct plan **ret)
{
    struct plan *p = NULL;
    struct diagnostic d = {0};
    message_make();
    CHECK_OK(plan_parse(&m.plan, "e", &p, &d));
    CHECK(p->group_count, ==, 2); // not the one that only the other edge shows
    CHECK(p->output_count, ==, 2);
    CHECK(p->outputs[0].group_count, ==, 2);
    CHECK(p->outputs[1].group_count, ==, 1);
    CHECK_TEXT(p->outputs[1].name, "clean");
    CHECK(p->rendition_count, ==, 2);
    CHECK(p->renditions[1].output, ==, 2);
    CHECK(p->renditions[1].width, ==, W);
    CHECK_TRUE(p->warm);
    *ret = p;
    struct plan *other = NULL;
    m.plan.redundancy = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_COLD;
    CHECK_OK(plan_parse(&m.plan, "other", &other, &d));
    CHECK(other->group_count, ==, 1);
    CHECK(other->outputs[0].width, ==, W / 2);
    CHECK(other->renditions[0].height, ==, H / 2);
    CHECK_TRUE(!other->warm);
    plan_unref(&other);
}

static void check_destinations(const char *node, const char *text)
{
    struct plan *p = NULL;
    char found[256] = "";
    CHECK_OK(plan_parse(&m.plan, node, &p, NULL));
    const struct plan_rendition *r = &p->renditions[0];
    for (int i = 0; i < r->destination_count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%d%s:%s%s ",
                 (int)r->destinations[i].destination, r->destinations[i].backup ? "b" : "",
                 r->destinations[i].url, r->destinations[i].others ? "?" : "");
    CHECK_TEXT(found, text);
    plan_unref(&p);
}

// Who feeds which of two platforms (?: when it is named), one of which has two addresses, and who
// records.
static void test_destinations(void)
{
    Vistter__Control__V1__DestinationPlan to[3], *list[] = {&to[0], &to[1], &to[2]};
    message_make();
    for (uint64_t i = 0; i < 3; i++) {
        vistter__control__v1__destination_plan__init(&to[i]);
        to[i].destination = i + 1;
        to[i].kind = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RTMP;
    }
    to[0].url = "a";
    to[0].backup_url = "b";
    to[1].url = "c";
    to[2].kind = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RECORDING;
    m.rendition[0].destinations = list;
    m.rendition[0].n_destinations = 3;
    check_destinations("e", "1:a 1b:b 2:c 3: ");
    m.output[0].backup_edge = "f";
    m.link[0].consumer = m.link[1].consumer = "f";
    check_destinations("f", "1:a? 1b:b 2:c? 3b: ");
    m.link[0].consumer = m.link[1].consumer = "e";
    check_destinations("e", "1:a 1b:b? 2:c 3: ");
}

static void check_refused(const char *path)
{
    struct plan *p = NULL;
    struct diagnostic d = {0};
    CHECK_ERROR(plan_parse(&m.plan, "e", &p, &d), -EINVAL);
    CHECK_TEXT(d.path, path);
    plan_unref(&p);
    message_make();
}

static void test_refusals(void)
{
    message_make();
    m.group[0].width = W / 2;
    check_refused("outputs.groups"); // another size than the output's
    m.group[1].height = 17;
    check_refused("groups.width");
    m.output[1].width = 1 << 20;
    check_refused("outputs.width");
    m.link[1].consumer = "somebody";
    check_refused("groups.links");
    m.group[1].group = 1;
    check_refused("groups");
    uint8_t short_slate[5] = {0};
    m.plan.slate = (ProtobufCBinaryData){sizeof short_slate, short_slate};
    check_refused("slate");
    for (int i = 0; i < 2; i++)
        m.output[i].edge = "nobody";
    check_refused("outputs.groups");
}

// ---- The desk ----------------------------------------------------------------------------------

static struct group_frame *flat(bool base, uint8_t luma)
{
    struct group_builder *b = group_builder_create(W, H);
    struct picture *p = picture_create(base ? PICTURE_OPAQUE : PICTURE_ALPHA, base ? W : 32, 32);
    if (base) {
        picture_unref(&p);
        p = picture_create(PICTURE_OPAQUE, W, H);
    }
    picture_fill(p, (uint8_t[4]){luma, 128, 128, 255});
    group_builder_begin(b, base ? p : NULL);
    if (!base)
        group_builder_add(b, p, 0, 0, 255, BLEND_NORMAL);
    struct group_frame *g = NULL;
    CHECK_OK(group_builder_finish(b, &g));
    picture_unref(&p);
    group_builder_destroy(&b);
    return g;
}

static int32_t stems[2][1600 * 2];

// Mixes frame n; gives the lumas at the top left of both outputs, and their first samples.
static void mix(struct desk *desk, int64_t n, const struct group_frame *a,
                const struct group_frame *b, int luma[2], int32_t sample[2],
                struct desk_result *ret)
{
    struct intake_frame inputs[2] = {{a, a ? stems[0] : NULL}, {b, b ? stems[1] : NULL}};
    struct mixer_slate slates[PLAN_OUTPUTS_MAX] = {0};
    struct programme_frame *frames[PLAN_OUTPUTS_MAX] = {0};
    CHECK_OK(desk_mix(desk, n, inputs, slates, frames, ret));
    for (int i = 0; i < 2; i++) {
        luma[i] = frames[i]->picture->plane[0][0];
        sample[i] = frames[i]->samples[2000];
        programme_frame_unref(&frames[i]);
    }
}

static void test_desk(const struct plan *p)
{
    struct desk *desk = desk_create();
    struct group_frame *a = flat(true, 50), *b = flat(false, 200);
    int luma[2];
    int32_t sample[2];
    struct desk_result r;
    for (int i = 0; i < 3200; i++)
        stems[0][i] = 11, stems[1][i] = 500;
    CHECK_OK(desk_follow(desk, p));
    mix(desk, 900, a, b, luma, sample, &r);
    CHECK(luma[0], ==, 200);
    CHECK(luma[1], ==, 50); // the clean feed: without the graphics, and without their sound
    CHECK(sample[0], ==, 511);
    CHECK(sample[1], ==, 11);
    CHECK(r.late, ==, 0);
    // Late graphics conceal the programme only; a late base both.
    mix(desk, 901, a, NULL, luma, sample, &r);
    CHECK(r.late, ==, 1);
    CHECK(r.output[0].worst, ==, MIXER_HOLD);
    CHECK(r.output[1].worst, ==, MIXER_FRESH);
    mix(desk, 902, NULL, b, luma, sample, &r);
    CHECK(r.late, ==, 2);
    CHECK(luma[1], ==, 50);
    // The next plan leaves the programme out and keeps the clean feed, with what it held.
    struct plan next = *p;
    next.epoch = 4;
    next.output_count = 1;
    next.outputs[0] = p->outputs[1];
    CHECK_OK(desk_follow(desk, &next));
    struct programme_frame *frames[PLAN_OUTPUTS_MAX] = {0};
    struct intake_frame nothing[2] = {0};
    struct mixer_slate slates[PLAN_OUTPUTS_MAX] = {0};
    CHECK_OK(desk_mix(desk, 903, nothing, slates, frames, &r));
    CHECK(r.output[0].programme_held, ==, 1);
    CHECK(frames[0]->picture->plane[0][0], ==, 50);
    programme_frame_unref(&frames[0]);
    desk_destroy(&desk);
    group_frame_unref(&a);
    group_frame_unref(&b);
    CHECK(picture_outstanding(), ==, 0);
}

// ---- The ledger --------------------------------------------------------------------------------

static void note(struct ledger *l, const struct plan *p, int64_t n, enum mixer_step programme,
                 uint32_t group)
{
    struct desk_result r = {.output = {{.worst = programme, .worst_group = group}}};
    ledger_note(l, p, n, &r);
}

// What has been written, and nothing is left behind. `text` is zeroed.
static void read_ledger(int fd, const char *path, char *text, size_t size)
{
    CHECK(read(fd, text, size - 1), >, 0);
    close(fd);
    unlink(path);
}

static void test_ledger(const struct plan *p)
{
    char path[] = "/tmp/vistter-ledger-XXXXXX", text[2048] = "";
    int fd = mkstemp(path);
    CHECK(fd, >=, 0);
    struct ledger *l = ledger_create(7, path);
    for (int64_t n = 100; n < 120; n++)
        note(l, p, n,
             n < 104   ? MIXER_FRESH
             : n < 108 ? MIXER_HOLD
                       : MIXER_FALLBACK,
             n < 104 ? 0 : 2);
    CHECK_OK(ledger_write(l)); // the fallback goes on: not written yet
    note(l, p, 120, MIXER_FRESH, 0);
    ledger_skipped(l, p, 121, 129);
    note(l, p, 130, MIXER_SLATE, 1);
    ledger_destroy(&l);
    read_ledger(fd, path, text, sizeof text);
    CHECK_TEXT(text,
               "{\"channel\":7,\"output\":1,\"from\":104,\"to\":107,\"plan_epoch\":3,\"group\":2,"
               "\"step\":\"hold\"}\n"
               "{\"channel\":7,\"output\":1,\"from\":108,\"to\":119,\"plan_epoch\":3,\"group\":2,"
               "\"step\":\"fallback\"}\n"
               "{\"channel\":7,\"output\":1,\"from\":121,\"to\":129,\"plan_epoch\":3,\"group\":0,"
               "\"step\":\"skipped\"}\n"
               "{\"channel\":7,\"output\":2,\"from\":121,\"to\":129,\"plan_epoch\":3,\"group\":0,"
               "\"step\":\"skipped\"}\n"
               "{\"channel\":7,\"output\":1,\"from\":130,\"to\":130,\"plan_epoch\":3,\"group\":1,"
               "\"step\":\"slate\"}\n");
}

// Whole frames of a plan without optional tracks are not as the timeline says; what is worse is
// said instead.
static void test_ledger_optional(const struct plan *p)
{
    char path[] = "/tmp/vistter-ledger-XXXXXX", text[1024] = "";
    int fd = mkstemp(path);
    CHECK(fd, >=, 0);
    struct plan without = *p;
    without.without_optional = true;
    without.output_count = 1;
    struct ledger *l = ledger_create(7, path);
    for (int64_t n = 10; n < 20; n++)
        note(l, n < 12 || n > 17 ? p : &without, n, n == 15 ? MIXER_HOLD : MIXER_FRESH, 0);
    ledger_destroy(&l);
    read_ledger(fd, path, text, sizeof text);
    CHECK_TEXT(text,
               "{\"channel\":7,\"output\":1,\"from\":12,\"to\":14,\"plan_epoch\":3,\"group\":0,"
               "\"step\":\"without_optional\"}\n"
               "{\"channel\":7,\"output\":1,\"from\":15,\"to\":15,\"plan_epoch\":3,\"group\":0,"
               "\"step\":\"hold\"}\n"
               "{\"channel\":7,\"output\":1,\"from\":16,\"to\":17,\"plan_epoch\":3,\"group\":0,"
               "\"step\":\"without_optional\"}\n");
}

int main(void)
{
    struct plan *p = NULL;
    test_parse(&p);
    test_destinations();
    test_refusals();
    test_desk(p);
    test_ledger(p);
    test_ledger_optional(p);
    plan_unref(&p);
    return check_end();
}
