#include "worker/golden.h"

#include "engine/frame/sound.h"
#include "engine/media/media.h"
#include "engine/render/render.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN_FRAMES 8
#define SOUND_SAMPLES 24000

static const char golden_timeline[] =
    "{\"schema\":\"vistter.timeline/1\",\"name\":\"golden\","
    "\"format\":{\"width\":320,\"height\":180,\"rate\":\"30000/1001\"},\"background\":\"#203040\","
    "\"assets\":{\"video\":\"file:video.mp4\",\"hdr\":\"file:hdr.mp4\",\"picture\":"
    "\"file:picture.png\",\"sound\":\"file:sound\"},\"fonts\":[\"file:font.ttf\"],"
    "\"tracks\":["
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":6,\"pattern\":{\"kind\":\"bars\","
    "\"tone\":{\"frequency\":1000,\"level\":-20}}},"
    "{\"kind\":\"pattern\",\"start\":2,\"duration\":30,\"transition\":4,\"pattern\":{\"kind\":"
    "\"ramp\"}}]},"
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":32,\"pattern\":{\"kind\":\"grid\"},"
    "\"size\":[151,87],\"position\":{\"keyframes\":[{\"at\":0,\"value\":[90,60]},"
    "{\"at\":8,\"value\":[140.3,71.7]}]},\"rotation\":{\"keyframes\":[{\"at\":0,\"value\":0},"
    "{\"at\":8,\"value\":33,\"easing\":\"in-out\"}]},\"radius\":11,\"opacity\":0.8}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"multiply\",\"shape\":"
    "{\"kind\":\"ellipse\",\"size\":[120,80],\"fill\":\"#ff8040c0\"},\"position\":[220,60]}]},"
    "{\"clips\":[{\"kind\":\"video\",\"start\":0,\"duration\":32,\"asset\":\"video\",\"in\":1,"
    "\"speed\":\"5/4\",\"loop\":true,\"size\":[131,75],\"position\":[60,130],\"radius\":7}]},"
    "{\"clips\":[{\"kind\":\"video\",\"start\":0,\"duration\":32,\"asset\":\"hdr\",\"size\":"
    "[160,92],\"position\":[255,130],\"rotation\":-12,\"opacity\":0.9}]},"
    "{\"clips\":[{\"kind\":\"image\",\"start\":0,\"duration\":32,\"asset\":\"picture\",\"size\":"
    "[100,77],\"position\":[160,100],\"rotation\":{\"keyframes\":[{\"at\":0,\"value\":5},"
    "{\"at\":8,\"value\":50}]}}]},"
    "{\"clips\":[{\"kind\":\"text\",\"start\":0,\"duration\":32,\"position\":[160,90],"
    "\"text\":{\"text\":\"AVo oVA AVA\",\"font\":\"Vistter Golden\",\"size\":31.5,"
    "\"box\":[150,0],\"outline\":{\"width\":1.5},\"shadow\":{}}}]},"
    "{\"clips\":[{\"kind\":\"audio\",\"start\":0,\"duration\":32,\"asset\":\"sound\",\"in\":1,"
    "\"sound\":{\"gain\":{\"keyframes\":[{\"at\":0,\"value\":-20},{\"at\":8,\"value\":-3}]},"
    "\"pan\":0.3,\"fade_in\":5}}]},"
    "{\"clips\":[{\"kind\":\"adjust\",\"start\":0,\"duration\":32,\"brightness\":0.05,\"contrast\":"
    "1.2,"
    "\"saturation\":0.7}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"screen\",\"shape\":"
    "{\"kind\":\"rectangle\",\"size\":[100,50],\"radius\":9,\"fill\":\"#2060ff\",\"fill_to\":\"#"
    "20ff60\"},"
    "\"position\":[101,131],\"opacity\":0.6}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"add\",\"shape\":"
    "{\"kind\":\"polygon\",\"points\":[[0,40],[30,0],[60,40]],\"fill\":\"#403020\"},"
    "\"position\":[250,140]}]}]}";

// ---- Media ------------------------------------------------------------------------------------

static int write_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wxe");
    if (!file)
        return -errno;
    bool written = fwrite(bytes, 1, size, file) == size;
    return fclose(file) || !written ? -EIO : 0;
}

