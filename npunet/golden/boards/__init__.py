"""What a board needs to run a bundle's network: the folder c/board/ of a bundle that is made for a target.

    board.h  semihosting.c  uart.c | linux.c      how lines leave the board, and how the program ends
    start.c  board.ld                             vector table, FPU, variables; where everything lies (bare boards)
    cases.h  cases.c  case_data.S                 the bundle's cases
    serial_log.h  serial_log.c  net_log.c         runs them and prints what npunet verify reads (verify.serial_log)
    build.sh  target.json                         how to build and to run, for a person and for npunet verify --run

The rows of targets are data; all texts are files in templates. New targets come by a row, new boards by another one.
"""

from npunet.golden.boards.targets import TARGETS, Target, target_called
from npunet.golden.boards.write import check, write

__all__ = ["TARGETS", "Target", "check", "target_called", "write"]
