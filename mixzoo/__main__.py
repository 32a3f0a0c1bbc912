"""The command `mixzoo`, also as `python -m mixzoo`. Nothing but this is imported before a Ctrl-C is looked after."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; a SIGINT while it starts is one line and exit code 130."""
    signal.signal(signal.SIGINT, _leave)
    sys.unraisablehook = _not_ignored
    try:
        from mixzoo.cli.app import main as run

        run()
    except KeyboardInterrupt:  # where the command line is not read yet, or has ended
        _end()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once inside an import, which may swallow an exception or print it; elsewhere raise KeyboardInterrupt."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _end()
        frame = frame.f_back
    raise KeyboardInterrupt


def _not_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    """End at once on a SIGINT inside a destructor or a callback, whose exceptions Python prints and then ignores."""
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        _end()
    sys.__unraisablehook__(ignored)


def _end() -> None:
    os.write(2, b"\nmixzoo: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
