/* semihosting.c: lines go through the debugger, or through QEMU, by Arm's semihosting calls (Arm's document
   "Semihosting for AArch32 and AArch64"): a breakpoint 0xab with the call's number in r0, its argument in r1. */
#include "board.h"

#include <stdint.h>

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
#define STOPPED_WELL 0x20026 /* ADP_Stopped_ApplicationExit */
#define STOPPED_BADLY 0x20023 /* ADP_Stopped_RunTimeErrorUnknown */

static void call(int number, uintptr_t argument)
{
    register int r0 __asm__("r0") = number;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_begin(void)
{
}

void board_put(const char *text)
{
    call(SYS_WRITE0, (uintptr_t)text);
}

void board_end(int status)
{
    call(SYS_EXIT, status ? STOPPED_BADLY : STOPPED_WELL);
}
