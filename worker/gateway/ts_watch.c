#include "worker/gateway/ts_watch.h"

#include "engine/live/unit.h"

#define PACKET_BYTES 188

// A table's section that begins in the packet, from table_id up to its CRC (ISO/IEC
// 13818-1, 2.4.4); NULL: none, or not whole.
static const uint8_t *section_of(const uint8_t *packet, int table, size_t *ret_size)
{
    size_t at = 4;
    if (!(packet[1] & 0x40) || !(packet[3] & 0x10))
        return NULL;
    if (packet[3] & 0x20)
        at += 1 + (size_t)packet[4];
    if (at >= PACKET_BYTES)
        return NULL;
    at += 1 + (size_t)packet[at];
    if (at + 12 > PACKET_BYTES || packet[at] != table)
        return NULL;
    size_t size = 3 + (size_t)((packet[at + 1] & 0x0F) << 8 | packet[at + 2]);
    if (size < 12 || at + size > PACKET_BYTES)
        return NULL;
    *ret_size = size - 4;
    return packet + at;
}

static int pid_at(const uint8_t *bytes)
{
    return (bytes[0] & 0x1F) << 8 | bytes[1];
}

static void read_pat(struct ts_watch *w, const uint8_t *packet)
{
    size_t size;
    const uint8_t *s = section_of(packet, 0, &size);
    for (size_t at = 8; s && at + 4 <= size; at += 4)
        if (s[at] || s[at + 1]) { // 0 is the network's table
            w->pmt_pid = pid_at(s + at + 2);
            return;
        }
}

static bool read_pmt(struct ts_watch *w, const uint8_t *packet)
{
    size_t size;
    const uint8_t *s = section_of(packet, 2, &size);
    if (!s)
        return false;
    uint32_t programme = 1;
    size_t at = 12 + (size_t)((s[10] & 0x0F) << 8 | s[11]);
    for (; at + 5 <= size; at += 5 + (size_t)((s[at + 3] & 0x0F) << 8 | s[at + 4]))
        programme = crc32c_add(programme, s + at, 3); // type and PID
    bool changed = w->programme && programme != w->programme;
    w->programme = programme;
    return changed;
}

bool ts_watch_add(struct ts_watch *w, const uint8_t *bytes, size_t size)
{
    bool changed = false;
    for (; size >= PACKET_BYTES && *bytes == 0x47; bytes += PACKET_BYTES, size -= PACKET_BYTES) {
        int pid = pid_at(bytes + 1);
        if (pid == 0)
            read_pat(w, bytes);
        else if (pid == w->pmt_pid)
            changed = read_pmt(w, bytes) || changed;
    }
    return changed;
}
