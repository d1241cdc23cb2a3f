#include "coordinator/api/commands.h"
#include "coordinator/api/handlers.h"

int handle_channel_takes(struct request *r)
{
    static const char *const allowed[] = {"track", "clip", "transition", "manual", "fader", NULL};
    struct farm_took took;
    struct diagnostic why;
    json_t *take;
    int status = request_json(r, allowed, &take);
    if (status)
        return status;
    int error = command_take(r->coordinator, r->part[1], take, &took, &why);
    json_decref(take);
    if (error)
        return answer_problem(r, &why);
    return answer_json(r, 200,
                       json_pack("{s:I, s:I}", "sequence", (json_int_t)took.sequence, "at_frame",
                                 (json_int_t)took.at_frame));
}
