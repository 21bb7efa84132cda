/* start.c: what a Cortex-M does before main: the vector table, the FPU, the variables. */
#include "board.h"

#include <stdint.h>

#define CPACR (*(volatile uint32_t *)0xe000ed88u) /* coprocessor access control; the FPU is coprocessor 10 and 11 */
#define FPU_ON (0xfu << 20)

extern uint32_t board_stack, board_data_stored, board_data, board_data_end, board_bss, board_bss_end; /* of board.ld */

int main(void);

static void on(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= FPU_ON;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

void board_reset(void);

void board_reset(void)
{
    on();
    const uint32_t *from = &board_data_stored;
    for (uint32_t *to = &board_data; to < &board_data_end;)
        *to++ = *from++;
    for (uint32_t *to = &board_bss; to < &board_bss_end;)
        *to++ = 0;
    board_end(main());
    for (;;) {
    }
}

/* Whatever else happens: say so, and stop. */
static void fault(void)
{
    board_put("\nNPU FAULT the processor met an exception, such as an address without memory\nNPU DONE 3\n");
    board_end(3);
    for (;;) {
    }
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)&board_stack, board_reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault,
};
