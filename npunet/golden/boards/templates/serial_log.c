/* serial_log.c: NPU TENSOR <case>/<key> <words> [<sample> <samples>], NPU DATA <words in hex> ..., NPU END <CRC-32>. */
#include "serial_log.h"

#include <stdint.h>

#include "board.h"

enum { WORDS_A_LINE = 16, MOST_DIGITS = 16 };

static char line[16 + WORDS_A_LINE * (MOST_DIGITS + 1)];

static char *append(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    *to = 0;
    return to;
}

static char *append_number(char *to, uint32_t number)
{
    char digits[12], *from = digits + sizeof digits - 1;
    *from = 0;
    do {
        *--from = (char)('0' + number % 10u);
        number /= 10u;
    } while (number);
    return append(to, from);
}

static char *append_byte(char *to, unsigned byte)
{
    *to++ = "0123456789abcdef"[byte >> 4 & 15u];
    *to++ = "0123456789abcdef"[byte & 15u];
    *to = 0;
    return to;
}

/* zlib's CRC-32, a half byte at a time. */
static uint32_t crc_of(uint32_t crc, unsigned byte)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    crc ^= byte;
    crc = crc >> 4 ^ table[crc & 15u];
    return crc >> 4 ^ table[crc & 15u];
}

void log_tensor(const char *case_id, const char *layer, const char *role, const void *values, const log_form *form)
{
    const unsigned char *from = values;
    uint32_t crc = 0xffffffffu;
    board_put("NPU TENSOR ");
    board_put(case_id);
    board_put("/");
    board_put(layer);
    board_put(role);
    char *to = append_number(append(line, " "), (uint32_t)form->count);
    if (form->samples > 1) {
        to = append_number(append(to, " "), (uint32_t)form->sample);
        to = append_number(append(to, " "), (uint32_t)form->samples);
    }
    append(to, "\n");
    board_put(line);
    for (int first = 0; first < form->count; first += WORDS_A_LINE) {
        to = append(line, "NPU DATA");
        for (int n = first; n < form->count && n < first + WORDS_A_LINE; n++, from += form->apart) {
            *to++ = ' ';
            for (int k = form->bytes - 1; k >= 0; k--)
                to = append_byte(to, from[k]);
            for (int k = 0; k < form->bytes; k++)
                crc = crc_of(crc, from[k]);
        }
        append(to, "\n");
        board_put(line);
    }
    crc = ~crc;
    to = append(line, "NPU END ");
    for (int k = 3; k >= 0; k--)
        to = append_byte(to, crc >> 8 * k & 255u);
    append(to, "\n");
    board_put(line);
}
