// Writes a source's log from a stream in a file, as if it had come in at made-up times: for offline
// renders in tests. usage: make_log CLIP.ts FOLDER_OF_LOGS SOURCE. Prints the farm time at which
// the stream begins, in ns.
#include "tests/worker/live_feed.h"

#include <libavutil/log.h>

int main(int argc, char **argv)
{
    struct ingest_stats stats;
    if (argc != 4)
        return 2;
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "%s", argv[2]);
    log_file(argv[1], argv[3], &stats);
    printf("%" PRId64 "\n", START_NS);
    return check_failures > 0;
}
