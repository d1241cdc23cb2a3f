// Pictures: references, memory that is used again, checksums.
#include "engine/frame/picture.h"

#include "tests/check.h"

static void test_references(void)
{
    struct picture *a = picture_create(PICTURE_ALPHA, 66, 34);
    struct picture *b = picture_create(PICTURE_ALPHA, 66, 34);
    CHECK(picture_outstanding(), ==, 2);
    picture_clear(a);
    picture_clear(b);
    CHECK_TRUE(picture_equal(a, b));
    CHECK(picture_checksum(a), ==, picture_checksum(b));
    a->plane[3][33 * a->stride[3] + 65] = 1;
    CHECK_TRUE(!picture_equal(a, b));
    CHECK_TRUE(picture_checksum(a) != picture_checksum(b));
    struct picture *again = picture_ref(a);
    CHECK_TRUE(!picture_writable(a));
    picture_unref(&again);
    CHECK_TRUE(picture_writable(a));
    picture_unref(&a);
    picture_unref(&b);
}

// More pictures than are kept, of sizes that change: each has its own memory, all of it.
static void test_memory(void)
{
    enum { COUNT = 60 };
    struct picture *p[COUNT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            p[i] = picture_create(i % 2 ? PICTURE_ALPHA : PICTURE_OPAQUE, 1280 + 2 * i, 720);
            picture_fill(p[i], (uint8_t[4]){(uint8_t)i, (uint8_t)(i + 1), (uint8_t)(i + 2), 255});
        }
        for (int i = 0; i < COUNT; i++) {
            bool own = true;
            for (int k = 0; k < picture_planes(p[i]); k++) {
                int y = plane_height(p[i], k) - 1, x = plane_width(p[i], k) - 1;
                own = own && p[i]->plane[k][0] == (k == 3 ? 255 : i + k) &&
                      p[i]->plane[k][y * p[i]->stride[k] + x] == (k == 3 ? 255 : i + k);
            }
            CHECK_TRUE(own);
        }
        for (int i = 0; i < COUNT; i++)
            picture_unref(&p[i]);
    }
}

int main(void)
{
    test_references();
    test_memory();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
