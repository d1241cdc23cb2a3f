// What is asked of a provider that stands by: which frames, when, and what their comparison finds.
// The last tests run an intake between two providers, one of which makes other bits at times.
#include "engine/receive/standby.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/link/tile_codec.h"
#include "engine/receive/intake.h"
#include "tests/check.h"

#include <errno.h>

#define MS INT64_C(1000000)

static atomic_uint starts;

// Every group has one frame in each 300, from wherever one looks; neighbours have others.
static void test_which(void)
{
    for (uint64_t channel = 1; channel < 9; channel++) {
        for (uint32_t group = 1; group < 5; group++) {
            int64_t n = standby_sampled(channel, group, 1000);
            CHECK_TRUE(n >= 1000 && n < 1300);
            for (int64_t from = n - 299; from <= n; from++)
                CHECK(standby_sampled(channel, group, from), ==, n);
            CHECK(standby_sampled(channel, group, n + 1), ==, n + 300);
            CHECK_TRUE(standby_sampled(channel, group + 1, 1000) != n);
            CHECK_TRUE(standby_sampled(channel + 1, group, 1000) != n);
        }
    }
}

static struct frame_header header(int64_t frame, int64_t base)
{
    return (struct frame_header){.kind = FRAME_MESSAGE_PICTURE, .frame = frame, .base_frame = base};
}

// Frame 1345 of channel 9, group 2, with 90 frames of lead.
static void test_when(void)
{
    struct standby s;
    struct frame_want want;
    struct frame_header h = header(1345, 1345), other = header(1344, 1344);
    struct standby_pair pair;
    standby_init(&s, 9, 2, 5, false, 1050, &starts);
    struct standby_view view = {true, true, 1255, 1345};
    CHECK_TRUE(!standby_want(&s, &view, 0, &want)); // it has not arrived from the active one
    view = (struct standby_view){true, true, 1256, 1346};
    CHECK_TRUE(standby_want(&s, &view, 0, &want));
    CHECK(want.from, ==, 1345);
    CHECK(want.credit, ==, 1346);
    CHECK(want.channel, ==, 9);
    CHECK(want.group, ==, 2);
    CHECK(want.plan_epoch, ==, 5);
    CHECK_TRUE(!want.ended);
    CHECK_TRUE(!standby_want(&s, &view, 0, &want)); // asked once
    struct frame_body *body = frame_body_coded(malloc(8), 8);
    CHECK_TRUE(!standby_put(&s, &other, body, 1));
    CHECK_TRUE(standby_put(&s, &h, body, 1));
    CHECK_TRUE(!standby_take(&s, &pair));
    CHECK_TRUE(standby_needs(&s, 1345) && !standby_needs(&s, 1344));
    standby_own(&s, group_frame_create(64, 32), malloc(8));
    CHECK_TRUE(!standby_needs(&s, 1345));
    CHECK_TRUE(standby_take(&s, &pair));
    CHECK(pair.frame, ==, 1345);
    CHECK_TRUE(pair.body == body);
    standby_pair_finish(&pair);
    CHECK_TRUE(standby_want(&s, &view, 0, &want)); // nothing more is wanted for now
    CHECK_TRUE(want.ended);
    CHECK_TRUE(!standby_want(&s, &view, 0, &want));
    standby_finish(&s);
}

static void test_not_then(void)
{
    struct standby s;
    struct frame_want want;
    struct frame_header h = header(1345, 1300);
    struct standby_pair pair;
    const struct standby_view before = {true, true, 1250, 1340}, due = {true, true, 1260, 1350};
    const struct standby_view quiet[] = {
        {true, false, 1260, 1350}, // little is buffered, or a takeover runs
        {true, true, 1340, 1350},  // too late to be compared
        {false, true, 1260, 1350}, // it is not there
    };
    for (int i = 0; i < 3; i++) {
        standby_init(&s, 9, 2, 5, false, 1050, &starts);
        CHECK_TRUE(!standby_want(&s, &before, 0, &want));
        CHECK_TRUE(!standby_want(&s, &quiet[i], 0, &want));
        CHECK(standby_want(&s, &due, 0, &want), ==, i == 2); // its turn is over, unless unseen
        standby_finish(&s);
    }
    // A takeover while it is on its way: what comes then is an answer to something else.
    standby_init(&s, 9, 2, 5, false, 1050, &starts);
    CHECK_TRUE(standby_want(&s, &due, 0, &want));
    uint32_t start = want.start;
    standby_changed(&s);
    struct frame_body *body = frame_body_coded(malloc(8), 8);
    CHECK_TRUE(!standby_put(&s, &h, body, 1));
    CHECK_TRUE(!standby_needs(&s, 1345));
    CHECK_TRUE(s.start != start);
    // A difference cannot be compared: what it refers to was sent to others.
    standby_init(&s, 9, 2, 5, false, 1050, &starts);
    CHECK_TRUE(standby_want(&s, &due, 0, &want));
    CHECK_TRUE(standby_put(&s, &h, body, 1));
    CHECK_TRUE(!standby_take(&s, &pair));
    CHECK_TRUE(!standby_needs(&s, 1345));
    standby_finish(&s);
}

