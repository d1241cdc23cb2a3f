// A video that may be wanted some time: how much is decoded for that, and how near it is then. The
// decoder is stood in for: it knows what it would have to decode, and says that every picture cost
// it 15 ms.
#include "engine/source/jailed.h"
#include "engine/source/source.h"

#include "engine/base/thread.h"
#include "tests/check.h"

#include <errno.h>

#define PICTURES   1000
#define PICTURE_NS 15000000
#define NEAR       20 // pictures in SOURCE_FOLLOW_NS
#define AHEAD      6  // that a source decodes ahead

struct jailed_decoder {
    struct media_index index;
    struct index_picture pictures[PICTURES];
    struct index_key keys[PICTURES];
    int64_t next, spent_ns;
};

static int64_t gop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int64_t decoded, newest; // pictures so far, and the last that was asked for

int jailed_decoder_get(struct jailed_decoder *d, int64_t i, struct picture **ret,
                       struct diagnostic *reterr)
{
    (void)reterr;
    int64_t key = i - i % gop, from = d->next >= key && d->next <= i ? d->next : key;
    d->spent_ns += (i + 1 - from) * PICTURE_NS;
    d->next = i + 1;
    *ret = picture_create(PICTURE_OPAQUE, 16, 16);
    pthread_mutex_lock(&lock);
    decoded += i + 1 - from;
    newest = i;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return 0;
}

int jailed_decoder_open(const char *path, struct jailed_decoder **ret, struct diagnostic *reterr)
{
    (void)path, (void)reterr;
    struct jailed_decoder *d = base_alloc(sizeof *d);
    d->index = (struct media_index){.mode = INDEX_PTS,
                                    .time_base = {1, 25},
                                    .end = PICTURES,
                                    .picture_count = PICTURES,
                                    .key_count = (PICTURES + gop - 1) / gop,
                                    .pictures = d->pictures,
                                    .keys = d->keys};
    for (int64_t i = 0; i < PICTURES; i++)
        d->pictures[i] = (struct index_picture){i, i};
    for (int64_t i = 0; i < d->index.key_count; i++)
        d->keys[i] = (struct index_key){i * gop, i * gop};
    *ret = d;
    return 0;
}

void jailed_decoder_close(struct jailed_decoder **decoder)
{
    free(*decoder);
    *decoder = NULL;
}

const struct media_index *jailed_decoder_index(const struct jailed_decoder *d)
{
    return &d->index;
}

void jailed_decoder_size(const struct jailed_decoder *d, int *ret_width, int *ret_height)
{
    (void)d;
    *ret_width = *ret_height = 16;
}

int jailed_decode_still(const char *path, struct picture **ret, struct diagnostic *reterr)
{
    (void)path, (void)ret;
    return diagnostic_set(reterr, -ENOENT, "none", "", "there are no stills here");
}

void jailed_decoder_stop(struct jailed_decoder *d)
{
    (void)d;
}

int64_t jailed_decoder_cpu_ns(const struct jailed_decoder *d)
{
    return d->spent_ns;
}

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    (void)opaque, (void)uri, (void)reterr;
    strcpy(path, "v");
    return 0;
}

// ---- Stories ----------------------------------------------------------------------------------

static struct clip clip = {.kind = CLIP_VIDEO, .in = {0, 1}};
static struct asset_name asset = {.uri = "v"};
static struct timeline timeline = {.assets = &asset, .asset_count = 1};

static struct clip_instant at(int64_t picture)
{
    return (struct clip_instant){.clip = &clip, .source_time = rational_make(picture, 25)};
}

static void await_newest(int64_t picture)
{
    pthread_mutex_lock(&lock);
    while (newest != picture)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static struct source *open_video(int64_t keys_every)
{
    struct source *source = NULL;
    struct source_config config = {
        .timeline = &timeline, .clip = &clip, .resolver = {resolve, NULL}};
    gop = keys_every;
    decoded = 0;
    newest = -1;
    CHECK_OK(source_open(&config, &source, NULL));
    await_newest(AHEAD - 1); // what it costs is known
    return source;
}

static void follow(struct source *source, int64_t picture)
{
    struct clip_instant instant = at(picture);
    source_follow(source, &instant);
}

// Takes picture `i`; gives how many were decoded for it, those ahead of it aside.
static int64_t take(struct source *source, int64_t i)
{
    struct picture *picture = NULL;
    struct clip_instant instant = at(i);
    uint64_t content;
    pthread_mutex_lock(&lock);
    int64_t before = decoded;
    pthread_mutex_unlock(&lock);
    CHECK_OK(source_picture(source, &instant, &picture, &content, NULL));
    picture_unref(&picture);
    await_newest(i + AHEAD < PICTURES ? i + AHEAD : PICTURES - 1);
    pthread_mutex_lock(&lock);
    int64_t count = decoded - before - (newest - i);
    pthread_mutex_unlock(&lock);
    return count;
}

// Where keys are close nothing is decoded until a picture is wanted.
static void test_short_gops(void)
{
    struct source *source = open_video(10);
    for (int64_t i = 0; i < 800; i += 7)
        follow(source, i);
    CHECK(take(source, 796), ==, 7); // from key 790
    pthread_mutex_lock(&lock);
    CHECK(decoded, ==, AHEAD + 7 + AHEAD);
    pthread_mutex_unlock(&lock);
    source_destroy(&source);
}

// Where they are not, the decoder comes along, and is never far.
static void test_long_gops(void)
{
    struct source *source = open_video(500);
    follow(source, AHEAD + NEAR / 2); // not far yet
    CHECK(take(source, AHEAD + NEAR / 2), ==, NEAR / 2 + 1);
    int64_t next = AHEAD + NEAR / 2 + AHEAD + 1;
    follow(source, next + 2 * NEAR);
    await_newest(next + 2 * NEAR + AHEAD - 1); // is there, and a little ahead
    CHECK(take(source, next + 2 * NEAR), <=, 1);
    // Back in an earlier place, as where a clip loops: its key is behind it.
    follow(source, 3 * NEAR);
    await_newest(3 * NEAR + AHEAD - 1);
    CHECK(take(source, 3 * NEAR), <=, 1);
    source_destroy(&source);
}

int main(void)
{
    test_short_gops();
    test_long_gops();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
