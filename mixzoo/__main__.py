"""The command `mixzoo`, also as `python -m mixzoo`. Nothing but this is imported before a Ctrl-C is looked after."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line; a SIGINT while it starts is one line and exit code 130."""
    signal.signal(signal.SIGINT, _leave)
    from mixzoo.cli.app import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once inside an import, which may swallow an exception or print it; elsewhere raise KeyboardInterrupt."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"\nmixzoo: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
