"""The blocks of code on a page of the documentation, followed in order."""

import re
from importlib.util import find_spec

KIT = find_spec("mixzoo.testing") is not None


def steps_of(page):
    """(what the block is, file, language, text) of each block of code."""
    return re.findall(r"(?:<!-- (file|in): (\S+) -->\n)?```(\w+)\n(.*?)```", page, flags=re.DOTALL)


def without_kit(text):
    """The text, without the commands that need mixzoo.testing if it is not installed."""
    return text if KIT else re.sub(r"(?m)^(pytest|mixzoo check) .*$", "", text)


def followed(steps, shell):
    """Write each file and run each command in order; returns the output."""
    printed = ""
    for kind, path, language, text in steps:
        if kind == "file":
            (shell.folder / path).write_text(text)
        elif kind == "in":
            assert text in (shell.folder / path).read_text(), path
        elif language == "sh":
            done = shell(without_kit(text))
            assert done.returncode == 0, text + done.stdout + done.stderr
            printed += done.stdout
    return printed
