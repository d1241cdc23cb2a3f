// How a program that runs for months uses the heap: called first thing in its main.
//
// glibc gives each thread an arena of its own, up to eight per core, and keeps blocks up to 32 MiB
// in them once such a block has been freed. Frames and messages are made in one thread and freed in
// another, so arenas fill up with holes: an edge grew by 37 MB in 10 minutes. With two arenas, and
// large blocks mapped each by itself, it stays flat (ops/soak).
// Thread: main, before others start.
#pragma once

void memory_setup(void);
