// timeline_check FILE...: one line per file, "ok" or "path: text". Status 1 when one was refused.
#include "tests/engine/timeline/files.h"

int main(int argc, char **argv)
{
    int refused = 0;
    for (int i = 1; i < argc; i++) {
        struct timeline *timeline = NULL;
        struct diagnostic d = {0};
        char line[800];
        if (file_parse(argv[i], &timeline, &d) < 0) {
            refused = 1;
            puts(diagnostic_format(&d, line, sizeof line));
        } else {
            puts("ok");
        }
        timeline_unref(&timeline);
    }
    return refused;
}