// A warm one knows where it would have to begin, four times a second.
static void test_positions(void)
{
    struct standby s;
    struct frame_want want;
    struct standby_view view = {true, true, 1060, 1150};
    standby_init(&s, 9, 2, 5, true, 1050, &starts);
    CHECK_TRUE(standby_want(&s, &view, 1000 * MS, &want));
    CHECK(want.from, ==, 1150);
    CHECK(want.credit, ==, 1150);
    view.frontier = 1157;
    CHECK_TRUE(!standby_want(&s, &view, 1249 * MS, &want));
    CHECK_TRUE(standby_want(&s, &view, 1250 * MS, &want));
    CHECK(want.credit, ==, 1157);
    CHECK_TRUE(!standby_want(&s, &view, 2000 * MS, &want)); // it stands
    view = (struct standby_view){true, true, 1256, 1346};
    CHECK_TRUE(standby_want(&s, &view, 2001 * MS, &want));
    CHECK(want.from, ==, 1345); // not behind what it was told
    CHECK(want.credit, ==, 1346);
    view.frontier = 1360;
    CHECK_TRUE(!standby_want(&s, &view, 2500 * MS, &want)); // until that has come
    struct frame_header h = header(1345, 1345);
    CHECK_TRUE(standby_put(&s, &h, frame_body_coded(malloc(8), 8), 1));
    CHECK_TRUE(standby_want(&s, &view, 2501 * MS, &want));
    CHECK(want.from, ==, 1360);
    view.calm = false; // positions matter most when others are in trouble
    view.frontier = 1370;
    CHECK_TRUE(standby_want(&s, &view, 3000 * MS, &want));
    CHECK(want.from, ==, 1370);
    standby_finish(&s);
}

// ---- An intake between two providers ----------------------------------------------------------

#define W    64
#define H    32
#define LEAD 60

static const struct rate rate = {30, 1};

#define COMPARED_MAX 64

struct farm {
    struct intake *intake;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t next[2], credit; // credit: of provider 0
    uint32_t start[2];
    _Atomic int64_t made[2];            // frames of each
    int64_t wrong_picture, wrong_sound; // of provider 1
    int64_t compared[COMPARED_MAX];
    int differs[COMPARED_MAX]; // 1: picture, 2: sound
    atomic_int count;
    atomic_int dead;  // a provider, -1: none
    atomic_bool mute; // provider 0: it lives, and gives nothing
    bool hot;
};

