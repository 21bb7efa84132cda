/* board.h: what the board gives to the program; semihosting.c, uart.c and linux.c give it in their way. */
#ifndef BOARD_H
#define BOARD_H

void board_begin(void);            /* before the first line */
void board_put(const char *text);  /* send a text on its way to npunet verify */
void board_end(int status);        /* after the last line: end the program, if that can be done */

#endif
