// A channel from group frames to a recording, in real time, with a provider that loses messages,
// sends them twice, and for a while does not deliver one group at all.
//
// The provider stands in for frame_client: it answers wishes as a worker does, by the rules in
// frame_link.h. What must come out is computed here without the mixer: a flat picture that changes
// with each frame, and an opaque square above it. Argument: the path of vistter-deliver.
#include "edge/channel.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/link/tile_codec.h"
#include "tests/check.h"
#include "tests/edge/media_file.h"

#include <dirent.h>
#include <errno.h>
#include <libavutil/log.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define W        320
#define H        180
#define FRAMES   150 // watched
#define SWITCH   70  // frame after the first at which the second plan takes over
#define GAP_FROM 100 // group 2 is not delivered
#define GAP_TO   104
#define LEAD     45

static const struct rate rate = {30000, 1001};
static int64_t first_frame; // set before anything is provided

// ---- What is shown -----------------------------------------------------------------------------

// The square stands further right under the second plan.
static int square_x(uint32_t epoch)
{
    return epoch == 1 ? 32 : 160;
}

static uint8_t base_luma(int64_t n)
{
    return (uint8_t)(20 + n % 200);
}

static void fill_base(struct picture *p, int64_t n)
{
    picture_fill(p, (uint8_t[4]){base_luma(n), 128, 128, 255});
}

static void fill_stem(int32_t *stem, int64_t n, uint32_t group)
{
    for (int i = 0; i < rate_sample_count(rate, n) * 2; i++)
        stem[i] = (int32_t)((n * 31 + i * 7) % 1000) * (group == 1 ? 100 : -30);
}

static struct picture *expected_picture(int64_t n, uint32_t epoch)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, W, H);
    fill_base(p, n);
    for (int y = 64; y < 96; y++)
        memset(p->plane[0] + y * p->stride[0] + square_x(epoch), 200, 64);
    for (int y = 32; y < 48; y++)
        for (int i = 1; i < 3; i++)
            memset(p->plane[i] + y * p->stride[i] + square_x(epoch) / 2, 90, 32);
    return p;
}

// ---- The provider ------------------------------------------------------------------------------

struct frame_client {
    struct frame_client_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;
    struct frame_want want[2][2]; // by epoch, by group
    int64_t next[2][2];           // next frame to send
    uint64_t random, resent;
};

static struct group_frame *make_group(int64_t n, uint32_t group, uint32_t epoch)
{
    struct group_builder *b = group_builder_create(W, H);
    struct picture *p = picture_create(group == 1 ? PICTURE_OPAQUE : PICTURE_ALPHA,
                                       group == 1 ? W : 64, group == 1 ? H : 32);
    if (group == 1)
        fill_base(p, n);
    else
        picture_fill(p, (uint8_t[4]){200, 90, 90, 255});
    group_builder_begin(b, group == 1 ? p : NULL);
    if (group == 2)
        group_builder_add(b, p, square_x(epoch), 64, 255, BLEND_NORMAL);
    struct group_frame *g = NULL;
    (void)group_builder_finish(b, &g);
    picture_unref(&p);
    group_builder_destroy(&b);
    return g;
}

static void send_message(struct frame_client *c, int64_t n, uint32_t group, uint32_t epoch)
{
    int64_t base = n - n % 10 < first_frame ? first_frame : n - n % 10;
    struct group_frame *frame = make_group(n, group, epoch);
    struct group_frame *key = base == n ? NULL : make_group(base, group, epoch);
    uint8_t *picture, *sound;
    size_t picture_size, sound_size;
    static _Thread_local int32_t stem[2 * 4096];
    fill_stem(stem, n, group);
    (void)group_encode(frame, key, &picture, &picture_size);
    (void)stem_encode(stem, rate_sample_count(rate, n), &sound, &sound_size);
    uint8_t *payload = malloc(8 + picture_size + sound_size);
    for (int i = 0; i < 4; i++) {
        payload[i] = (uint8_t)(picture_size >> 8 * i);
        payload[4 + i] = (uint8_t)(sound_size >> 8 * i);
    }
    memcpy(payload + 8, picture, picture_size);
    memcpy(payload + 8 + picture_size, sound, sound_size);
    struct frame_header h = {.kind = FRAME_MESSAGE_PICTURE,
                             .channel = 7,
                             .group = group,
                             .plan_epoch = epoch,
                             .frame = n,
                             .base_frame = base,
                             .width = W,
                             .height = H,
                             .revision = {(uint8_t)epoch}};
    c->config.on_frame(c->config.opaque, &h,
                       frame_body_coded(payload, 8 + picture_size + sound_size));
    free(picture);
    free(sound);
    group_frame_unref(&frame);
    group_frame_unref(&key);
}