static void put(struct farm *f, int provider, int64_t n)
{
    int samples = rate_sample_count(rate, n);
    int32_t stem[2 * 2048] = {0};
    struct picture *picture = picture_create(PICTURE_OPAQUE, W, H);
    picture_fill(picture, (uint8_t[4]){(uint8_t)(16 + n % 200), 128, 128, 255});
    stem[7] = (int32_t)n;
    picture->plane[0][5 * picture->stride[0] + 40] ^= provider == 1 && n == f->wrong_picture;
    stem[2 * samples - 1] ^= provider == 1 && n == f->wrong_sound;
    struct group_builder *builder = group_builder_create(W, H);
    struct group_frame *frame = NULL;
    group_builder_begin(builder, picture);
    CHECK_OK(group_builder_finish(builder, &frame));
    uint8_t *coded, *sound;
    size_t size, sound_size;
    CHECK_OK(group_encode(frame, NULL, &coded, &size));
    CHECK_OK(stem_encode(stem, samples, &sound, &sound_size));
    uint8_t *payload = malloc(8 + size + sound_size);
    for (int i = 0; i < 4; i++) {
        payload[i] = (uint8_t)(size >> 8 * i);
        payload[4 + i] = (uint8_t)(sound_size >> 8 * i);
    }
    memcpy(payload + 8, coded, size);
    memcpy(payload + 8 + size, sound, sound_size);
    struct frame_header h = header(n, n);
    h.channel = 9;
    h.group = 2;
    h.plan_epoch = 5;
    h.width = W;
    h.height = H;
    int result = intake_put(f->intake, &f->next[provider], &h,
                            frame_body_coded(payload, 8 + size + sound_size));
    CHECK_TRUE(!result || (f->hot && (result == -EEXIST || result == -ESTALE)));
    f->made[provider]++;
    free(coded);
    free(sound);
    group_frame_unref(&frame);
    group_builder_destroy(&builder);
    picture_unref(&picture);
}

