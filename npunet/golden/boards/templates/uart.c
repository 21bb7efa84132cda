/* uart.c: lines go over a serial line, here the first UART of Arm's CMSDK as on the MPS2 and MPS3 boards (Arm's document
   "Cortex-M System Design Kit", APB UART). On another board this file is what changes: send one byte, wait while the
   sender is full. */
#include "board.h"

#include <stdint.h>

#define UART_BASE @UART@u
#define DATA (*(volatile uint32_t *)(UART_BASE + 0x00u))
#define STATE (*(volatile uint32_t *)(UART_BASE + 0x04u))
#define CONTROL (*(volatile uint32_t *)(UART_BASE + 0x08u))
#define BAUD_DIVIDER (*(volatile uint32_t *)(UART_BASE + 0x10u))

enum { SENDER_FULL = 1, SENDER_ON = 1, SMALLEST_DIVIDER = 16 };

#ifndef CLOCK_HZ
#define CLOCK_HZ 25000000u /* of the UART */
#endif
#ifndef BAUD
#define BAUD 115200u
#endif

void board_begin(void)
{
    const uint32_t divider = CLOCK_HZ / BAUD;
    BAUD_DIVIDER = divider < SMALLEST_DIVIDER ? SMALLEST_DIVIDER : divider;
    CONTROL = SENDER_ON;
}

void board_put(const char *text)
{
    while (*text) {
        while (STATE & SENDER_FULL) {
        }
        DATA = (uint8_t)*text++;
    }
}

/* A board does not end; npunet verify stops reading at the line NPU DONE. */
void board_end(int status)
{
    (void)status;
}
