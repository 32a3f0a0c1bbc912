"""mixzoo new-plugin: a package of one's own to begin with."""

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The part's name, such as stripes.")],
    mixer: Annotated[bool, typer.Option("--mixer", help="A mixing function. [the default]")] = False,
    objective: Annotated[bool, typer.Option("--objective", help="What both players descend on.")] = False,
    autoencoder: Annotated[bool, typer.Option("--autoencoder", help="Encoder and decoder.")] = False,
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set.")] = False,
) -> None:
    """Write an installable package with one working part and its tests, ./mixzoo-NAME, to change into your own.

    Example: mixzoo new-plugin stripes --mixer
    """
    from mixzoo.errors import ConfigError
    from mixzoo.kinds import KINDS
    from mixzoo.new_plugin import TEMPLATE_KINDS, distribution_of, write_plugin

    chosen = [kind for kind, on in zip(TEMPLATE_KINDS, (mixer, objective, autoencoder, dataset), strict=True) if on]
    if len(chosen) > 1:
        raise ConfigError(f"--{' and --'.join(chosen)}: a package begins with one part; give one of them")
    kind = chosen[0] if chosen else "mixer"
    for path in write_plugin(name, kind, Path()):
        typer.echo(path)
    home = distribution_of(name)
    flag = KINDS[kind].flag
    typer.echo(f"\nnext:\n  pip install -e './{home}[test]'\n  pytest {home}")
    typer.echo(f"  mixzoo check {name}\n  mixzoo train {flag} {name}")
