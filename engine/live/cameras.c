#include "engine/live/cameras.h"

#include "engine/base/thread.h"
#include "engine/frame/sound.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// A camera that no clip has asked for in so many frames is closed. Clips stay about as long.
#define IDLE_FRAMES 64
// What a frame lacks may be no longer needed: a file that hides it has come, a take has changed. So
// every so many tries are whole ones.
#define TRIES 16

enum { NOT_ASKED = 1 };

struct slot {
    char *source;
    int64_t delay_ns, hold_ns;
    struct camera *camera; // NULL: could not be opened
    dev_t device;          // of the folder that was opened
    ino_t inode;
    uint64_t opened;          // how often: another log's contents are others
    uint64_t looked;          // frame that its folder was looked at in
    uint64_t asked, followed; // frame that it last was; 0: never
    // Of the frame begun: results, or NOT_ASKED.
    int picture_result, sound_result;
    struct picture *picture;
    uint64_t content;
    int32_t *sound;
};

struct cameras {
    char *folder;
    struct rate rate;
    int64_t epoch_ns;
    int64_t n;
    uint64_t frames; // begun
    size_t count, capacity;
    struct slot *slots;
    // What the frame lacks.
    bool waiting, waits_for_sound;
    size_t waits_for;
    unsigned tries;
};

struct cameras *cameras_create(const char *folder, struct rate rate, int64_t epoch_ns)
{
    struct cameras *cs = base_alloc(sizeof *cs);
    *cs = (struct cameras){
        .folder = base_strdup(folder), .rate = rate, .epoch_ns = epoch_ns, .n = INT64_MIN};
    return cs;
}

static void forget_frame(struct slot *s)
{
    s->picture_result = s->sound_result = NOT_ASKED;
    picture_unref(&s->picture);
}

static void slot_finish(struct slot *s)
{
    forget_frame(s);
    camera_destroy(&s->camera);
    free(s->source);
    free(s->sound);
}

void cameras_destroy(struct cameras **cameras)
{
    struct cameras *cs = *cameras;
    if (!cs)
        return;
    *cameras = NULL;
    for (size_t i = 0; i < cs->count; i++)
        slot_finish(&cs->slots[i]);
    free(cs->slots);
    free(cs->folder);
    free(cs);
}

// ---- Opening -----------------------------------------------------------------------------------

static const char *folder_of(const struct cameras *cs, const struct slot *s, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", cs->folder, s->source);
    return path;
}

// Once a frame: opens it, anew where its folder is another one now.
static void look_at_folder(struct cameras *cs, struct slot *s)
{
    char path[PATH_MAX];
    struct stat now;
    if (s->looked == cs->frames && s->camera)
        return;
    s->looked = cs->frames;
    folder_of(cs, s, path);
    if (s->camera && !stat(path, &now) && now.st_dev == s->device && now.st_ino == s->inode)
        return;
    forget_frame(s);
    camera_destroy(&s->camera);
    struct camera_config config = {path, cs->rate, cs->epoch_ns, s->delay_ns, s->hold_ns};
    if (camera_open(&config, &s->camera, NULL) < 0)
        return;
    if (stat(path, &now))
        now = (struct stat){0}; // gone again: it is opened anew the next time
    s->device = now.st_dev;
    s->inode = now.st_ino;
    s->opened++;
}

static struct slot *slot_for(struct cameras *cs, const struct clip *clip)
{
    struct slot *s = NULL;
    for (size_t i = 0; i < cs->count && !s; i++)
        if (cs->slots[i].delay_ns == clip->delay_ns && cs->slots[i].hold_ns == clip->hold_ns &&
            !strcmp(cs->slots[i].source, clip->source))
            s = &cs->slots[i];
    if (!s) {
        if (cs->count == cs->capacity) {
            cs->capacity = cs->capacity ? 2 * cs->capacity : 4;
            cs->slots = realloc(cs->slots, cs->capacity * sizeof *cs->slots);
            if (!cs->slots)
                abort();
        }
        s = &cs->slots[cs->count++];
        *s = (struct slot){.source = base_strdup(clip->source),
                           .delay_ns = clip->delay_ns,
                           .hold_ns = clip->hold_ns,
                           .picture_result = NOT_ASKED,
                           .sound_result = NOT_ASKED};
    }
    look_at_folder(cs, s);
    return s;
}

// ---- Frames ------------------------------------------------------------------------------------

static void ask_picture(struct cameras *cs, struct slot *s, struct diagnostic *reterr)
{
    enum show_state state;
    if (!s->picture_result || s->picture_result == -ENODATA)
        return;
    s->picture_result =
        !s->camera ? -EAGAIN
                   : camera_picture(s->camera, cs->n, &s->picture, &s->content, &state, reterr);
}

