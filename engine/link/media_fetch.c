#include "engine/link/media_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_DIGITS      64
#define STALL_SECONDS    10
#define CONNECT_MS       5000
#define HASH_CHUNK_BYTES (256 << 10)

struct transfer {
    const struct media_fetch *fetch;
    int fd;
    int64_t size; // of the part file
    bool checked; // the status has been looked at
    bool wanted;  // the body is the file
    int error;    // what ended the transfer from our side
    struct diagnostic *reterr;
    int64_t range_from; // as the answer says, -1: it does not
    char hash[HASH_DIGITS + 1];
};

bool media_name_valid(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    const char *rest = name + digits;
    return digits == HASH_DIGITS &&
           (!*rest || !strcmp(rest, ".index") || !strcmp(rest, ".sound") || !strcmp(rest, ".json"));
}

bool media_name_plain(const char *name)
{
    return media_name_valid(name) && !name[HASH_DIGITS];
}

// ---- Callbacks of libcurl ---------------------------------------------------------------------

static size_t on_header(char *line, size_t one, size_t size, void *opaque)
{
    (void)one; // always 1, says libcurl
    struct transfer *t = opaque;
    static const char hash[] = "X-Content-SHA256:", range[] = "Content-Range:";
    char value[160];
    const char *colon = memchr(line, ':', size);
    if (!colon)
        return size;
    snprintf(value, sizeof value, "%.*s", (int)(size - (size_t)(colon + 1 - line)), colon + 1);
    if (size > sizeof hash && !strncasecmp(line, hash, sizeof hash - 1))
        sscanf(value, " %64[0-9a-fA-F]", t->hash);
    if (size > sizeof range && !strncasecmp(line, range, sizeof range - 1)) {
        long long from = -1;
        if (sscanf(value, " bytes %lld-", &from) == 1)
            t->range_from = from;
    }
    return size;
}

static int part_clear(struct transfer *t)
{
    if (ftruncate(t->fd, 0) < 0)
        return -errno;
    t->fetch->release(t->fetch->opaque, t->size);
    t->size = 0;
    return 0;
}

// First bytes of a body: is it the file, and does it go on where we stopped?
static void status_check(struct transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    t->checked = true;
    t->wanted = status == 200 || status == 206;
    if (!t->wanted || t->size == 0)
        return;
    if (status == 200)
        t->error = part_clear(t); // ranges are not known here: from the start
    else if (t->range_from != t->size)
        t->error = diagnostic_set(t->reterr, -EAGAIN, "media_range", t->fetch->name,
                                  "the origin answered with another range than asked for");
}

static size_t on_body(char *bytes, size_t one, size_t size, void *opaque)
{
    (void)one;
    struct transfer *t = opaque;
    if (!t->checked)
        status_check(t);
    if (t->error)
        return 0;
    if (!t->wanted)
        return size; // the text of an error page
    t->error = t->fetch->reserve(t->fetch->opaque, (int64_t)size, t->reterr);
    if (t->error)
        return 0;
    for (size_t done = 0; done < size;) {
        ssize_t n = write(t->fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int error = errno;
            t->fetch->release(t->fetch->opaque, (int64_t)(size - done));
            t->error =
                diagnostic_set(t->reterr, error == ENOSPC || error == EDQUOT ? -ENOSPC : -EIO,
                               "media_write", t->fetch->part,
                               "the media cache cannot be written: %s; make room on its "
                               "disk or give another folder",
                               strerror(error));
            return 0;
        }
        done += (size_t)n;
        t->size += n;
    }
    return size;
}

static int on_progress(void *opaque, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d; // only asked whether to go on
    const struct transfer *t = opaque;
    return t->fetch->stopped(t->fetch->opaque);
}

// ---- One transfer -----------------------------------------------------------------------------