static bool withheld(int64_t n, uint32_t group)
{
    return group == 2 && n >= first_frame + GAP_FROM && n < first_frame + GAP_TO;
}

// One step for one group: the frame it comes to, or a missing one. Every 7th message is lost, every
// 11th comes twice.
static bool provide(struct frame_client *c, int e, int g)
{
    pthread_mutex_lock(&c->lock);
    struct frame_want *want = &c->want[e][g];
    int64_t n = -1;
    bool again = want->missing_count > 0;
    if (again) {
        n = want->missing[--want->missing_count];
        c->resent++;
    } else if (want->credit) {
        int64_t *next = &c->next[e][g];
        *next = *next < want->from ? want->from : *next;
        if (*next < want->credit && !want->ended)
            n = (*next)++;
    }
    uint64_t chance = check_random(&c->random);
    pthread_mutex_unlock(&c->lock);
    if (n < 0)
        return false;
    uint32_t group = (uint32_t)g + 1, epoch = (uint32_t)e + 1;
    if (withheld(n, group) || (!again && chance % 7 == 0))
        return true;
    send_message(c, n, group, epoch);
    if (chance % 11 == 0)
        send_message(c, n, group, epoch);
    return true;
}

static void *run_provider(void *opaque)
{
    struct frame_client *c = opaque;
    pthread_mutex_lock(&c->lock);
    while (!c->closing) {
        pthread_mutex_unlock(&c->lock);
        bool worked = false;
        for (int e = 0; e < 2; e++)
            for (int g = 0; g < 2; g++)
                worked = provide(c, e, g) || worked;
        pthread_mutex_lock(&c->lock);
        if (!worked && !c->closing)
            pthread_cond_wait(&c->changed, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static uint64_t total_resent;
static atomic_bool unreachable; // providers that are called from now on do not answer
static int64_t last_credit[2];  // of the first plan's groups

void frame_client_close(struct frame_client *client)
{
    (void)client; // destroyed right after
}

int frame_client_create(const struct frame_client_config *config, struct frame_client **ret,
                        struct diagnostic *reterr)
{
    (void)reterr;
    struct frame_client *c = base_alloc(sizeof *c);
    c->config = *config;
    c->random = 42;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    *ret = c;
    c->config.on_state(c->config.opaque, !atomic_load(&unreachable));
    return thread_start(&c->thread, "provider", run_provider, c);
}

void frame_client_destroy(struct frame_client **client)
{
    struct frame_client *c = *client;
    *client = NULL;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    thread_join(c->thread);
    total_resent += c->resent;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

// The plan that leaves is not asked for what the next one shows; that one begins when all before it
// was sent, or when the switch is near.
static void note_credit(struct frame_client *c, const struct frame_want *want)
{
    int64_t at = first_frame + SWITCH;
    if (want->plan_epoch == 1 && !want->ended)
        last_credit[want->group - 1] = want->credit;
    if (want->plan_epoch != 2 || want->credit <= at || c->want[1][want->group - 1].credit > at)
        return;
    for (int g = 0; g < 2; g++)
        CHECK_TRUE(c->next[0][g] >= at || c->want[0][g].from >= at - LEAD / 2 - 2);
}

void frame_client_want(struct frame_client *c, const struct frame_want *want)
{
    pthread_mutex_lock(&c->lock);
    note_credit(c, want);
    c->want[want->plan_epoch - 1][want->group - 1] = *want;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

int64_t frame_client_heard_ns(const struct frame_client *client)
{
    (void)client;
    return clock_monotonic_ns();
}

int64_t frame_client_received_ns(const struct frame_client *client)
{
    (void)client;
    return clock_monotonic_ns();
}

void frame_client_stats(struct frame_client *client, struct frame_link_stats *ret)
{
    (void)client;
    *ret = (struct frame_link_stats){0};
}

// ---- The story ---------------------------------------------------------------------------------

static struct plan *make_plan(uint32_t epoch, bool committed, int64_t at_frame, int64_t epoch_ns)
{
    struct plan *p = base_alloc(sizeof *p);
    *p = (struct plan){
        .channel = 7,
        .name = "demo",
        .epoch = epoch,
        .committed = committed,
        .at_frame = at_frame,
        .width = W,
        .height = H,
        .rate = rate,
        .epoch_ns = epoch_ns,
        .playout_delay_ns = 500000000,
        .lead_frames = LEAD,
        .revision = {(uint8_t)epoch},
        .group_count = 2,
        .output_count = 1,
        .outputs = {{.output = 1, .width = W, .height = H, .group_count = 2, .groups = {0, 1}}},
        .rendition_count = 1};
    atomic_init(&p->references, 1);
    for (uint32_t g = 0; g < 2; g++)
        p->groups[g] = (struct plan_group){.group = g + 1,
                                           .width = W,
                                           .height = H,
                                           .from_base = g == 0,
                                           .provider_count = 1,
                                           .providers = {{.address = "test", .link_id = "test"}}};
    p->renditions[0] = (struct plan_rendition){
        .output = 1,
        .rendition = 1,
        .width = W,
        .height = H,
        .video_bitrate = 500000,
        .audio_bitrate = 128000,
        .gop_frames = 30,
        .preset = "ultrafast",
        .destination_count = 1,
        .destinations = {{.destination = 3, .kind = DELIVER_KIND_RECORDING, .url = "rec"}}};
    return p;
}

static void set_plans(struct channel *c, struct plan **plans, int count)
{
    struct diagnostic d = {0};
    CHECK_OK(channel_set_plans(c, (const struct plan *const *)plans, count, &d));
}

static void wait_for_frame(struct channel *c, int64_t n)
{
    struct channel_stats s;
    do {
        clock_sleep_until_ns(clock_monotonic_ns() + 20000000);
        channel_tend(c);
        channel_stats(c, &s);
    } while (s.cursor < n);
}

static int plan_state(struct channel *c, uint32_t epoch)
{
    struct channel_plan_report reports[CHANNEL_PLANS_MAX];
    int count = channel_plans(c, reports, CHANNEL_PLANS_MAX);
    for (int i = 0; i < count; i++) {
        bool preparing = reports[i].state == CHANNEL_PLAN_PREPARING;
        CHECK_TEXT(reports[i].waits_for, preparing ? "elsewhere" : "");
        if (reports[i].epoch == epoch)
            return (int)reports[i].state;
    }
    return -1;
}

// A plan whose upper group cannot be had is never ready.
static void check_unreachable(struct channel *c, struct plan *one, int64_t epoch_ns)
{
    struct plan *apart = make_plan(3, false, 0, epoch_ns);
    strcpy(apart->groups[1].providers[0].address, "elsewhere");
    atomic_store(&unreachable, true);
    set_plans(c, (struct plan *[]){one, apart}, 2);
    CHECK(plan_state(c, 3), ==, CHANNEL_PLAN_PREPARING);
    atomic_store(&unreachable, false);
    plan_unref(&apart);
}

static void run_story(struct channel *c, int64_t epoch_ns)
{
    struct plan *one = make_plan(1, true, first_frame, epoch_ns);
    struct plan *prepared = make_plan(2, false, 0, epoch_ns);
    struct plan *two = make_plan(2, true, first_frame + SWITCH, epoch_ns);
    set_plans(c, &one, 1);
    CHECK(plan_state(c, 1), ==, CHANNEL_PLAN_ARMED);
    wait_for_frame(c, first_frame + 20);
    CHECK(plan_state(c, 1), ==, CHANNEL_PLAN_ACTIVE);
    check_unreachable(c, one, epoch_ns);
    set_plans(c, (struct plan *[]){one, prepared}, 2);
    CHECK(plan_state(c, 2), ==, CHANNEL_PLAN_PREPARED);
    set_plans(c, (struct plan *[]){one, two}, 2);
    CHECK(plan_state(c, 2), ==, CHANNEL_PLAN_ARMED);
    set_plans(c, (struct plan *[]){one, two}, 2); // repeated: nothing changes
    wait_for_frame(c, first_frame + FRAMES + 5);
    CHECK(plan_state(c, 2), ==, CHANNEL_PLAN_ACTIVE);
    CHECK(plan_state(c, 1), ==, -1); // retired
    for (int g = 0; g < 2; g++)
        CHECK(last_credit[g], ==, first_frame + SWITCH);
    struct channel_stats s;
    channel_stats(c, &s);
    CHECK(s.plan_epoch, ==, 2);
    CHECK(s.late, ==, GAP_TO - GAP_FROM);
    CHECK(s.concealed, ==, GAP_TO - GAP_FROM);
    CHECK(s.skipped, ==, 0);
    CHECK(s.slack_frames, >, 0);
    CHECK(s.encode.dropped, ==, 0);
    CHECK_TEXT(s.alarm, "");
    CHECK(s.intake.counts.broken, ==, 0);
    CHECK(s.intake.counts.wrong, ==, 0);
    plan_unref(&one);
    plan_unref(&prepared);
    plan_unref(&two);
}

// Held group: the square stays, so the picture is as if nothing had happened; its sound is not.
static void check_hashes(const char *path)
{
    FILE *f = fopen(path, "r");
    CHECK_TRUE(f);
    static int32_t sum[2 * 4096], stem[2 * 4096];
    long long n, expected = first_frame;
    unsigned long long picture, sound;
    int lines = 0;
    while (f && fscanf(f, "%lld %16llx %16llx\n", &n, &picture, &sound) == 3) {
        CHECK(n, ==, expected);
        expected = n + 1;
        struct picture *p = expected_picture(n, n < first_frame + SWITCH ? 1 : 2);
        CHECK_TRUE(picture == picture_checksum(p));
        picture_unref(&p);
        int count = rate_sample_count(rate, n);
        memset(sum, 0, sizeof sum);
        for (uint32_t g = 1; g <= 2; g++) {
            fill_stem(stem, n, g);
            sound_add(sum, stem, count);
        }
        bool disturbed = n >= first_frame + GAP_FROM && n <= first_frame + GAP_TO;
        CHECK((sound == sound_checksum(sum, count)), ==, !disturbed);
        lines++;
    }
    CHECK(lines, >=, FRAMES);
    if (f)
        fclose(f);
}

static void check_recording(const char *folder)
{
    char path[512] = "";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strlen(entry->d_name) > 4 && !strcmp(entry->d_name + strlen(entry->d_name) - 4, ".mkv"))
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (dir)
        closedir(dir);
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.decode_errors, ==, 0);
    CHECK_TRUE(m.dts_rises);
    CHECK(m.video_frames, >=, FRAMES - 30); // from the first key frame on
    CHECK_TRUE(m.step_max * 1000 < 35);
    CHECK(m.longest_silence_packets, ==, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 77;
    av_log_set_level(AV_LOG_ERROR);
    char folder[] = "/tmp/vistter-channel-test-XXXXXX", hash[64], rec[64], command[64];
    CHECK_TRUE(mkdtemp(folder));
    snprintf(hash, sizeof hash, "%s/hash", folder);
    snprintf(rec, sizeof rec, "%s/rec", folder);
    struct outlet_hub *hub = NULL;
    CHECK_OK(outlet_hub_create(argv[1], NULL, &hub, NULL));
    struct links *links = links_create("edge", 120);
    struct channel_config config = {.channel = 7,
                                    .links = links,
                                    .outputs = {.hub = hub,
                                                .preview_listen = "",
                                                .record_folder = folder,
                                                .segment_seconds = 900},
                                    .window_bytes = 64 << 20,
                                    .hash_file = hash};
    struct channel *c = NULL;
    CHECK_OK(channel_create(&config, &c));
    // The channel has been on air for a day; the first frame is due in about two seconds.
    int64_t epoch_ns = clock_realtime_ns() - INT64_C(86400000000000);
    first_frame = rate_frame_at_ns(rate, INT64_C(86400000000000) + 1500000000);
    run_story(c, epoch_ns);
    channel_destroy(&c);
    links_destroy(&links);
    outlet_hub_destroy(&hub); // the recording is sealed now
    fprintf(stderr, "asked again for %llu frames\n", (unsigned long long)total_resent);
    CHECK(total_resent, >, 0);
    check_hashes(hash);
    check_recording(rec);
    CHECK(picture_outstanding(), ==, 0);
    CHECK(packet_outstanding(), ==, 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!check_failures)
        CHECK_OK(system(command));
    return check_end();
}
