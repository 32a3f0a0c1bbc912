"""What was probably meant by a malformed spec: slips that can be undone without guessing at the meaning.

Each repair has a rule, in the words of an error message, and a function that returns the text without that slip.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping

Known = Callable[[], Mapping[str, Collection[str]]]  # the registered names of a kind, and the options of each

OF_A_FOLDER = ("folder", "hf")  # data sets whose `path` is no file

_WORD = r"[A-Za-z][A-Za-z0-9_-]*"
_NAME = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z][A-Za-z0-9_-]*"
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')
_TYPOGRAPHY = str.maketrans({**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("–—−‐‑", "-"), "‘": "'", "’": "'"})
_PATH = re.compile(r"~|\.{0,2}[/\\]|[A-Za-z]:[/\\]|[A-Za-z0-9+]+://")


def repaired(text: str, known: Known | None) -> Iterator[tuple[str, str]]:
    """Pairs of a rule and the text repaired by it: each rule alone, then all of them together."""
    rules, whole = [], text
    for rule, repair in (*_REPAIRS, ("a part with options goes in brackets", lambda text: _bracketed(text, known))):
        if (alone := repair(text)) != text:
            yield rule, alone
        if (together := repair(whole)) != whole:
            rules.append(rule)
            whole = together
            yield "; ".join(rules), whole


def is_path(text: str) -> bool:
    """Whether the text is not a spec but the path of a file or folder, or an address."""
    if re.match(rf"\s*{_NAME}\s*[:(]\s*{_WORD}\s*=", text):
        return False
    return bool(_PATH.match(text)) or "\\" in text or text.count("/") > 1 or text.endswith((".py", "/"))


def is_file_name(text: str) -> bool:
    """Whether the text ends as the name of a file of data does, such as sprites.npz."""
    return bool(re.search(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", text))


def path_advice(text: str, kind: str, names: Mapping[str, Collection[str]]) -> str:
    """What to write instead of a path that was given as the name of a part of that kind."""
    if "://" in text:
        return "a part has a name, and data are read from files: download it, and give its folder as an option"
    if kind != "dataset":
        plugin = f"; load a plugin that is one file with --plugin {text}" if text.endswith(".py") else ""
        return f"a path is not the name of a part{plugin}"

    # The path of a folder called mnist/ is most likely that data set's; any other folder may hold MNIST, or pictures.
    stems = re.split(r"[^a-z0-9]+", text.lower())
    named = [f"{name}:root" for name, options in names.items() if "root" in options and name in stems]
    if is_file_name(text):  # the data sets of one file
        named = [f"{name}:path" for name, options in names.items() if "path" in options and name not in OF_A_FOLDER]
        either = " or ".join(f"'{option}={_value(text)}'" for option in named)
        return f"a data set's name comes first, and a path is its option.{f' Did you mean {either}?' if named else ''}"
    rooted = named or [f"{name}:root" for name, options in names.items() if "root" in options and name == "mnist"]
    pictures = ["folder:path"] if "path" in names.get("folder", ()) else []
    either = " or ".join(f"'{option}={_value(text)}'" for option in (*named, *pictures, *([] if named else rooted)))
    return f"a data set's name comes first, and a path is its option. Did you mean {either}?"


def _value(text: str) -> str:
    """The text as a value, in double quotes if it has characters that a plain path has not."""
    if re.fullmatch(r"[A-Za-z0-9_./\\:~+-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _outside_quotes(repair: Callable[[str], str]) -> Callable[[str], str]:
    """The repair, applied only outside double quotes."""
    return lambda text: "".join(piece if piece.startswith('"') else repair(piece) for piece in _QUOTED.split(text))


def _plain(text: str) -> str:
    """The text with plain digits, signs, quotes and dashes."""
    return with_plain_digits(unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY))


def with_plain_digits(text: str) -> str:
    """The text with 0-9 in place of the decimal digits of any script."""
    return "".join(c if (digit := unicodedata.decimal(c, None)) is None else str(digit) for c in text)


def _unquoted(text: str) -> str:
    """The text without quotes around it, which some shells pass on, and with double quotes around values."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`":
        return text[1:-1]
    return re.sub(r"=\s*'([^'\"\\]*)'(?=\s*(,|\)|$))", r'="\1"', text)


