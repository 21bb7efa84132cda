"""How a target's program is built and run: one place for build.sh, for the README and for npunet verify --run."""

from __future__ import annotations

from npunet.golden.boards.targets import Target

STANDARD = ("-std=c99", "-Wall", "-ffp-contract=off")
OUTPUTS = {True: ("semihosting", "uart"), False: ("linux",)}
IN_WORDS = {"semihosting": "through the debugger, or the emulator; the program ends by itself",
            "uart": "over a serial line; npunet verify stops at the line NPU DONE", "linux": "to standard output"}


def outputs(target: Target) -> tuple[str, ...]:
    """How lines can leave a target, the usual way first."""
    return OUTPUTS[target.board is not None]


def sources(target: Target, output: str) -> list[str]:
    """Files of a bundle that make the program, seen from the bundle's folder."""
    own = ["net_log.c", "cases.c", "serial_log.c", f"{output}.c", *(["start.c"] if target.board else []),
           "case_data.S"]
    return ["c/net.c", *(f"c/board/{name}" for name in own)]


def link_options(target: Target) -> list[str]:
    """What stands after the sources."""
    if target.board is None:
        return ["-lm"]
    return ["-nostartfiles", "--specs=nosys.specs", "-T", "c/board/board.ld", "-lm"]


def compiling(target: Target, output: str, program: str, optimise: tuple[str, ...] = ("-O2",)) -> list[str]:
    """The command that builds a program, to be run in the bundle's folder."""
    return [f"{target.prefix}gcc", *target.flags.split(), *STANDARD, *optimise, *sources(target, output),
            *link_options(target), "-o", program]


def running(target: Target, program: str) -> list[str]:
    """The command that runs a program in the target's emulator."""
    if target.board is None:
        return [target.emulator, program]
    return [target.emulator, "-M", target.board.machine, "-display", "none", "-chardev", "stdio,mux=on,id=lines",
            "-serial", "chardev:lines", "-semihosting-config", "enable=on,target=native,chardev=lines", "-kernel",
            program]