static int file_hash(int fd, char ret[HASH_DIGITS + 1])
{
    uint8_t *chunk = malloc(HASH_CHUNK_BYTES), digest[32];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int r = chunk && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    ssize_t n = 0;
    for (off_t at = 0; r == 0 && (n = pread(fd, chunk, HASH_CHUNK_BYTES, at)) > 0; at += n)
        r = EVP_DigestUpdate(context, chunk, (size_t)n) == 1 ? 0 : -EIO;
    if (r == 0 && (n < 0 || EVP_DigestFinal_ex(context, digest, NULL) != 1))
        r = -EIO;
    EVP_MD_CTX_free(context);
    free(chunk);
    for (int i = 0; r == 0 && i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    return r;
}

static int part_verify(struct transfer *t)
{
    const struct media_fetch *f = t->fetch;
    char hash[HASH_DIGITS + 1], expected[HASH_DIGITS + 1];
    snprintf(expected, sizeof expected, "%s", media_name_plain(f->name) ? f->name : t->hash);
    int r = file_hash(t->fd, hash);
    if (r < 0)
        return diagnostic_set(t->reterr, r, "media_read", f->part,
                              "a fetched file cannot be read back: %s", strerror(-r));
    if (!strcasecmp(hash, expected)) {
        // On disk before it gets its name: a name stands for verified bytes, also after a power
        // cut.
        if (fsync(t->fd) == 0)
            return 0;
        r = -errno;
        return diagnostic_set(t->reterr, r == -ENOSPC || r == -EDQUOT ? -ENOSPC : -EIO,
                              "media_write", f->part, "the media cache cannot be written: %s",
                              strerror(-r));
    }
    (void)part_clear(t); // removed by the caller; what matters is that the bytes are not used
    if (!*expected)
        return diagnostic_set(t->reterr, -EBADMSG, "media_unsigned", f->name,
                              "the origin does not say the SHA-256 of this part "
                              "(X-Content-SHA256), so it cannot be checked");
    return diagnostic_set(t->reterr, -EBADMSG, "media_wrong", f->name,
                          "the bytes from the origin have SHA-256 %s; they were not kept", hash);
}

static int transfer_run(struct transfer *t, char *error_text)
{
    const struct media_fetch *f = t->fetch;
    char url[1024], range[32];
    if (snprintf(url, sizeof url, "%s/%s", f->base, f->name) >= (int)sizeof url)
        return CURLE_URL_MALFORMAT;
    snprintf(range, sizeof range, "%lld-", (long long)t->size);
    CURL *curl = f->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); // nodes reach each other directly
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (t->size > 0)
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
    return curl_easy_perform(curl);
}

// What the transfer came to. 1: start again from nothing.
static int transfer_judge(struct transfer *t, int result, const char *error_text)
{
    const struct media_fetch *f = t->fetch;
    long status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->error)
        return t->error;
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return -ECANCELED;
    if (result != CURLE_OK)
        return diagnostic_set(t->reterr, -EAGAIN, "media_unreachable", f->name,
                              "fetching from %s was cut: %s", f->base,
                              *error_text ? error_text : curl_easy_strerror((CURLcode)result));
    if (status == 404 || status == 410)
        return diagnostic_set(t->reterr, -ENOENT, "media_missing", f->name,
                              "%s does not have this asset; import it again", f->base);
    // 416: there is nothing after what we have, so either it is all or it is wrong.
    if (status == 416 && t->size > 0) {
        if (media_name_plain(f->name) || *t->hash) {
            int r = part_verify(t);
            return r == -EBADMSG ? 1 : r;
        }
        return part_clear(t) < 0 ? -EIO : 1;
    }
    if (status != 200 && status != 206)
        return diagnostic_set(t->reterr, -EAGAIN, "media_refused", f->name, "%s answered %ld",
                              f->base, status);
    return part_verify(t);
}

int media_fetch_run(const struct media_fetch *fetch, struct diagnostic *reterr)
{
    struct stat status;
    struct transfer t = {.fetch = fetch, .reterr = reterr};
    t.fd = open(fetch->part, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (t.fd < 0 || fstat(t.fd, &status) < 0) {
        int error = errno;
        if (t.fd >= 0)
            close(t.fd);
        return diagnostic_set(reterr, error == ENOSPC ? -ENOSPC : -EIO, "media_write", fetch->part,
                              "the media cache cannot be written: %s", strerror(error));
    }
    t.size = status.st_size;
    int r = 1;
    // A part from an earlier run may be of other bytes (a new index, say): once more from nothing.
    for (int try = 0; try < 2 && r == 1; try++) {
        char error_text[CURL_ERROR_SIZE] = "";
        bool resumed = t.size > 0;
        t.checked = t.wanted = false;
        t.error = 0;
        t.range_from = -1;
        t.hash[0] = 0;
        r = transfer_judge(&t, transfer_run(&t, error_text), error_text);
        if (r == -EBADMSG && resumed && try == 0)
            r = 1;
    }
    close(t.fd);
    if (r == 1)
        r = diagnostic_set(reterr, -EAGAIN, "media_range", fetch->name,
                           "the origin answers ranges wrongly");
    if (r == -EBADMSG)
        unlink(fetch->part);
    return r;
}
