#include "coordinator/cli/table.h"

#include "engine/base/thread.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

struct table {
    int columns;
    size_t count; // cells, the titles among them
    size_t capacity;
    char **cells;
};

// Columns that a text takes on a terminal, and control characters replaced on the way. Needs a
// UTF-8 locale; a byte that is no character counts as one.
static int measure(char *text)
{
    mbstate_t state = {0};
    int width = 0;
    size_t left = strlen(text);
    for (char *c = text; left;) {
        wchar_t wide;
        size_t n = mbrtowc(&wide, c, left, &state);
        int columns = n == (size_t)-1 || n == (size_t)-2 ? -1 : wcwidth(wide);
        if (columns < 0) {
            n = n == (size_t)-1 || n == (size_t)-2 ? 1 : n;
            memset(c, '?', n);
            columns = (int)n;
            state = (mbstate_t){0};
        }
        width += columns;
        c += n;
        left -= n;
    }
    return width;
}

static void put(struct table *table, char *cell)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 64;
        table->cells = realloc(table->cells, table->capacity * sizeof *table->cells);
        if (!table->cells)
            abort();
    }
    table->cells[table->count++] = cell;
}

struct table *table_create(int columns, const char *const *titles)
{
    struct table *table = base_alloc(sizeof *table);
    table->columns = columns;
    for (int i = 0; i < columns; i++)
        put(table, base_strdup(titles[i]));
    return table;
}

void table_destroy(struct table **table)
{
    struct table *t = *table;
    if (!t)
        return;
    *table = NULL;
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void table_add(struct table *table, const char *format, ...)
{
    va_list arguments;
    char *cell = NULL;
    va_start(arguments, format);
    int length = vasprintf(&cell, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    if (!*cell) {
        free(cell);
        cell = base_strdup("-");
    }
    measure(cell);
    put(table, cell);
}

static void print_cell(const struct table *table, size_t row, int column, int width, FILE *file)
{
    char *text = table->cells[row * (size_t)table->columns + (size_t)column];
    bool right = table->cells[column][0] == '>', last = column == table->columns - 1;
    if (row == 0 && right)
        text++;
    int blanks = width - measure(text);
    if (right)
        fprintf(file, "%*s%s", blanks, "", text);
    else
        fprintf(file, "%s%*s", text, last ? 0 : blanks, "");
    fputs(last ? "\n" : "  ", file);
}

void table_print(const struct table *table, int indent, FILE *file)
{
    size_t rows = table->count / (size_t)table->columns;
    if (rows < 2)
        return;
    int *widths = base_alloc((size_t)table->columns * sizeof *widths);
    for (size_t i = 0; i < rows * (size_t)table->columns; i++) {
        size_t column = i % (size_t)table->columns;
        int width = measure(table->cells[i]);
        if (i < (size_t)table->columns && table->cells[i][0] == '>')
            width--;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    for (size_t row = 0; row < rows; row++) {
        fprintf(file, "%*s", indent, "");
        for (int column = 0; column < table->columns; column++)
            print_cell(table, row, column, widths[column], file);
    }
    free(widths);
}
