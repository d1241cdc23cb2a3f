// Who may publish: what the RTMP server's questions are answered with, call by call.
#include "tests/check.h"
#include "worker/rtmp_door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define HERE      "127.0.0.1"
#define FAR       "192.0.2.7"

static struct door door;
static int64_t now_ns;
static const struct door_source *let_in;

static enum door_answer ask_again(enum door_hook hook, uint64_t client, const char *address,
                                  const char *name, bool again)
{
    struct door_call call = {.hook = hook, .client = client};
    snprintf(call.address, sizeof call.address, "%s", address);
    snprintf(call.name, sizeof call.name, "%s", name);
    return door_ask(&door, &call, again, now_ns, &let_in);
}

static enum door_answer ask(enum door_hook hook, uint64_t client, const char *name)
{
    return ask_again(hook, client, FAR, name, false);
}

static void begin(void)
{
    static const struct door_key keys[] = {{"cam1", "key-of-camera-one"},
                                           {"cam2", "key-of-camera-two"}};
    door = (struct door){0};
    door_follow(&door, keys, 2);
}

static void test_keys(void)
{
    static const char *const wrong[] = {"", "cam1", "key-of-camera-on", "key-of-camera-one ",
                                        "KEY-OF-CAMERA-ONE"};
    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(ask(DOOR_PUBLISH, 10 + i, wrong[i]), ==, DOOR_NO);
        CHECK(ask(DOOR_UPDATE, 10 + i, wrong[i]), ==, DOOR_NO);
    }
    CHECK(door.refusal.count, ==, sizeof wrong / sizeof wrong[0]);
    CHECK_TEXT(door.refusal.address, FAR);
    CHECK(ask(DOOR_PUBLISH, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK_TEXT(let_in->name, "cam1");
    CHECK(ask(DOOR_PUBLISH, 2, "key-of-camera-two"), ==, DOOR_YES);
    CHECK_TEXT(let_in->name, "cam2");
    // A connection sends one source only, and does not look on.
    CHECK(ask(DOOR_PUBLISH, 2, "key-of-camera-one"), ==, DOOR_NO);
    CHECK(ask_again(DOOR_PLAY, 2, HERE, "cam1", false), ==, DOOR_NO);
    CHECK(ask(DOOR_UPDATE, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask(DOOR_UPDATE, 1, "key-of-camera-two"), ==, DOOR_NO);
    CHECK(ask(DOOR_PUBLISH, 0, "key-of-camera-two"), ==, DOOR_NO);
}

static void test_revoked(void)
{
    static const struct door_key anew[] = {{"cam1", "another-key-of-one"},
                                           {"cam2", "key-of-camera-two"}};
    begin();
    CHECK(ask(DOOR_PUBLISH, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask(DOOR_PUBLISH, 2, "key-of-camera-two"), ==, DOOR_YES);
    door_follow(&door, anew, 2);
    CHECK(ask(DOOR_UPDATE, 1, "key-of-camera-one"), ==, DOOR_NO);
    CHECK(ask(DOOR_UPDATE, 2, "key-of-camera-two"), ==, DOOR_YES);
    CHECK(ask(DOOR_PUBLISH_DONE, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask(DOOR_PUBLISH, 3, "key-of-camera-one"), ==, DOOR_NO); // it tries again
    CHECK(door_find(&door, "cam1")->refusal.count, ==, 1);
    CHECK(door_find(&door, "cam2")->refusal.count + door.refusal.count, ==, 0);
    CHECK(ask(DOOR_PUBLISH, 4, "another-key-of-one"), ==, DOOR_YES);
    // A source that is taken away.
    door_follow(&door, anew, 1);
    CHECK(ask(DOOR_UPDATE, 2, "key-of-camera-two"), ==, DOOR_NO);
    CHECK(ask(DOOR_UPDATE, 4, "another-key-of-one"), ==, DOOR_YES);
    CHECK_TRUE(!door_find(&door, "cam2"));
    CHECK_TRUE(!memmem(&door, sizeof door, "key-of-camera-two", 17));
    // The server has died: nobody is there any more, and numbers begin anew.
    door_reset(&door);
    CHECK(ask(DOOR_PUBLISH, 4, "another-key-of-one"), ==, DOOR_YES);
}

// Who comes waits until who was there has been dropped; of two that wait the last one gets in.
static void test_place(void)
{
    begin();
    CHECK(ask(DOOR_PUBLISH, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask(DOOR_UPDATE, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask_again(DOOR_PUBLISH, 5, HERE, "key-of-camera-one", false), ==, DOOR_LATER);
    CHECK_TEXT(door_find(&door, "cam1")->refusal.address, FAR); // whose place it was
    CHECK(ask_again(DOOR_PUBLISH, 6, HERE, "key-of-camera-one", false), ==, DOOR_LATER);
    CHECK(ask_again(DOOR_PUBLISH, 5, HERE, "key-of-camera-one", true), ==, DOOR_NO);
    CHECK(ask_again(DOOR_PUBLISH, 6, HERE, "key-of-camera-one", true), ==, DOOR_LATER);
    // The server asks about who waits, too.
    CHECK(ask(DOOR_UPDATE, 6, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask(DOOR_UPDATE, 5, "key-of-camera-one"), ==, DOOR_NO);
    CHECK(ask(DOOR_UPDATE, 1, "key-of-camera-one"), ==, DOOR_NO);
    CHECK(ask_again(DOOR_PUBLISH, 6, HERE, "key-of-camera-one", true), ==, DOOR_LATER);
    CHECK(ask(DOOR_PUBLISH_DONE, 1, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask_again(DOOR_PUBLISH, 6, HERE, "key-of-camera-one", true), ==, DOOR_YES);
    CHECK_TEXT(let_in->name, "cam1");
    CHECK(let_in->connections, ==, 2);
    CHECK(ask_again(DOOR_UPDATE, 6, HERE, "key-of-camera-one", false), ==, DOOR_YES);
    // Whom the server names no more is gone, though nobody said so.
    now_ns += 2 * SECOND_NS;
    door_expire(&door, now_ns);
    CHECK(door_find(&door, "cam1")->client, ==, 6);
    now_ns += 2 * SECOND_NS;
    door_expire(&door, now_ns);
    CHECK(door_find(&door, "cam1")->client, ==, 0);
    CHECK(ask(DOOR_PUBLISH, 7, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask_again(DOOR_UPDATE, 6, HERE, "key-of-camera-one", false), ==, DOOR_NO);
    // Who has waited and gone lets the sender stay that is there.
    CHECK(ask(DOOR_PUBLISH, 9, "key-of-camera-one"), ==, DOOR_LATER);
    CHECK(ask(DOOR_PUBLISH_DONE, 9, "key-of-camera-one"), ==, DOOR_YES);
    CHECK(ask_again(DOOR_PUBLISH, 9, FAR, "key-of-camera-one", true), ==, DOOR_NO);
    CHECK(ask(DOOR_UPDATE, 7, "key-of-camera-one"), ==, DOOR_YES);
    // A new key ends waiting too.
    CHECK(ask(DOOR_PUBLISH, 8, "key-of-camera-one"), ==, DOOR_LATER);
    door_follow(&door, &(struct door_key){"cam1", "another-key-of-one"}, 1);
    CHECK(ask_again(DOOR_PUBLISH, 8, FAR, "key-of-camera-one", true), ==, DOOR_NO);
}

static void test_players(void)
{
    begin();
    CHECK(ask_again(DOOR_PLAY, 1, FAR, "cam1", false), ==, DOOR_NO);
    CHECK(ask_again(DOOR_UPDATE, 1, HERE, "cam1", false), ==, DOOR_NO);
    CHECK(ask_again(DOOR_PLAY, 1, HERE, "cam1", false), ==, DOOR_YES);
    CHECK(ask_again(DOOR_UPDATE, 1, HERE, "cam1", false), ==, DOOR_YES);
    CHECK(ask_again(DOOR_PUBLISH, 1, HERE, "key-of-camera-one", false), ==, DOOR_NO);
    CHECK(ask_again(DOOR_PLAY_DONE, 1, HERE, "cam1", false), ==, DOOR_YES);
    CHECK(ask_again(DOOR_UPDATE, 1, HERE, "cam1", false), ==, DOOR_NO);
    CHECK(door.player_count, ==, 0);
}

int main(void)
{
    now_ns = 100 * SECOND_NS;
    test_keys();
    test_revoked();
    test_place();
    test_players();
    return check_end();
}
