// Named threads, and a bounded queue of pointers between two stages.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Starts a thread that all signals but those of its own faults are blocked in (a program's main
// thread handles them) and that shows as `name` (15 bytes) in tools. The creator joins it. Returns
// 0 or a negative errno.
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg);
void thread_join(pthread_t thread);
// Lets the calling thread go before all that has no deadline: SCHED_RR at the lowest priority. What
// it starts is not urgent by itself. False: this process may not (it needs CAP_SYS_NICE or
// RLIMIT_RTPRIO), and nothing has changed. For threads that follow a clock and never work long.
bool thread_set_urgent(void);
// A mutex whose holder goes as early as the most urgent thread that waits for it.
void mutex_init_urgent(pthread_mutex_t *mutex);

// Allocates zeroed memory for small control objects; ends the program when there is none, since
// no caller could do better. Never for sizes that come from input.
void *base_alloc(size_t size);
char *base_strdup(const char *text);

// Bounded first-in-first-out queue. Thread: any, urgent ones too. Items still inside at destruction
// are released with `release`. An end may be closed from either side: afterwards push returns
// -EPIPE, pop gives what is left and then -EPIPE.
struct queue;
struct queue *queue_create(size_t capacity, void (*release)(void *item));
void queue_destroy(struct queue **queue); // no thread may use it any more; accepts NULL inside
// Waits up to `timeout_ns` (0: not at all; negative: for ever) for room or for an item.
// On success push takes the item, pop gives it. 0, -EAGAIN (time over) or -EPIPE (closed).
int queue_push(struct queue *queue, void *item, int64_t timeout_ns);
int queue_pop(struct queue *queue, void **ret_item, int64_t timeout_ns);
void queue_close(struct queue *queue); // wakes everybody
size_t queue_count(struct queue *queue);
