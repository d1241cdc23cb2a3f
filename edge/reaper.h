// Ends what takes a while to end, so that the control thread, which must report ten times a second,
// does not wait for it: an encoder gives up to 45 queued pictures and its lookahead first.
//
// What is given belongs to the reaper; the giver has taken it out of everything that others look
// at. Things end one after the other, in the order they were given.
// Thread: one, besides the reaper's own.
#pragma once

struct reaper;
// Returns a negative errno when there is no thread for it.
int reaper_create(struct reaper **ret);
void reaper_destroy(struct reaper **reaper); // when all that was given has ended
// `reaper` NULL, or one with very much to do: ends it here.
void reaper_give(struct reaper *reaper, void (*end)(void *object), void *object);
