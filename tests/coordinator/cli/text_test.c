// Columns, and the paths of requests.
#include "coordinator/cli/client.h"
#include "coordinator/cli/table.h"
#include "tests/check.h"

#include <errno.h>
#include <locale.h>

static char *printed(const struct table *table, int indent)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    table_print(table, indent, file);
    fclose(file);
    return text;
}

static void test_table(void)
{
    static const char *const titles[] = {"NAME", ">COUNT", "TEXT"};
    struct table *table = table_create(3, titles);
    char *text = printed(table, 0);
    CHECK_TEXT(text, "");
    free(text);
    table_add(table, "%s", "a");
    table_add(table, "%d", 1234567);
    table_add(table, "%s", "");
    table_add(table, "%s", "\xe6\x97\xa5\xe6\x9c\xac\xc3\xa9"); // two wide characters and a narrow
    table_add(table, "%d", 5);
    table_add(table, "%s", "x\x1b[2J\ny\xff");
    text = printed(table, 2);
    CHECK_TEXT(text, "  NAME     COUNT  TEXT\n"
                     "  a      1234567  -\n"
                     "  \xe6\x97\xa5\xe6\x9c\xac\xc3\xa9        5  x?[2J?y?\n");
    free(text);
    table_destroy(&table);
    CHECK_TRUE(!table);
}

static void test_path(void)
{
    char path[64];
    struct diagnostic problem;
    const char *plain[] = {"channels", "my channel/\xc3\xa9?", "start", NULL};
    CHECK_OK(client_path(plain, path, sizeof path, &problem));
    CHECK_TEXT(path, "/channels/my%20channel%2F%C3%A9%3F/start");
    static const char *const bad[] = {"", ".", ".."};
    for (int i = 0; i < 3; i++) {
        const char *segments[] = {"channels", bad[i], NULL};
        CHECK_ERROR(client_path(segments, path, sizeof path, &problem), -EINVAL);
    }
    const char *fits[] = {"12345", NULL};
    CHECK_OK(client_path(fits, path, 7, &problem));
    CHECK_ERROR(client_path(fits, path, 6, &problem), -EINVAL);
}

static void test_server(void)
{
    static const char *const bad[] = {"",        "host",        "ftp://host",
                                      "http://", "http://h/?q", "http://h/#f"};
    struct client *client = NULL;
    struct diagnostic problem;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_ERROR(client_create(bad[i], &client, &problem), -EINVAL);
    CHECK_OK(client_create("https://farm.example:8443/vistter/", &client, &problem));
    client_destroy(&client);
    CHECK_TRUE(!client);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    test_table();
    test_path();
    test_server();
    return check_end();
}
