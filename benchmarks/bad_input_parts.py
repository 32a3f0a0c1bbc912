"""Rows of bad_input.py: specs and options of parts."""

from bad_input import TINY, Row, mixzoo


def rejected(flag: str, spec: str, says: str) -> Row:
    """A part that is misspelt, on the command line of a small run."""
    return Row(f"{flag} {spec}", lambda folder: mixzoo(folder, "train", *TINY, flag, spec), 2, says)


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
]
