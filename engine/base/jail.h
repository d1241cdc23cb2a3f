// A process that gives up all but computing: for code that reads what strangers send. What it may
// still do is read, write and position the descriptors that it has, start threads, get and give
// back memory that holds no code, and tell the time. All else the kernel refuses with EPERM, and
// does not end it for asking: libraries ask for this and that, and do without. None of it can be
// undone.
#pragma once

#include <stddef.h>

// Before other threads are started. `memory_bytes`: of address space; more is refused. Negative
// errno: this kernel cannot do it, and nothing that strangers sent may be looked at.
int jail_enter(size_t memory_bytes);
