#include "engine/base/overload.h"

#include <stdio.h>

static const char *const names[OVERLOAD_LEVELS] = {"", "previews", "samples", "copies", "overlays"};

const char *overload_name(unsigned level)
{
    return level < OVERLOAD_LEVELS ? names[level] : "";
}

// The next level in a direction that this program has; the same when there is none.
static enum overload_level next_level(const struct overload *o, int step)
{
    int level = (int)o->level + step;
    while (level > OVERLOAD_NONE && level < OVERLOAD_LEVELS && !o->has[level])
        level += step;
    return level < OVERLOAD_NONE || level == OVERLOAD_LEVELS ? o->level
                                                             : (enum overload_level)level;
}

static void step_down(struct overload *o, int64_t now)
{
    enum overload_level next = next_level(o, 1);
    bool again = o->back_ns && now - o->back_ns < OVERLOAD_AGAIN_NS;
    if (next == o->level)
        return;
    if (again && o->wait_ns < OVERLOAD_UP_MAX_NS)
        o->wait_ns *= 2;
    else if (!again && (o->back_ns || !o->wait_ns))
        o->wait_ns = OVERLOAD_UP_NS;
    o->back_ns = 0; // one step back is judged once
    o->level = next;
    o->behind_ns = now;
    o->room_ns = 0;
}

static void step_back(struct overload *o, int64_t now)
{
    o->level = next_level(o, -1);
    o->room_ns = 0;
    o->back_ns = now;
}

enum overload_level overload_step(struct overload *o, bool behind, bool room, int64_t now)
{
    o->behind = behind;
    o->behind_ns = !behind ? 0 : o->behind_ns ? o->behind_ns : now;
    if (behind)
        o->room_ns = 0;
    else if (room && o->room)
        o->room_ns += now - o->looked_ns;
    o->room = room;
    o->looked_ns = now;
    if (o->behind_ns && now - o->behind_ns >= OVERLOAD_DOWN_NS)
        step_down(o, now);
    else if (o->level && o->room_ns >= o->wait_ns)
        step_back(o, now);
    return o->level;
}

void overload_text(const struct overload *o, const char *why, char *ret, size_t size)
{
    char given[64] = "";
    int used = 0;
    for (unsigned i = 1; i <= (unsigned)o->level; i++)
        if (o->has[i])
            used += snprintf(given + used, sizeof given - (size_t)used, "%s%s", used ? ", " : "",
                             names[i]);
    bool last = next_level(o, 1) == o->level;
    snprintf(ret, size,
             "%s; given up so far: %s%s. Give this node more processor or less work, or drain it",
             why, given, o->behind && last ? ", and nothing is left to be given up" : "");
}
