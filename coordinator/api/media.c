// The media store over HTTP: a folder of files named by content, and what import made of them.
#include "engine/media/media.h"
#include "coordinator/api/api.h"
#include "coordinator/api/connection.h"
#include "coordinator/api/handlers.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_DIGITS 64
#define UPLOAD      "upload-"
// How slow an upload may be, on the whole: a thread and a file wait for it.
#define UPLOAD_NS             INT64_C(30000000000)
#define UPLOAD_BYTES_A_SECOND 16384

int handle_media_list(struct request *r)
{
    struct diagnostic why;
    char *json;
    if (store_media_list(r->store, &json, &why))
        return answer_problem(r, &why);
    int status = answer_text(r, 200, "application/json", json);
    free(json);
    return status;
}

// "<sha256>" or "<sha256>.index|.sound|.json"; nothing else ever reaches the file system.
static bool name_ok(const char *name, const char **ret_suffix)
{
    static const char *const suffixes[] = {"", ".index", ".sound", ".json"};
    if (strspn(name, "0123456789abcdef") != HASH_DIGITS)
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (!strcmp(name + HASH_DIGITS, suffixes[i])) {
            *ret_suffix = suffixes[i];
            return true;
        }
    }
    return false;
}

// The SHA-256 of a part, computed once and kept beside it: parts are written once and never change.
static int part_hash(const char *path, char ret[65], struct diagnostic *reterr)
{
    char kept[PATH_MAX + 8], fresh[PATH_MAX + 40];
    snprintf(kept, sizeof kept, "%s.sum", path);
    FILE *file = fopen(kept, "re");
    bool have = file && fread(ret, 1, HASH_DIGITS, file) == HASH_DIGITS;
    if (file)
        fclose(file);
    ret[HASH_DIGITS] = 0;
    if (have)
        return 0;
    int error = media_hash_file(path, ret, reterr);
    if (error)
        return error;
    snprintf(fresh, sizeof fresh, "%s.%ld", kept, (long)gettid());
    file = fopen(fresh, "we");
    if (file) {
        // Only a shortcut: when it cannot be written, the next request computes it again.
        bool written = fputs(ret, file) >= 0;
        if (fclose(file) || !written || rename(fresh, kept))
            unlink(fresh);
    }
    return 0;
}

static int get_revision(struct request *r, const char *sha256)
{
    char *bytes;
    size_t size;
    struct diagnostic why;
    if (store_revision_get(r->store, sha256, &bytes, &size, &why))
        return answer_problem(r, &why);
    mg_printf(
        r->connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n" ANSWER_MARK
        "\r\n",
        size);
    if (!request_is_head(r))
        mg_write(r->connection, bytes, size);
    free(bytes);
    return 200;
}

// Whether timelines may use it: the row says so, not the file, which an import that failed at its
// end has left.
static int head_media(struct request *r, const char *name)
{
    struct diagnostic why;
    int known = store_media_known(r->store, name, &why);
    return known < 0 ? answer_problem(r, &why) : answer_empty(r, known ? 200 : 404);
}

// Needs the store for revisions only: nodes fetch files while there is no database, too.
static int get_media(struct request *r, const char *name, const char *suffix)
{
    char path[PATH_MAX], hash[65], header[160] = ANSWER_MARK;
    struct diagnostic why;
    if (request_is_head(r) && !*suffix)
        return head_media(r, name);
    snprintf(path, sizeof path, "%s/%s", coordinator_settings(r->coordinator)->media, name);
    if (access(path, R_OK))
        return *suffix ? answer_refusal(r, 404, "not_found", name, "does not exist")
                       : get_revision(r, name);
    if (*suffix) {
        if (part_hash(path, hash, &why))
            return answer_problem(r, &why);
        snprintf(header, sizeof header, ANSWER_MARK "X-Content-SHA256: %s\r\n", hash);
    }
    // Serves ranges; the path is made of the folder and 64 digits, so nothing else can be named.
    mg_send_mime_file2(r->connection, path, "application/octet-stream", header);
    return 200;
}

