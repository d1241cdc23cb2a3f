// Frames that two workers made differently are counted, said in words, and kept to the bit.
#include "edge/purity.h"

#include "tests/check.h"

#include <unistd.h>

#define W 64
#define H 32

static struct group_frame *frame(int x, int y, uint8_t luma)
{
    struct group_frame *ret = NULL;
    struct picture *picture = picture_create(PICTURE_OPAQUE, W, H);
    struct group_builder *builder = group_builder_create(W, H);
    picture_fill(picture, (uint8_t[4]){30, 100, 200, 255});
    picture->plane[0][y * picture->stride[0] + x] = luma;
    group_builder_begin(builder, picture);
    CHECK_OK(group_builder_finish(builder, &ret));
    picture_unref(&picture);
    group_builder_destroy(&builder);
    return ret;
}

// FFmpeg's pgmyuv: luma, then Cb and Cr side by side.
static void check_file(const char *folder, const char *name, const char *comment, uint8_t luma)
{
    char path[256], line[128] = "";
    uint8_t bytes[W * H * 3 / 2];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    CHECK_TRUE(file);
    if (!file)
        return;
    CHECK_TRUE(fgets(line, sizeof line, file) && !strcmp(line, "P5\n"));
    CHECK_TRUE(fgets(line, sizeof line, file));
    CHECK_TEXT(line, comment);
    CHECK_TRUE(fgets(line, sizeof line, file) && !strcmp(line, "64 48\n"));
    CHECK_TRUE(fgets(line, sizeof line, file) && !strcmp(line, "255\n"));
    CHECK(fread(bytes, 1, sizeof bytes, file), ==, sizeof bytes);
    CHECK(fgetc(file), ==, EOF);
    for (int i = 0; i < W * H; i++)
        CHECK(bytes[i], ==, i == 5 * W + 40 ? luma : 30);
    for (int i = W * H; i < W * H * 3 / 2; i++)
        CHECK(bytes[i], ==, i % W < W / 2 ? 100 : 200);
    fclose(file);
    unlink(path);
}

int main(void)
{
    char folder[] = "/tmp/vistter-purity-XXXXXX";
    CHECK_TRUE(mkdtemp(folder));
    const char *const nodes[2] = {"worker1", "worker2"};
    struct group_frame *right = frame(40, 5, 30), *wrong = frame(40, 5, 31);
    struct purity_counts counts;
    struct purity *purity = purity_create(7, folder);
    struct intake_sample sample = {.frame = 900, .providers = {0, 1}, .pictures = {right, right}};
    purity_note(purity, 2, nodes, &sample);
    purity_read(purity, &counts);
    CHECK(counts.sampled, ==, 1);
    CHECK(counts.mismatched, ==, 0);
    CHECK_TEXT(counts.alarm, "");
    sample.frame = 1200;
    sample.pictures[1] = wrong;
    sample.picture_differs = true;
    purity_note(purity, 2, nodes, &sample);
    purity_read(purity, &counts);
    CHECK(counts.sampled, ==, 2);
    CHECK(counts.mismatched, ==, 1);
    CHECK_TEXT(counts.alarm, "frame 1200 of group 2: worker1 and worker2 made other picture; see "
                             "purity-7-0-1.pgm and -2.pgm in the edge's state folder");
    purity_destroy(&purity); // once it is written
    group_frame_unref(&right);
    group_frame_unref(&wrong);
    check_file(folder, "purity-7-0-1.pgm", "# channel 7 group 2 frame 1200 from worker1\n", 30);
    check_file(folder, "purity-7-0-2.pgm", "# channel 7 group 2 frame 1200 from worker2\n", 31);
    CHECK_OK(rmdir(folder));
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
