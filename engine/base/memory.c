// How a program that runs for months uses the heap: by jemalloc. Frames and messages are made in
// one thread and freed in another, and an encoder is opened for each GOP. glibc's arenas fill up
// with holes at that (an edge grew by 37 MB in 10 minutes), or, with every large block mapped by
// itself, pages are cleared anew for each encoder. A program has this by linking vistter-memory;
// builds with sanitizers keep the sanitizer's own heap.

// jemalloc (3), "malloc_conf": few arenas, which all threads share; frames stay in them, as smaller
// blocks do; what is free for five seconds, longer than from one GOP to the next, is given back.
extern const char *malloc_conf;
const char *malloc_conf = "narenas:2,oversize_threshold:0,dirty_decay_ms:5000,muzzy_decay_ms:0";