// Writes the body to a file of its own in the store's folder.
static int receive_upload(struct request *r, int fd)
{
    long long length = r->info->content_length;
    char buffer[16384]; // on a stack of 100 kB
    int64_t begin_ns = clock_monotonic_ns();
    int socket = connection_socket(r->connection);
    for (long long got = 0; got < length;) {
        int64_t allowed_ns = UPLOAD_NS + got * INT64_C(1000000000) / UPLOAD_BYTES_A_SECOND;
        int n = clock_monotonic_ns() - begin_ns < allowed_ns
                    ? connection_read(r->connection, socket, buffer, sizeof buffer)
                    : 0;
        if (n <= 0)
            return answer_refusal(r, 408, "body_incomplete", "",
                                  "the file did not arrive whole, or too slowly");
        for (int done = 0; done < n;) {
            ssize_t written = write(fd, buffer + done, (size_t)(n - done));
            if (written < 0)
                return answer_refusal(r, errno == ENOSPC ? 507 : 500, "store_full", "",
                                      "the media store cannot be written: %s", strerror(errno));
            done += (int)written;
        }
        got += n;
    }
    r->body_read = true;
    return 0;
}

static int import_upload(struct request *r, const char *path, const char *sha256, const char *name)
{
    struct diagnostic why;
    struct media_info info;
    int error =
        media_import(path, coordinator_settings(r->coordinator)->media, &info, NULL, NULL, &why);
    unlink(path); // gone before the client hears of it
    if (error) {
        // The person knows the file by its name, not by where it is kept meanwhile.
        snprintf(why.path, sizeof why.path, "%.255s", name);
        return answer_problem(r, &why);
    }
    if (strcmp(info.sha256, sha256))
        return answer_refusal(r, 422, "hash_mismatch", name,
                              "what arrived has another SHA-256 than the address says");
    char *facts = media_info_format(&info);
    if (!facts)
        return answer_refusal(r, 500, "memory", name, "out of memory");
    int status = store_media_put(r->store, sha256, name, facts, &why)
                     ? answer_problem(r, &why)
                     : answer_text(r, 201, "application/json", facts);
    log_info("media_imported", "sha256=%s bytes=%lld", sha256, r->info->content_length);
    free(facts);
    return status;
}

static int put_media(struct request *r, const char *sha256)
{
    char name[512], path[PATH_MAX];
    struct diagnostic why;
    char *known;
    if (!request_query(r, "name", name, sizeof name) || !name[0])
        return answer_refusal(r, 422, "bad_value", "name", "give ?name= with the file's name");
    long long max = coordinator_settings(r->coordinator)->upload_bytes_max;
    if (r->info->content_length < 0)
        return answer_refusal(r, 411, "length_required", "", "send Content-Length");
    if (r->info->content_length > max)
        return answer_refusal(r, 413, "too_large", name, "at most %lld bytes are taken", max);
    if (!store_media_get(r->store, sha256, &known, &why)) {
        int status = answer_text(r, 200, "application/json", known);
        free(known);
        return status;
    }
    snprintf(path, sizeof path, "%s/" UPLOAD "XXXXXX", coordinator_settings(r->coordinator)->media);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return answer_refusal(r, 507, "store_full", "", "the media store cannot be written: %s",
                              strerror(errno));
    int status = receive_upload(r, fd);
    close(fd);
    if (!status)
        return import_upload(r, path, sha256, name);
    unlink(path);
    return status;
}

int handle_media(struct request *r)
{
    const char *name = r->part[1], *suffix;
    if (!name_ok(name, &suffix))
        return answer_refusal(r, 404, "not_found", "", "media are named by 64 hexadecimal digits");
    if (strcmp(r->info->request_method, "PUT"))
        return get_media(r, name, suffix);
    return *suffix ? answer_refusal(r, 405, "method", name, "parts are made by import")
                   : put_media(r, name);
}

int handle_media_crashes(struct request *r)
{
    const char *suffix;
    struct diagnostic why;
    if (!name_ok(r->part[1], &suffix) || *suffix)
        return answer_refusal(r, 404, "not_found", "", "media are named by 64 hexadecimal digits");
    if (coordinator_clear_media(r->coordinator, r->part[1], &why))
        return answer_problem(r, &why);
    return answer_empty(r, 204);
}

void api_remove_uploads(const char *media)
{
    char path[PATH_MAX];
    DIR *folder = opendir(media);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        if (strncmp(e->d_name, UPLOAD, strlen(UPLOAD)))
            continue;
        snprintf(path, sizeof path, "%s/%s", media, e->d_name);
        log_info("upload_removed", "file=%s", e->d_name);
        unlink(path);
    }
    if (folder)
        closedir(folder);
}
