"""Rows of bad_input.py: specs and options of parts."""

from bad_input import TINY, Row, mixzoo
from mixzoo.core.errors import escaped


def rejected(flag: str, spec: str, says: str) -> Row:
    """A part that is misspelt, on the command line of a small run."""
    shown = escaped(spec if len(spec) < 60 else f"{spec[:57]}...")
    return Row(f"{flag} {shown}", lambda folder: mixzoo(folder, "train", *TINY, flag, spec), 2, says)


WHOLE = "must be an integer >= 2 and <= 64"
VALUE = "expected a value, in double quotes if it holds spaces, commas, brackets or '=' at character 13"
HOSTILE = {  # spec -> a part of the line
    "dirichlet:": "expected an option of dirichlet (alpha, k), as KEY=VALUE at character 11",
    ":k=2": "expected a name such as 'bernoulli' (lower-case letters, digits, '_') at character 1",
    "dirichlet:k=": VALUE,
    "dirichlet:k": "expected '=' after 'k' at character 12",
    "dirichlet:k==2": "an option is KEY=VALUE. Did you mean 'dirichlet:k=2'?",
    "dirichlet:k=2,,": "expected an option of dirichlet (alpha, k), as KEY=VALUE at character 15",
    "dirichlet:k=2,k=3": "expected each option once ('k' is given twice) at character 15",
    **{f"dirichlet:k={k}": f"k='{k}' {WHOLE}" for k in ("-1", "0", "1", "1e9", "2.5", "true", "nan")},
    "dirichlet:k=1_0": "Did you mean 10?",
    "dirichlet:alpha=inf": "alpha='inf' must be a number >= 0.01 and <= 1000000.0",
    "dirichlet:alpha=1e-9": "alpha='1e-9' must be a number >= 0.01 and <= 1000000.0",
    "bernoulli:p=1.5": "p='1.5' must be a number >= 0 and <= 1 (or not given)",
    "one_of:a=(mixup": "expected ':' and options, or the ')' of the '(' at character 10",
    "one_of:a=" + "(one_of:a=" * 20 + "(mixup)" + ")" * 20: "expected brackets in brackets at most 8 deep",
    'dirichlet:k="3': VALUE,
    "dirichlet:k=3\x1b[31m": "text with other characters in double quotes at character 14",
    "dirichlet:k=\u202e3": VALUE,
    "dirichlet:k=\u0664": "write it with plain characters. Did you mean 'dirichlet:k=4'?",
    "dirichlet:k=" + "9" * 5000: "5012 characters, and at most 4096 are allowed; use a run file (--config)",
}

ROWS = [
    rejected("--mixer", "mixpu", "Did you mean 'mixup'?"),
    rejected("--mixer", "Dirichlet:K=3", "names are lower case. Did you mean 'dirichlet:k=3'?"),
    rejected("--mixer", "cut-mix:k=3", "names use '_', not '-'. Did you mean 'cutmix:k=3'?"),
    rejected("--mixer", "dirichlet(k=3)", "options follow a colon. Did you mean 'dirichlet:k=3'?"),
    rejected("--mixer", "dirichlet:k=3;alpha=2", "Did you mean 'dirichlet:alpha=2,k=3'?"),
    rejected("--mixer", "dirichlet:k=３", "write it with plain characters. Did you mean 'dirichlet:k=3'?"),
    rejected("--mixer", "dirichlet: k = 3 , alpha = 0", "alpha='0' must be a number >= 0.01"),
    rejected("--mixer", "dirichlet:k=1e2", "k='1e2' must be an integer >= 2 and <= 64"),
    rejected("--mixer", "dirichlet:k=3k", "Did you mean 3000?"),
    rejected("--mixer", "one_of:a=dirichlet:k=3,b=mixup", "Did you mean 'one_of:a=(dirichlet:k=3),b=mixup'?"),
    rejected("--mixer", "mixup:k=3", "Its k is always 2. Did you mean 'dirichlet:k=3'?"),
    rejected("--mixer", "mixup:law=Gaia!", "Did you mean 'gaia'?"),
    rejected("--mixer", "./stripes.py", "load a plugin that is one file with --plugin ./stripes.py"),
    rejected("--mixer", "--seed", "a value is missing; --seed is a flag"),
    rejected("--objective", "AMR:Lam=5", "Did you mean 'amr:lam=5'?"),
    rejected("--objective", "amr:lam=1e400", "It is not a finite number."),
    rejected("--data", "/data/MNIST", "Did you mean 'mnist:root=/data/MNIST' or 'folder:path=/data/MNIST'?"),
    rejected("--data", "./faces", "Did you mean 'folder:path=./faces'"),
    rejected("--data", "folder:path=/my faces", "Did you mean 'folder:path=\"/my faces\"'?"),
    rejected("--data", "C:\\faces", "Did you mean 'folder:path=C:\\faces'"),
    *(rejected("--mixer", spec, says) for spec, says in HOSTILE.items()),
]
