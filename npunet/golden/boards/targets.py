"""The processors that a bundle can be built for: one row each, data alone.

What is known of a processor is how its compiler is called and with which options, and of one board with it where its
memories and its serial line lie, and what emulates it. Another board with the same processor needs other numbers here
or in its c/board/board.ld, nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from npunet.golden.names import unknown

K, M = 1 << 10, 1 << 20


class Memory(NamedTuple):
    """A range of addresses that a program may fill."""

    origin: int
    length: int


class Board(NamedTuple):
    """Where things lie on a bare board.

    machine : QEMU's name of it
    start   : address of the vector table, one kilobyte
    code    : program and weights;  data : variables and stack;  cases : the inputs of the cases
    uart    : address of a serial line of Arm's CMSDK (data, state, control, baud rate)
    """

    machine: str
    start: int
    code: Memory
    data: Memory
    cases: Memory
    uart: int


class Target(NamedTuple):
    """One kind of processor.

    words    : what it is
    prefix   : of the GNU tools;  packages : Debian's packages with them;  flags : what the compiler is told of it
    emulator : program that runs what was built;  emulator_package : Debian's package with it
    board    : None where the program runs under Linux
    """

    name: str
    words: str
    prefix: str
    packages: tuple[str, ...]
    flags: str
    emulator: str
    emulator_package: str
    board: Board | None = None


BARE = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
CODE, DATA, UART = Memory(K, 4 * M - K), Memory(0x2000_0000, 4 * M), 0x4000_4000
PSRAM = Memory(0x2100_0000, 16 * M)

AN385 = Board("mps2-an385", 0, CODE, DATA, PSRAM, UART)
AN386 = Board("mps2-an386", 0, CODE, DATA, PSRAM, UART)
AN500 = Board("mps2-an500", 0, CODE, DATA, Memory(0x6000_0000, 16 * M), UART)
AN505 = Board("mps2-an505", 0x1000_0000, Memory(0x1000_0400, 4 * M - K), Memory(0x3800_0000, 4 * M),
              Memory(0x8000_0000, 16 * M), 0x5020_0000)
AN547 = Board("mps3-an547", 0x1000_0000, Memory(0x1100_0000, 2 * M), Memory(0x3100_0000, 4 * M),
              Memory(0x7000_0000, 16 * M), 0x5930_3000)


def _cortex(name: str, words: str, flags: str, board: Board) -> Target:
    return Target(name, words, "arm-none-eabi-", BARE, f"-mthumb -mcpu={name} {flags}".rstrip(), "qemu-system-arm",
                  "qemu-system-arm", board)


TARGETS = {target.name: target for target in (
    _cortex("cortex-m3", "Arm Cortex-M3, no FPU: floats in software", "", AN385),
    _cortex("cortex-m4", "Arm Cortex-M4 with its FPU", "-mfloat-abi=hard -mfpu=fpv4-sp-d16", AN386),
    _cortex("cortex-m7", "Arm Cortex-M7 with its FPU for float and double", "-mfloat-abi=hard -mfpu=fpv5-d16", AN500),
    _cortex("cortex-m33", "Arm Cortex-M33 with its FPU", "-mfloat-abi=hard -mfpu=fpv5-sp-d16", AN505),
    _cortex("cortex-m55", "Arm Cortex-M55 with FPU and Helium vectors", "-mfloat-abi=hard", AN547),
    Target("aarch64", "64-bit Arm under Linux", "aarch64-linux-gnu-",
           ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"), "-static", "qemu-aarch64", "qemu-user"),
    Target("riscv64", "64-bit RISC-V under Linux", "riscv64-linux-gnu-",
           ("gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"), "-static", "qemu-riscv64", "qemu-user"),
)}


def target_called(name: str) -> Target:
    """The row of a name. Raises ValueError that lists the names."""
    if not isinstance(name, str) or name not in TARGETS:
        raise ValueError(unknown("target", [str(name)], TARGETS))
    return TARGETS[name]
