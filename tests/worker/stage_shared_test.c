// Render stages that share memory with their consumers.
#include "tests/worker/stage_parties.h"

static struct frame_want shared_want(int64_t from, int64_t credit, int64_t keep)
{
    struct frame_want want = want_of(1, from, credit);
    want.host = HOST;
    want.keep = keep;
    return want;
}

// Consumes frames [from, to) and lets go of them, but for those from `hold` on. Returns in how many
// blocks they stood, at most 64.
static int blocks_of(struct stage *s, struct frame_peer *peer, int64_t from, int64_t to,
                     int64_t hold)
{
    uint64_t seen[64];
    int count = 0;
    for (int64_t n = from; n < to; n++) {
        struct frame_want want = shared_want(n, n + 9, n < hold ? n : hold);
        stage_want(s, peer, &want);
        peer_wait(peer, &peer->count[n + 8], 1);
        pthread_mutex_lock(&peer->lock);
        int i = 0;
        while (i < count && seen[i] != peer->last_block.inode)
            i++;
        if (i == count && count < 64)
            seen[count++] = peer->last_block.inode;
        if (n <= hold)
            group_frame_unref(&peer->frames[n - 1]);
        pthread_mutex_unlock(&peer->lock);
    }
    return count;
}

// A consumer on the stage's host reads frames where they stand. What it has said that it is done
// with is used again, what it still holds never is; and one elsewhere gets the same pictures.
static void test_shared(void)
{
    blocks = block_pool_create((size_t)64 << 20);
    struct frame_peer here, elsewhere, successor, *peers[] = {&here}, *others[] = {&elsewhere};
    peer_init(&here, FRAMES_MAX);
    peer_init(&elsewhere, FRAMES_MAX);
    peer_init(&successor, FRAMES_MAX);
    here.blocks = block_reader_create();
    successor.blocks = block_reader_create();
    struct stage *s = start_whole(NEVER_REPEAT);
    // Nine frames in flight. AT + 5 is held on to, as an encoder may: nothing from it on is used
    // again.
    CHECK(blocks_of(s, &here, AT, AT + 40, AT + 5), >, 40 - 5);
    check_picture(peers, 1, AT + 5);
    for (int i = 0; i < FRAMES_MAX; i++)
        group_frame_unref(&here.frames[i]);
    CHECK(blocks_of(s, &here, AT + 60, AT + 200, INT64_MAX), <, 64);
    // One elsewhere joins: what stands in blocks comes to it coded, and so does what follows, to
    // both.
    struct frame_want far = want_of(1, AT + 201, AT + 230),
                      near = shared_want(AT + 200, AT + 230, AT + 199);
    stage_want(s, &elsewhere, &far);
    stage_want(s, &here, &near);
    peer_wait(&elsewhere, &elsewhere.count[AT + 229], 1);
    peer_wait(&here, &here.count[AT + 229], 1);
    for (int64_t n = AT + 201; n < AT + 230; n += 7) {
        check_picture(peers, 1, n);
        check_picture(others, 1, n);
    }
    // Gone without a word: what it holds is left to it, whatever is shared with others from now on.
    stage_gone(s, &here);
    stage_gone(s, &elsewhere);
    (void)blocks_of(s, &successor, AT + 230, AT + 400, INT64_MAX);
    for (int64_t n = AT + 201; n < AT + 208; n++)
        check_picture(peers, 1, n);
    stage_destroy(&s);
    peer_finish(&here);
    peer_finish(&elsewhere);
    peer_finish(&successor);
    block_pool_destroy(&blocks);
}

int main(void)
{
    open_cache();
    test_shared();
    close_cache();
    return check_end();
}
