// Notices when an MPEG-TS begins to carry something else: another codec on the same PID is not
// followed by libavformat's demuxer (5.1), which therefore has to be opened anew then.
// Thread: pure, apart from the struct.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ts_watch {
    int pmt_pid;        // of the first programme; 0: not known yet
    uint32_t programme; // a checksum of its streams' types and PIDs; 0: not known yet
};
// `bytes`: whole packets of 188 bytes; anything else is passed over. True: what comes from here on
// is another programme. Tables that do not fit into one packet are not looked at.
bool ts_watch_add(struct ts_watch *watch, const uint8_t *bytes, size_t size);
