// Tells whoever supervises this program how it is, by systemd's protocol of sd_notify(3): datagrams
// to the socket that NOTIFY_SOCKET names. Without one nothing is told, and nothing is wrong.
//
// Thread: the program's main thread, between the parts of its work, so that its own standing still
// ends the signs of life too.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watchdog {
    int64_t every_ns; // between signs of life; 0: nobody waits for any
    int64_t next_ns;  // when the next is due
    bool hung;        // has been said
};

// Reads WATCHDOG_USEC and WATCHDOG_PID.
void watchdog_init(struct watchdog *watchdog);
void watchdog_ready(void);    // what was started is there
void watchdog_stopping(void); // the program ends because it was asked to
// Gives a sign of life when one is due, four within the supervisor's patience; not while `hung`
// names a part of the program that has work and does none (NULL: none), which is said in the log.
void watchdog_tend(struct watchdog *watchdog, const char *hung, int64_t now_ns);
