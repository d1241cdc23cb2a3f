#include "edge/purity.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What there is to write of one frame.
struct evidence {
    uint32_t group;
    int64_t frame;
    uint64_t number; // of mismatches
    char nodes[2][65];
    struct group_frame *pictures[2]; // NULL: could not be decoded
};

struct purity {
    // -- constant after create
    uint64_t channel;
    char folder[PATH_MAX];
    pthread_t thread;
    bool running;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct purity_counts counts;
    struct evidence evidence;
    bool full, closing; // full: `evidence` is being written
};

// ---- Writing ----------------------------------------------------------------------------------

static bool write_rows(FILE *file, const struct picture *p)
{
    bool ok = true;
    for (int row = 0; row < p->height && ok; row++)
        ok = fwrite(p->plane[0] + row * p->stride[0], (size_t)p->width, 1, file) == 1;
    for (int row = 0; row < p->height / 2 && ok; row++)
        for (int i = 1; i <= 2 && ok; i++)
            ok = fwrite(p->plane[i] + row * p->stride[i], (size_t)p->width / 2, 1, file) == 1;
    return ok;
}

static int write_picture(const struct purity *p, const struct evidence *e, int which)
{
    char path[PATH_MAX + 64];
    struct picture *picture = NULL;
    if (!e->pictures[which])
        return 0;
    if (group_fold_over(NULL, e->pictures[which], &picture))
        return -ENOMEM;
    snprintf(path, sizeof path, "%s/purity-%" PRIu64 "-%d-%d.pgm", p->folder, p->channel,
             (int)(e->number % PURITY_KEPT), which + 1);
    FILE *file = fopen(path, "we");
    int error = file ? 0 : -errno;
    if (file) {
        fprintf(file,
                "P5\n# channel %" PRIu64 " group %" PRIu32 " frame %" PRId64
                " from %s\n%d %d\n255\n",
                p->channel, e->group, e->frame, e->nodes[which], picture->width,
                picture->height / 2 * 3);
        bool ok = write_rows(file, picture);
        if (fclose(file) || !ok)
            error = -EIO;
    }
    picture_unref(&picture);
    return error;
}

static void write_evidence(const struct purity *p, const struct evidence *e)
{
    int error = 0;
    for (int which = 0; which < 2 && !error; which++)
        error = write_picture(p, e, which);
    if (error)
        log_warning("purity_unwritten", "channel=%" PRIu64 " frame=%" PRId64 " error=\"%s\"",
                    p->channel, e->frame, strerror(-error));
}

static void *run(void *opaque)
{
    struct purity *p = opaque;
    pthread_mutex_lock(&p->lock);
    while (!p->closing || p->full) {
        if (!p->full) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        write_evidence(p, &p->evidence);
        for (int i = 0; i < 2; i++)
            group_frame_unref(&p->evidence.pictures[i]);
        pthread_mutex_lock(&p->lock);
        p->full = false;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

// ---- Life -------------------------------------------------------------------------------------

struct purity *purity_create(uint64_t channel, const char *folder)
{
    struct purity *p = base_alloc(sizeof *p);
    p->channel = channel;
    snprintf(p->folder, sizeof p->folder, "%s", folder);
    mutex_init_urgent(&p->lock);
    pthread_cond_init(&p->changed, NULL);
    p->running = !thread_start(&p->thread, "purity", run, p);
    if (!p->running)
        purity_destroy(&p);
    return p;
}

void purity_destroy(struct purity **purity)
{
    struct purity *p = *purity;
    if (!p)
        return;
    *purity = NULL;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->running)
        thread_join(p->thread);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

// Called with the lock held.
static void note_mismatch(struct purity *p, uint32_t group, const char *const nodes[2],
                          const struct intake_sample *s)
{
    const char *what = !s->picture_differs ? "sound"
                       : s->sound_differs  ? "picture and sound"
                                           : "picture";
    bool keep = *p->folder && !p->full;
    uint64_t number = p->counts.mismatched++;
    char name[48], seen[128] = "";
    snprintf(name, sizeof name, "purity-%" PRIu64 "-%d", p->channel, (int)(number % PURITY_KEPT));
    if (keep)
        snprintf(seen, sizeof seen, "; see %s-1.pgm and -2.pgm in the edge's state folder", name);
    snprintf(p->counts.alarm, sizeof p->counts.alarm,
             "frame %" PRId64 " of group %" PRIu32 ": %.40s and %.40s made other %s%s", s->frame,
             group, nodes[0], nodes[1], what, seen);
    log_error("purity_mismatch",
              "channel=%" PRIu64 " group=%" PRIu32 " frame=%" PRId64
              " nodes=%s,%s differs=\"%s\" kept=\"%s%s%s\"",
              p->channel, group, s->frame, nodes[0], nodes[1], what, keep ? p->folder : "",
              keep ? "/" : "", keep ? name : "");
    if (!keep)
        return;
    p->evidence = (struct evidence){.group = group, .frame = s->frame, .number = number};
    for (int i = 0; i < 2; i++) {
        snprintf(p->evidence.nodes[i], sizeof p->evidence.nodes[i], "%s", nodes[i]);
        if (s->pictures[i])
            p->evidence.pictures[i] = group_frame_ref(s->pictures[i]);
    }
    p->full = true;
    pthread_cond_signal(&p->changed);
}

void purity_note(struct purity *p, uint32_t group, const char *const nodes[2],
                 const struct intake_sample *sample)
{
    pthread_mutex_lock(&p->lock);
    p->counts.sampled++;
    if (sample->picture_differs || sample->sound_differs)
        note_mismatch(p, group, nodes, sample);
    pthread_mutex_unlock(&p->lock);
}

void purity_read(struct purity *p, struct purity_counts *ret)
{
    pthread_mutex_lock(&p->lock);
    *ret = p->counts;
    pthread_mutex_unlock(&p->lock);
}
