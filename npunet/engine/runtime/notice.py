"""What is said while the engine compiles: on a terminal a line that counts, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

EVERY = 15.0  # seconds between two lines where there is no terminal


class Notice:
    """To be entered while something compiles.

    what    : that is compiled
    usual   : seconds that it takes on a common machine
    quiet   : seconds before a word is said

    Nothing is said of what is ready before that. Python's compiling lets this thread in now and then.
    """

    def __init__(self, what: str, usual: float, quiet: float) -> None:
        self.what, self.usual, self.quiet = what, usual, quiet
        self._done, self._said = threading.Event(), False
        self._thread = threading.Thread(target=self._tell, name="npunet-notice", daemon=True)

    def __enter__(self) -> Notice:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        if self._said:
            how = "compiled" if kind is None else "stopped compiling"
            self._write(f"npunet: {how} {self.what} after {time.monotonic() - self._begun:.0f} s", "\n")

    def _tell(self) -> None:
        if self._done.wait(self.quiet):
            return
        self._said = True
        self._write(f"npunet: compiling {self.what} for this machine; this happens once and takes about "
                    f"{_minutes(self.usual)}", "\n")
        terminal = _is_terminal()
        while not self._done.wait(0.5 if terminal else EVERY):
            passed = time.monotonic() - self._begun
            share = f"{100 * passed / self.usual:.0f} %" if passed < self.usual else "this machine is slower or busy"
            self._write(f"npunet: {passed:.0f} s of about {self.usual:.0f} s ({share})", "" if terminal else "\n")

    def _write(self, text: str, end: str) -> None:
        try:
            start = "\r\033[K" if _is_terminal() else ""
            print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (ValueError, AttributeError):
        return False


def _minutes(seconds: float) -> str:
    return "a minute" if seconds < 90 else f"{round(seconds / 60)} minutes"
