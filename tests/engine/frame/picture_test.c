// Pictures: references, pools that die first, checksums.
#include "engine/frame/picture.h"

#include "tests/check.h"

int main(void)
{
    struct picture_pool *pool = picture_pool_create(PICTURE_ALPHA, 66, 34);
    struct picture *a = picture_pool_take(pool), *b = picture_pool_take(pool);
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
    uint8_t *memory = a->plane[0];
    picture_unref(&a);
    a = picture_pool_take(pool);
    CHECK_TRUE(a->plane[0] == memory);
    picture_pool_destroy(&pool);
    picture_unref(&a);
    picture_unref(&b);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
