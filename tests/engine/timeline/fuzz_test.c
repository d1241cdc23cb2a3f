// Random damage to valid documents: each ends as a timeline that can be evaluated, or as a
// diagnostic with words. Meant for the asan preset.
//
// usage: timeline_fuzz_test [SEED [ROUNDS]]
#include "tests/check.h"
#include "tests/engine/timeline/files.h"

#include <dirent.h>
#include <time.h>

#define SEEDS_MAX 64

struct seed {
    char *bytes;
    size_t size;
};
static struct seed seeds[SEEDS_MAX];
static size_t seed_count;

static void read_seeds(const char *folder)
{
    DIR *directory = opendir(folder);
    CHECK_TRUE(directory);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!strstr(path, ".json") || seed_count == SEEDS_MAX)
            continue;
        seeds[seed_count].bytes = file_read(path, &seeds[seed_count].size);
        seed_count += seeds[seed_count].bytes != NULL;
    }
    if (directory)
        closedir(directory);
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(check_random(state) >> 11) % limit : 0;
}

// Pieces that a document of this kind is likely to trip over.
static const char *const pieces[] = {
    "0",
    "-1",
    "1",
    "1e308",
    "-1e308",
    "0.5",
    "999999999",
    "1000000000",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "[1,2]",
    "\"1/3s\"",
    "\"0s\"",
    "\"x\"",
    "\xff",
    "\\u0000",
    "\\ud800",
    "\"#fff\"",
    "\"in\"",
    "\"film\"",
    "\"text\"",
    "\"audio\"",
    "\"timeline\"",
    "\"pattern\"",
    "\"adjust\"",
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "9223372036854775807",
    "{\"keyframes\":[{\"at\":0,\"value\":1},{\"at\":9,\"value\":0}]}"};

// Changes `bytes` (with room for more) in place; gives the new size.
static size_t mutate(uint64_t *state, char *bytes, size_t size, size_t room)
{
    size_t at = below(state, size), length = below(state, 12);
    if (length > size - at)
        length = size - at;
    switch (below(state, 6)) {
    case 0: // other bits
        if (size)
            bytes[at] = (char)(bytes[at] ^ (1 << below(state, 8)));
        break;
    case 1: // something missing
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 2: // cut off
        return below(state, 20) ? size : at;
    case 3: { // something twice
        size_t from = below(state, size), count = below(state, 200);
        if (count > size - from)
            count = size - from;
        if (size + count > room)
            break;
        char copy[200];
        memcpy(copy, bytes + from, count);
        memmove(bytes + at + count, bytes + at, size - at);
        memcpy(bytes + at, copy, count);
        return size + count;
    }
    default: { // a value in place of another
        const char *piece = pieces[below(state, sizeof pieces / sizeof pieces[0])];
        size_t count = strlen(piece);
        while (at < size && !strchr(":[,", bytes[at]))
            at++;
        if (at == size)
            break;
        at++;
        size_t end = at;
        while (end < size && !strchr(",]}", bytes[end]))
            end++;
        if (size - (end - at) + count > room)
            break;
        memmove(bytes + at + count, bytes + end, size - end);
        memcpy(bytes + at, piece, count);
        return size - (end - at) + count;
    }
    }
    return size;
}

static void evaluate(uint64_t *state, const struct timeline *timeline)
{
    static const struct rate rates[] = {{25, 1}, {30000, 1001}, {240, 1}, {1, 1}};
    struct layer layers[TIMELINE_TRACKS_MAX];
    struct layer_sound sounds[8];
    for (int i = 0; i < 8; i++) {
        int64_t n = (int64_t)(check_random(state) >> (1 + below(state, 62)));
        struct rate rate = rates[below(state, 4)];
        timeline_evaluate(timeline, rate, 1920, 1080, n, layers);
        size_t count = timeline_evaluate_sound(timeline, NULL, rate, n, 0, 64, sounds, 8);
        for (size_t t = 0; t < timeline->track_count; t++) {
            const struct clip_instant *now = &layers[t].now;
            const struct placement *p = &now->placement;
            if (!now->clip)
                continue;
            CHECK_TRUE(now->opacity >= 0 && now->opacity <= 255 && layers[t].mix <= 255);
            CHECK_TRUE(p->x == p->x && p->width >= 0 && p->radius >= 0 && p->crop_left <= 1);
            CHECK_TRUE(now->local_frame >= 0 && now->local_frame < now->clip->duration);
            CHECK_TRUE(now->source_time.num >= 0 && now->source_time.den > 0);
        }
        for (size_t s = 0; s < count; s++)
            CHECK_TRUE(sounds[s].gain_start >= 0 && sounds[s].gain_end < 16 &&
                       sounds[s].pan_start >= -1 && sounds[s].pan_end <= 1);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) | 1;
    long rounds = argc > 2 ? atol(argv[2]) : 20000;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    uint64_t state = seed;
    read_seeds(DATA "/valid");
    CHECK(seed_count, >, 10);
    long accepted = 0;
    for (long round = 0; round < rounds && seed_count; round++) {
        const struct seed *chosen = &seeds[below(&state, seed_count)];
        size_t size = chosen->size, room = size + 4096;
        char *bytes = malloc(room);
        memcpy(bytes, chosen->bytes, size);
        for (size_t i = below(&state, 5); i-- > 0;)
            size = mutate(&state, bytes, size, room);
        bytes = realloc(bytes, size ? size : 1); // so that a read past the end is seen
        struct timeline *timeline = NULL;
        struct diagnostic d = {0};
        int result =
            timeline_parse(bytes, size, file_load, (void *)(uintptr_t)DATA "/valid", &timeline, &d);
        free(bytes);
        CHECK_TRUE((result == 0) == (timeline != NULL));
        if (result < 0)
            CHECK_TRUE(d.error == result && d.code[0] && d.text[0]);
        else
            evaluate(&state, timeline);
        accepted += result == 0;
        timeline_unref(&timeline);
    }
    fprintf(stderr, "%ld of %ld accepted\n", accepted, rounds);
    CHECK(accepted, >, rounds / 100);
    CHECK(accepted, <, rounds);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].bytes);
    return check_end();
}
