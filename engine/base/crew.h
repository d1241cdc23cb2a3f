// The program's crew: threads that lend a hand with one picture, shared out by rows. What a part
// does may depend on nothing but its number, so the result is the same with any number of hands.
// For programs without a clock: a thread that follows one would wait for hands that do not.
#pragma once

#include <stdint.h>

// From now on up to `hands` threads do what is shared, the caller being one of them. Once, before
// and after all that shares. A thread that cannot be had is done without.
void crew_start(int hands);
void crew_end(void);
// As many hands as this process may use processors.
void crew_start_all(void);

// Calls part(arg, i) once for each i of 0 to count - 1, and returns when all have returned. Serves
// one caller at a time: another one, or anyone while there is no crew, does its parts itself.
// Parts do not share. Thread: any.
void crew_share(int count, void (*part)(void *arg, int i), void *arg);
// Time that others have spent on what the calling thread shared, in all.
int64_t crew_helped_ns(void);
