// Connections of clients, where civetweb 1.15 does not look after them: it sets no limit to
// connections of one address, waits for a body as long as a byte comes now and then, and does not
// tell a connection's socket. Private to coordinator/api.
#pragma once

#include <civetweb.h>
#include <stddef.h>

// Threads, one per connection. No address takes all of them, and WebSockets leave most to requests
// (LIVE_CLIENTS_MAX). A proxy on this host stands for many people.
#define CONNECTIONS_MAX             256
#define CONNECTIONS_PER_ADDRESS_MAX 64
#define CONNECTIONS_LOOPBACK_MAX    192

// A thread that looks several times a second how many connections each address has, and cuts what
// is too many: also those that have not made a request yet, which no callback tells of.
struct connection_guard;
int connection_guard_create(struct connection_guard **ret);
void connection_guard_watch(struct connection_guard *guard, int port); // the server's
void connection_guard_destroy(struct connection_guard **guard);        // accepts NULL inside

// The socket of a connection that has made a request, to be polled, read or shut down; -1 if
// unknown. Belongs to civetweb. Thread: the connection's, as all below.
int connection_socket(const struct mg_connection *connection);
// Some bytes of the body, at most `size`, without waiting for more than one of them: that one at
// most civetweb's request_timeout_ms. 0 or less: none came.
int connection_read(struct mg_connection *connection, int socket, void *buffer, size_t size);
// The end of a connection whose body has not been read: gives the client a second to take the
// answer, which would be lost with what is unread.
void connection_linger(int socket);
