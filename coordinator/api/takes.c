#include "coordinator/api/handlers.h"

#include <stdlib.h>

int handle_channel_takes(struct request *r)
{
    static const char *const allowed[] = {"track", "clip", "transition", NULL};
    struct farm_took took;
    struct diagnostic why;
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    char *take = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!take)
        return answer_refusal(r, 503, "out_of_memory", "", "no memory for a take");
    int error = coordinator_take(r->coordinator, r->part[1], take, &took, &why);
    free(take);
    if (error)
        return answer_problem(r, &why);
    return answer_json(r, 200,
                       json_pack("{s:I, s:I}", "sequence", (json_int_t)took.sequence, "at_frame",
                                 (json_int_t)took.at_frame));
}
