"""The `npunet` command, also as `python -m npunet`: Ctrl-C is one line from the first moment, while modules load."""

import sys


def main() -> int:
    """Load the command and run it; its exit status, 130 for Ctrl-C."""
    try:
        from npunet.cli import main as command

        return command()
    except KeyboardInterrupt:
        print("npunet: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
