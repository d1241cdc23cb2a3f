#include "engine/base/log.h"
#include "engine/link/state_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int state_file_resume(struct state_file *file,
                      int (*take)(void *opaque, const uint8_t *bytes, size_t size), void *opaque)
{
    int result = -ENOENT;
    for (int generation = 0; generation < STATE_FILE_GENERATIONS; generation++) {
        uint8_t *bytes;
        size_t size;
        int error = state_file_read(file, generation, &bytes, &size);
        if (!error) {
            error = take(opaque, bytes, size);
            explicit_bzero(bytes, size);
            free(bytes);
        }
        if (!error)
            return 0;
        if (error != -ENOENT)
            log_warning("state_unreadable", "generation=%d error=\"%s\"", generation,
                        strerror(-error));
        result = error != -ENOENT ? error : result;
    }
    return result;
}
