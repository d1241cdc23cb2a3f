// A source's home that is cut off and goes on by itself, over real frame links: of the two logs
// that there are then, each node has one or the other, and says which it has given up.
#include "tests/engine/live/follow_nodes.h"

// A home is cut off and goes on by itself, while another one goes on in a copy. Whoever followed
// the one and is told of the other has that one's log, and nothing else, and tells so; so does the
// first home in the end.
static void test_cut_off(void)
{
    fresh_nodes("cut");
    node_start(&node, srt);
    struct node second = {.port = 0};
    snprintf(second.root, sizeof second.root, "%.100s-second", node.root);
    CHECK_OK(mkdir(second.root, 0755));
    char second_home[160];
    snprintf(second_home, sizeof second_home, "%s/cam1", second.root);
    struct live_log *log = create_in(home);
    append_format(log, "h264");
    append_pictures(log, 0, 60);
    struct log_follower *follower = follow(second.root, node.port);
    await_same(home, second_home);
    log_follower_destroy(&follower); // cut off from here on
    struct live_log *second_log = create_in(second_home);
    append_pictures(log, 60, 110);
    for (int i = 75; i < 140; i++) // the first ones never reached it
        CHECK_OK(append_picture(second_log, i, 25, 90));
    node_start(&second, srt);
    follower = follow(copy_root, node.port);
    await_same(home, copy);
    struct live_reader *reader = NULL;
    struct unit u;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    while (!live_reader_next(reader, &u))
        continue;
    log_follower_destroy(&follower);

    // Until the new home has said so, what is here is nobody's.
    int port = second.port;
    node_stop(&second);
    follower = follow(copy_root, port);
    CHECK(stats_of(follower).seq, ==, u.seq);
    CHECK_TRUE(!stats_of(follower).agreed);
    node_start(&second, srt);
    await_same(second_home, copy);
    CHECK(check_same_files(second_home, copy), >=, 2);
    struct log_follower_stats stats = stats_of(follower);
    CHECK_TRUE(stats.agreed);
    CHECK(stats.forks, ==, 1);
    CHECK(stats.fork_ns, ==, due(109));
    int told = 0, error, others = 0;
    while (!(error = live_reader_next(reader, &u)) || error == -ESTALE) {
        told += error == -ESTALE;
        others += !error && u.kind == UNIT_DATA && u.chan_ns > due(59) && u.size != 90;
    }
    CHECK(told, ==, 1);
    CHECK(others, ==, 0);
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    // The first one hears of it.
    live_log_destroy(&log);
    follower = follow(node.root, second.port);
    append_picture(second_log, 140, 25, 90);
    await_same(second_home, home);
    check_same_files(second_home, home);
    CHECK(stats_of(follower).forks, ==, 1);
    CHECK(stats_of(follower).fork_ns, ==, due(109));
    log_follower_destroy(&follower);
    live_log_destroy(&second_log);
    node_stop(&second);
    node_stop(&node);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/live-cut-off-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        srt = i;
        test_cut_off();
    }
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