// Answers at once, on the intake's thread.
static void want(void *opaque, int index, int provider, const struct frame_want *want)
{
    struct farm *f = opaque;
    CHECK(index, ==, 0);
    if (want->ended || provider == atomic_load(&f->dead))
        return;
    // All is asked of one, and may be left out by the other.
    CHECK_TRUE(!want->spare || provider == 1);
    CHECK_TRUE(provider == 0 || want->spare || want->credit == want->from ||
               atomic_load(&f->dead) == 0);
    if (want->start != f->start[provider] || f->next[provider] < want->from)
        f->next[provider] = want->from;
    f->start[provider] = want->start;
    while (f->next[provider] < want->credit && !(provider == 0 && atomic_load(&f->mute)))
        put(f, provider, f->next[provider]++);
    pthread_mutex_lock(&f->lock);
    if (provider == 0 || f->hot)
        f->credit = want->credit;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static enum link_life life_of(void *opaque, int index, int provider)
{
    struct farm *f = opaque;
    (void)index;
    return provider != atomic_load(&f->dead) ? LINK_LIVES : LINK_LOST;
}

static void compared(void *opaque, int index, const struct intake_sample *sample)
{
    struct farm *f = opaque;
    CHECK(index, ==, 0);
    CHECK(sample->providers[0] + sample->providers[1], ==, 1);
    CHECK_TRUE(f->hot || sample->providers[0] == 0);
    CHECK(f->count, <, COMPARED_MAX);
    if (sample->picture_differs) { // both are there to be shown
        const struct picture *a = sample->pictures[0]->level[0].picture;
        const struct picture *b = sample->pictures[1]->level[0].picture;
        CHECK(a->plane[0][5 * a->stride[0] + 40] ^ b->plane[0][5 * b->stride[0] + 40], ==, 1);
    }
    f->differs[f->count] = sample->picture_differs + 2 * sample->sound_differs;
    f->compared[f->count++] = sample->frame;
}

static void await_credit(struct farm *f, int64_t credit)
{
    pthread_mutex_lock(&f->lock);
    while (f->credit < credit)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void open_intake(struct farm *f)
{
    struct intake_config config = {
        .channel = 9,
        .plan_epoch = 5,
        .rate = rate,
        .lead_frames = LEAD,
        .group_count = 1,
        .groups = {{.group = 2,
                    .width = W,
                    .height = H,
                    .providers = 2,
                    .sources = {&f->next[0], &f->next[1]}}},
        .cursor = 1050,
        .end = INT64_MAX,
        .bytes_max = 1 << 24,
        .latency_ms = 20,
        .urgent = true,
        .want = want,
        .life = life_of,
        .compared = compared,
        .hot = f->hot,
        .opaque = f,
    };
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    // Its thread is told of the intake only once it is known here.
    config.end = config.cursor;
    CHECK_OK(intake_create(&config, &f->intake));
    intake_set_end(f->intake, INT64_MAX);
}

static void watch(struct farm *f)
{
    open_intake(f);
    for (int64_t n = 1050; n < 2000; n++) {
        if (n % 10 == 0)
            await_credit(f, n + LEAD);
        intake_wait(f->intake, n, clock_monotonic_ns() + 10000 * MS);
        CHECK_TRUE(intake_ready(f->intake, n));
        intake_advance(f->intake, n + 1);
    }
    intake_destroy(&f->intake);
    CHECK(f->made[1], ==, 3); // and nothing else was asked of it
    CHECK(f->count, ==, 3);
    for (int i = 0; i < f->count; i++)
        CHECK(f->compared[i], ==, 1345 + 300 * i);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

static void test_pure(void)
{
    struct farm f = {.wrong_picture = -1, .wrong_sound = -1, .dead = -1};
    watch(&f);
    for (int i = 0; i < 3; i++)
        CHECK(f.differs[i], ==, 0);
}

static void test_corrupt(void)
{
    struct farm f = {.wrong_picture = 1645, .wrong_sound = 1945, .dead = -1};
    watch(&f);
    CHECK(f.differs[0], ==, 0);
    CHECK(f.differs[1], ==, 1);
    CHECK(f.differs[2], ==, 2);
}

// Of two that both make everything one falls silent, and dies: what is buffered does not shrink for
// a frame, before anybody has noticed. Copies have been compared all the time, not one in 300.
static void test_hot(void)
{
    struct farm f = {.wrong_picture = -1, .wrong_sound = -1, .dead = -1, .hot = true};
    struct intake_stats stats;
    uint32_t takeovers;
    open_intake(&f);
    for (int64_t n = 1050; n < 2000; n++) {
        if (n % 10 == 0) {
            await_credit(&f, n + LEAD);
            intake_stats(f.intake, &stats);
            CHECK(stats.slack_frames, ==, LEAD);
        }
        atomic_store(&f.mute, n >= 1600 && n < 1700);
        if (n == 1600) {
            CHECK(stats.copies, >=, 540); // of 550, some of which are on their way
            CHECK(f.count, >=, 6);        // one at a time, decoded shortly before its turn
        }
        if (n == 1800) {
            CHECK(intake_provider(f.intake, 0, &takeovers), ==, 0);
            atomic_store(&f.dead, 0);
        }
        intake_wait(f.intake, n, clock_monotonic_ns() + 10000 * MS);
        CHECK_TRUE(intake_ready(f.intake, n));
        intake_advance(f.intake, n + 1);
    }
    CHECK(intake_provider(f.intake, 0, &takeovers), ==, 1);
    CHECK(takeovers, ==, 1);
    intake_destroy(&f.intake);
    for (int i = 0; i < f.count; i++)
        CHECK(f.differs[i], ==, 0);
    pthread_cond_destroy(&f.changed);
    pthread_mutex_destroy(&f.lock);
}

// Nothing is compared, nor copied, for as long as the taker has given that up: of a hot standby
// only that it stands where it would have to begin is asked then.
static void test_given_up(bool hot)
{
    struct farm f = {.wrong_picture = -1, .wrong_sound = -1, .dead = -1, .hot = hot};
    int64_t made = 0;
    int count = 0;
    open_intake(&f);
    for (int64_t n = 1050; n < 2000; n++) {
        if (n % 10 == 0)
            await_credit(&f, n + LEAD);
        if (n == 1200)
            intake_ask_standbys(f.intake, false, false);
        if (n == 1300) // what was asked before has come
            made = f.made[1], count = f.count;
        if (n == 1650) { // the sample of 1645 has not been made, nor have copies
            CHECK(f.made[1], ==, made);
            CHECK(f.count, ==, count);
            intake_ask_standbys(f.intake, true, true);
        }
        intake_wait(f.intake, n, clock_monotonic_ns() + 10000 * MS);
        CHECK_TRUE(intake_ready(f.intake, n));
        intake_advance(f.intake, n + 1);
    }
    intake_destroy(&f.intake);
    CHECK(f.made[1] - made, >=, hot ? 200 : 1);
    CHECK(f.count - count, >=, 1);
    for (int i = 0; i < f.count; i++)
        CHECK(f.differs[i], ==, 0);
    pthread_cond_destroy(&f.changed);
    pthread_mutex_destroy(&f.lock);
}

int main(void)
{
    test_which();
    test_when();
    test_not_then();
    test_positions();
    test_pure();
    test_corrupt();
    test_hot();
    test_given_up(false);
    test_given_up(true);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
