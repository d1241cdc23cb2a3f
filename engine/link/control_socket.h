// Closing NNG sockets without ever hanging. Private to engine/link.
//
// libnng 1.5.2: a pipe that is closed between the header and the body of an arriving message keeps
// an operation for ever (its tcp transport lacks "finish receive aio on close", which came
// with 1.6). nng_close then waits for ever, and so does the library's thread that disposes of
// pipes: later pipes are not disposed of either, and a dialer whose pipe is stuck does not dial
// again. So closing is given a moment in a thread of its own and is then left alone, and clients
// that stay unconnected for long open another socket. Can go once the library is newer than 1.5.2.
#pragma once

#include <nng/nng.h>
#include <stdbool.h>

// True: closed, no callback of the socket runs any more. False: stuck; what its callbacks use must
// live on. Waits CONTROL_CLOSE_NS at most.
#define CONTROL_CLOSE_NS INT64_C(1000000000)
bool control_socket_close(nng_socket socket);