static void ask_sound(struct cameras *cs, struct slot *s, struct diagnostic *reterr)
{
    if (!s->sound_result)
        return;
    if (!s->sound)
        s->sound = base_alloc((size_t)SOUND_CHANNELS * sizeof *s->sound *
                              ((size_t)cs->rate.den * SAMPLE_RATE_HZ / (size_t)cs->rate.num + 2));
    s->sound_result = !s->camera ? -EAGAIN : camera_sound(s->camera, cs->n, s->sound, reterr);
}

// Notes what the frame lacks: the first of it.
static int answer(struct cameras *cs, const struct slot *s, int result, bool sound)
{
    if (result == -EAGAIN && !cs->waiting) {
        cs->waiting = true;
        cs->waits_for_sound = sound;
        cs->waits_for = (size_t)(s - cs->slots);
    }
    return result;
}

int cameras_picture(struct cameras *cs, const struct clip *clip, struct picture **ret,
                    uint64_t *ret_content, struct diagnostic *reterr)
{
    struct slot *s = slot_for(cs, clip);
    s->asked = cs->frames;
    ask_picture(cs, s, reterr);
    if (!s->picture_result) {
        *ret = picture_ref(s->picture);
        *ret_content = s->content | (s->opened & 0x7fff) << 48; // units are counted from 1
    }
    return answer(cs, s, s->picture_result, false);
}

int cameras_sound(struct cameras *cs, const struct clip *clip, const int32_t **ret,
                  struct diagnostic *reterr)
{
    struct slot *s = slot_for(cs, clip);
    s->asked = cs->frames;
    ask_sound(cs, s, reterr);
    *ret = s->sound;
    return answer(cs, s, s->sound_result, true);
}

static bool not_begun(const struct slot *s, struct diagnostic *ret)
{
    if (s->camera && camera_begun(s->camera))
        return false;
    diagnostic_set(ret, -EAGAIN, "live_none", s->source, "the source's log is not here yet");
    return true;
}

bool cameras_wait(const struct cameras *cs, struct diagnostic *ret)
{
    const struct slot *s = cs->waiting ? &cs->slots[cs->waits_for] : NULL;
    if (s && !not_begun(s, ret))
        diagnostic_set(ret, -EAGAIN, "live_not_yet", s->source,
                       "the source's %s has not come so far yet",
                       cs->waits_for_sound ? "sound" : "picture");
    return cs->waiting;
}

bool cameras_lack(const struct cameras *cs, struct diagnostic *ret)
{
    for (size_t i = 0; i < cs->count; i++)
        if (not_begun(&cs->slots[i], ret))
            return true;
    return false;
}

static void close_idle(struct cameras *cs)
{
    for (size_t i = 0; i < cs->count;) {
        struct slot *s = &cs->slots[i];
        uint64_t used = s->asked > s->followed ? s->asked : s->followed;
        if (used + IDLE_FRAMES < cs->frames) {
            slot_finish(s);
            *s = cs->slots[--cs->count];
        } else {
            i++;
        }
    }
}

int cameras_begin(struct cameras *cs, int64_t n, struct diagnostic *reterr)
{
    if (n != cs->n) {
        cs->n = n;
        cs->frames++;
        cs->tries = 0;
        for (size_t i = 0; i < cs->count; i++)
            forget_frame(&cs->slots[i]);
        close_idle(cs);
    } else if (cs->waiting && ++cs->tries % TRIES) {
        struct slot *s = &cs->slots[cs->waits_for];
        s->looked = 0;
        look_at_folder(cs, s);
        if (cs->waits_for_sound)
            ask_sound(cs, s, NULL);
        else
            ask_picture(cs, s, NULL);
        if (cs->waits_for_sound ? s->sound_result == -EAGAIN : s->picture_result == -EAGAIN) {
            (void)cameras_wait(cs, reterr);
            return -EAGAIN;
        }
    }
    cs->waiting = false;
    return 0;
}

void cameras_follow(struct cameras *cs, const struct clip *clip)
{
    struct slot *s = slot_for(cs, clip);
    bool in_use = s->asked && s->asked + 1 >= cs->frames;
    bool begun = s->camera && camera_begun(s->camera);
    if (s->followed == cs->frames && begun)
        return;
    if (!begun) { // the folder may yet become the log's
        s->looked = 0;
        look_at_folder(cs, s);
    }
    s->followed = cs->frames;
    if (s->camera && (!in_use || !begun))
        camera_follow(s->camera, cs->n);
}