// Noise, as an import would leave it: the asset, its facts, and 48 kHz stereo.
static int write_sound(const char *folder)
{
    static float samples[2 * SOUND_SAMPLES];
    uint32_t state = 1;
    for (int i = 0; i < 2 * SOUND_SAMPLES; i++) {
        state = state * 1664525 + 1013904223;
        samples[i] = (float)((int)(state >> 16) - 32768) / 32768.0f;
    }
    struct media_info info = {
        .sample_count = SOUND_SAMPLES, .rate = {0, 1}, .duration = {SOUND_SAMPLES, SAMPLE_RATE_HZ}};
    memset(info.sha256, '0', sizeof info.sha256 - 1);
    char *facts = media_info_format(&info);
    int error = facts ? write_file(folder, "sound", "", 0) : -ENOMEM;
    if (!error)
        error = write_file(folder, "sound.json", facts, strlen(facts));
    if (!error)
        error = write_file(folder, "sound.sound", samples, sizeof samples);
    free(facts);
    return error;
}

static int write_media(const char *folder, struct diagnostic *reterr)
{
    int error = write_sound(folder);
    for (size_t i = 0; i < golden_file_count && !error; i++)
        error =
            write_file(folder, golden_files[i].name, golden_files[i].bytes, golden_files[i].size);
    return error ? diagnostic_set(reterr, error, "golden_media", folder, "cannot be written: %s",
                                  strerror(-error))
                 : 0;
}

static void remove_media(const char *folder)
{
    static const char *const sounds[] = {"sound", "sound.json", "sound.sound"};
    char path[PATH_MAX + 32];
    for (size_t i = 0; i < golden_file_count + 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i < 3 ? sounds[i] : golden_files[i - 3].name);
        unlink(path);
    }
    rmdir(folder);
}

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    const char *folder = opaque;
    (void)reterr;
    snprintf(path, PATH_MAX, "%s/%s", folder, uri + strlen("file:"));
    return 0;
}

// ---- Frames -----------------------------------------------------------------------------------

static int render_one(struct renderer *renderer, int64_t n, EVP_MD_CTX *hash,
                      struct diagnostic *reterr)
{
    static int32_t sound[SOUND_FRAME_MAX * SOUND_CHANNELS];
    struct rate rate = {30000, 1001};
    struct group_frame *group = NULL;
    struct picture *picture = NULL;
    struct render_report report;
    int error = renderer_frame(renderer, n, n, NULL, &group, sound, &report);
    if (!error)
        error = group_fold_over(NULL, group, &picture);
    if (error) {
        diagnostic_set(reterr, error, "golden_frame", "", "%s", strerror(-error));
    } else if (report.problems) {
        error = -EIO;
        *reterr = report.first;
    } else {
        uint64_t sums[2] = {picture_checksum(picture),
                            sound_checksum(sound, rate_sample_count(rate, n))};
        EVP_DigestUpdate(hash, sums, sizeof sums);
    }
    picture_unref(&picture);
    group_frame_unref(&group);
    return error;
}

static int render(char *folder, EVP_MD_CTX *hash, struct diagnostic *reterr)
{
    struct timeline *timeline = NULL;
    struct renderer *renderer = NULL;
    int error =
        timeline_parse(golden_timeline, strlen(golden_timeline), NULL, NULL, &timeline, reterr);
    if (!error) {
        struct render_config config = {
            .timeline = timeline,
            .width = timeline->width,
            .height = timeline->height,
            .rate = timeline->rate,
            .track_to = (int)timeline->track_count,
            .base = true,
            .sound = true,
            .resolver = {resolve, folder},
        };
        error = renderer_create(&config, &renderer, reterr);
    }
    for (int64_t n = 0; n < GOLDEN_FRAMES && !error; n++)
        error = render_one(renderer, n, hash, reterr);
    renderer_destroy(&renderer);
    timeline_unref(&timeline);
    return error;
}

int golden_hash(const char *folder, uint8_t ret[32], struct diagnostic *reterr)
{
    char own[PATH_MAX];
    snprintf(own, sizeof own, "%s/golden-XXXXXX", folder);
    if (!mkdtemp(own))
        return diagnostic_set(reterr, -errno, "golden_media", folder, "cannot be written: %s",
                              strerror(errno));
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int error = write_media(own, reterr);
    if (!error && (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)))
        error = diagnostic_set(reterr, -ENOMEM, "golden_memory", "", "out of memory");
    if (!error)
        error = render(own, hash, reterr);
    if (!error && !EVP_DigestFinal_ex(hash, ret, NULL))
        error = diagnostic_set(reterr, -EIO, "golden_memory", "", "no checksum");
    EVP_MD_CTX_free(hash);
    remove_media(own);
    return error;
}
