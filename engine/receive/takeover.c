#include "engine/receive/takeover.h"

#define SILENT_MIN_NS INT64_C(150000000)
#define SILENT_MAX_NS INT64_C(1000000000)
#define CLOCKLESS_NS  INT64_C(500000000)
#define TREND_NS      INT64_C(500000000)

const char *takeover_reason_name(enum takeover_reason reason)
{
    static const char *const names[] = {
        [TAKEOVER_NONE] = "none",     [TAKEOVER_GONE] = "gone",        [TAKEOVER_SILENT] = "silent",
        [TAKEOVER_SLOW] = "too slow", [TAKEOVER_HUSHED] = "not heard",
    };
    return names[reason];
}

void takeover_init(struct takeover *t, int count, int64_t frame_ns, int64_t latency_ns,
                   int lead_frames)
{
    *t = (struct takeover){.count = count,
                           .second = -1,
                           .frame_ns = frame_ns,
                           .latency_ns = latency_ns,
                           .lead_frames = lead_frames};
}

static int64_t patience_ns(const struct takeover *t, int64_t slack)
{
    int64_t quarter = slack * t->frame_ns / 4, least = 4 * t->frame_ns;
    if (!t->lead_frames)
        return CLOCKLESS_NS;
    least = least > SILENT_MIN_NS ? least : SILENT_MIN_NS;
    quarter = quarter < SILENT_MAX_NS ? quarter : SILENT_MAX_NS;
    return quarter > least ? quarter : least;
}

static bool is_silent(struct takeover *t, const struct takeover_view *view, int64_t now_ns)
{
    if (view->arrived != t->arrived) {
        t->arrived = view->arrived;
        t->heard_ns = now_ns;
        t->asked_ns = 0;
    }
    if (!view->waits)
        t->asked_ns = 0;
    else if (!t->asked_ns)
        t->asked_ns = now_ns;
    if (!t->asked_ns)
        return false;
    // In the flow the next frame is on its way already; else the question has to arrive first.
    bool flows = t->heard_ns && t->asked_ns - t->heard_ns < 2 * t->frame_ns;
    int64_t limit = patience_ns(t, view->slack) + (flows ? 0 : t->latency_ns) +
                    (t->heard_ns ? 0 : TAKEOVER_START_NS);
    return now_ns - t->asked_ns > limit;
}

static bool lately(int64_t then_ns, int64_t now_ns)
{
    return then_ns && now_ns - then_ns <= TAKEOVER_AGAIN_NS;
}

static bool is_slow(struct takeover *t, const struct takeover_view *view, int64_t now_ns)
{
    if (!view->waits || !t->heard_ns) { // who has nothing to do, or has not begun, is not slow
        t->trend_ns = 0;
        return false;
    }
    if (now_ns - t->trend_ns < TREND_NS)
        return false;
    bool stuck = t->trend_ns && view->slack <= t->trend_frames;
    t->trend_ns = now_ns;
    t->trend_frames = view->slack;
    return stuck && view->slack < t->lead_frames / 2; // never without a clock
}

// Before others one that has not failed lately.
int takeover_next(const struct takeover *t, const struct takeover_view *view, int64_t now_ns)
{
    int failed = -1;
    for (int i = 1; i < t->count; i++) {
        int p = (t->active + i) % t->count;
        if (!view->alive[p])
            continue;
        if (!lately(t->failed_ns[p], now_ns))
            return p;
        failed = failed < 0 ? p : failed;
    }
    return failed;
}

// The same for slowness, which is better borne than another failure.
static int next_quicker(const struct takeover *t, const struct takeover_view *view, int64_t now_ns)
{
    for (int i = 1; i < t->count; i++) {
        int p = (t->active + i) % t->count;
        if (view->alive[p] && !lately(t->failed_ns[p], now_ns) && !lately(t->slow_ns[p], now_ns))
            return p;
    }
    return -1;
}

// One that is heard now, and to which nobody has turned from another for that lately.
static int next_heard(const struct takeover *t, const struct takeover_view *view, int64_t now_ns)
{
    int next = takeover_next(t, view, now_ns);
    for (int i = 0; i < t->count; i++)
        if (lately(t->hushed_ns[i], now_ns))
            return -1;
    return next < 0 || view->hushed[next] || lately(t->failed_ns[next], now_ns) ? -1 : next;
}

enum takeover_reason takeover_look(struct takeover *t, const struct takeover_view *view,
                                   int64_t now_ns)
{
    bool alive = view->alive[t->active];
    t->met = t->met || alive;
    t->since_ns = t->since_ns ? t->since_ns : now_ns;
    bool gone = !alive && (t->met || now_ns - t->since_ns > TAKEOVER_START_NS);
    bool silent = is_silent(t, view, now_ns), slow = is_slow(t, view, now_ns);
    // Who has brought nothing yet since it was asked is still beginning.
    bool hushed = t->heard_ns && view->waits && view->hushed[t->active];
    enum takeover_reason reason = gone     ? TAKEOVER_GONE
                                  : silent ? TAKEOVER_SILENT
                                  : hushed ? TAKEOVER_HUSHED
                                  : slow   ? TAKEOVER_SLOW
                                           : TAKEOVER_NONE;
    int next = reason == TAKEOVER_NONE     ? -1
               : reason == TAKEOVER_SLOW   ? next_quicker(t, view, now_ns)
               : reason == TAKEOVER_HUSHED ? next_heard(t, view, now_ns)
                                           : takeover_next(t, view, now_ns);
    if (next < 0) {
        t->second = takeover_next(t, view, now_ns);
        return TAKEOVER_NONE;
    }
    int64_t *said = reason == TAKEOVER_SLOW     ? t->slow_ns
                    : reason == TAKEOVER_HUSHED ? t->hushed_ns
                                                : t->failed_ns;
    said[t->active] = now_ns;
    t->active = next;
    t->takeovers++;
    t->asked_ns = t->heard_ns = t->trend_ns = 0;
    t->since_ns = now_ns;
    t->met = true;
    t->second = takeover_next(t, view, now_ns);
    return reason;
}