def _lower(text: str) -> str:
    """The text with names and options in lower case; values and distributions stay as they are."""
    return _renamed(text, str.lower)


def _underscored(text: str) -> str:
    """The text with '_' in place of '-' in names and options."""
    return _renamed(text, lambda name: name.replace("-", "_"))


def _renamed(text: str, change: Callable[[str], str]) -> str:
    """The text with the names of options and of parts changed."""
    text = re.sub(rf"{_WORD}(?=\s*=)", lambda found: change(found[0]), text)
    begins = rf"(^\s*|\(\s*|=\s*(?={_NAME}:{_WORD}=))((?:[A-Za-z0-9][A-Za-z0-9._-]*/)?)({_WORD})"
    return re.sub(begins, lambda found: found[1] + found[2] + change(found[3]), text)


def _coloned(text: str) -> str:
    """NAME:OPTIONS in place of NAME(OPTIONS), NAME OPTIONS and NAME,OPTIONS."""
    if found := re.fullmatch(rf"({_NAME})\s*(?::\s*)?[(\[{{](.*)[)\]}}]", text.strip()):
        return f"{found[1]}:{inside}" if (inside := found[2].strip()) else found[1]
    return re.sub(rf"^(\s*{_NAME})\s*[ ,;?]\s*(?={_WORD}\s*=)", r"\1:", text)


def _separated(text: str) -> str:
    """The text with commas between options."""
    return re.sub(rf"(?<=[^\s,:=(])(?:\s*[;&|]\s*|\s+|(?<=[0-9]):)(?={_WORD}\s*=)", ",", text)


def _equalled(text: str) -> str:
    """KEY=VALUE in place of KEY:VALUE and KEY==VALUE."""
    text = re.sub(rf"({_WORD})\s*(?:==|:=)\s*", r"\1=", text)
    return re.sub(rf"(?<=[:,])(\s*{_WORD})\s*:\s*(?=[^,=:()]+(?:,|$))", r"\1=", text)


def _quoted_values(text: str) -> str:
    """The text with double quotes around paths that have spaces, commas or letters outside ASCII."""
    name, colon, rest = text.partition(":")
    options: list[str] = []
    for piece in rest.split(","):
        if options and not re.match(rf"\s*{_WORD}\s*=", piece):
            options[-1] += f",{piece}"
        else:
            options.append(piece)
    for i, option in enumerate(options):
        key, equals, value = option.partition("=")
        wordy = re.search(r"[/\\]|[^\W\d_] [^\W\d_]", value) or any(c.isalpha() and not c.isascii() for c in value)
        if equals and wordy and not value.startswith(("(", '"')):
            options[i] = f"{key}={_value(value)}"
    return name + colon + ",".join(options)


def _bracketed(text: str, known: Known | None) -> str:
    """The text with brackets around a part with options that is the value of an option.

    The options after it belong to it until one comes that the outer part has.
    """
    # a=dirichlet(k=3), written like a call, needs no guess about where the inner options end.
    text = re.sub(rf"=\s*({_NAME})\(([^()]*)\)", r"=(\1:\2)", text)

    # In a=dirichlet:k=3,b=mixup the options after the inner part belong to it until the outer part has one.
    name, colon, rest = text.partition(":")
    outer = known().get(name.strip(), ()) if known else ()
    options, inside = list[str](), False
    for piece in re.split(r",(?![^(]*\))", rest):
        key = piece.partition("=")[0].strip()
        if inside and outer and key not in outer:
            options[-1] = f"{options[-1][:-1]},{piece})"
        elif found := re.fullmatch(rf"(\s*{_WORD}\s*=)\s*({_NAME}:{_WORD}=[^()]+)", piece):
            options.append(f"{found[1]}({found[2]})")
            inside = True
        else:
            options.append(piece)
            inside = False
    return name + colon + ",".join(options)


_REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("write it with plain characters", _plain),
    ("text goes in double quotes, a whole spec in none", _unquoted),
    ("names are lower case", _outside_quotes(_lower)),
    ("names use '_', not '-'", _outside_quotes(_underscored)),
    ("options follow a colon", _coloned),
    ("options are separated by commas", _outside_quotes(_separated)),
    ("an option is KEY=VALUE", _outside_quotes(_equalled)),
    ("text with other characters goes in double quotes", _quoted_values),
)
