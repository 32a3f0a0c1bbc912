"""The page: its sections from the runs' files, its styles and scripts inside, and a policy that lets nothing else in.

Every text is escaped by the template, and control characters are replaced; JSON stands in blocks that no browser runs.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from mixzoo.core.arguments import path_of
from mixzoo.core.errors import ConfigError, path_excerpt, printable
from mixzoo.core.storage import write_whole
from mixzoo.registry import catalogue as catalogues
from mixzoo.registry.catalogue import Catalogue
from mixzoo.runs.comparing import SIGNS
from mixzoo.runs.listing import HEADLINE, RunRecord
from mixzoo.runs.report.about_runs import best_of_each, part_summaries, run_texts, shared_parts, sweep_commands
from mixzoo.runs.report.charts import charts
from mixzoo.runs.report.explored import explored, to_explore
from mixzoo.runs.report.naming import HIDDEN, named
from mixzoo.runs.report.pictures import pictures_of
from mixzoo.runs.report.scores_section import lacks_definition, metric_texts, score_table

FOLDER = Path(__file__).parent
STYLES = ("uplot/uPlot.min.css", "page.css")
SCRIPTS = ("uplot/uPlot.iife.min.js", "page.js")
EXPLORER_STYLES, EXPLORER_SCRIPTS = ("explorer.css",), ("network.js", "explorer.js")  # only if there is an explorer
MOST_PICTURES = 12  # runs that each show a picture; of more runs only the best of each variant does
ENDINGS = (".html", ".htm")


@dataclass(frozen=True)
class Report:
    """A page about runs, as the text of an HTML file that needs no other."""

    html: str
    notes: tuple[str, ...] = ()  # a line for each run that is damaged, or that has not ended

    def save(self, path: str | Path) -> Path:
        """Write the page; a file that is there is overwritten.

        Raises ConfigError if the name does not end in .html, StorageError if the file cannot be written.
        """
        file = path_of(path, "path")
        check_ending(file)
        write_whole(file, self.html.encode())
        return file


def report(records: Sequence[RunRecord], *, explore: bool | Sequence[Path] = True) -> Report:
    """The page about these runs. A damaged run, or one that has not ended, is on it with a note.

    `explore` names the runs whose networks are put into the page to be tried; True chooses up to three. Raises
    ConfigError if there are no runs, or if a run to explore is none of them.
    """
    if not records:
        raise ConfigError("there are no runs to report on; give run directories, sweeps, or folders of them")
    own, naming = named(records)
    comparison, table = score_table(own, naming)
    best = best_of_each(own, HEADLINE, SIGNS)
    drawn = charts(own, naming)
    catalogue = _catalogue(own)
    runs = run_texts(own, naming)
    tried = explored(to_explore(own, explore), naming)
    live = any(each.explorer for each in tried)
    page = _environment().get_template("page.html.j2").render(
        runs=runs,
        shared=shared_parts(own),
        parts=part_summaries(own, catalogue),
        sweeps=sweep_commands(own, naming),
        table=table,
        charts=drawn,
        pictures=pictures_of(own if len(own) <= MOST_PICTURES else best, naming) if own else [],
        explored=tried,
        metrics=metric_texts(own, comparison, catalogue, naming.public),
        hidden=HIDDEN,
        styles=Markup("\n".join(map(_asset, (*STYLES, *(EXPLORER_STYLES if live else ()))))),
        scripts=[Markup(_asset(script)) for script in (*SCRIPTS, *(EXPLORER_SCRIPTS if live else ()))],
    )  # fmt: skip
    return Report(page, tuple(f"{run.name}: {note}" for run in runs for note in run.notes))


def check_ending(path: Path) -> None:
    """Raises ConfigError if the path does not end in .html."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path_excerpt(path)}: a report is an HTML file; end the name in .html")


def free_path() -> Path:
    """report.html in this folder, or with the first number that is free."""
    names = (Path(f"report{'' if i == 1 else f'-{i}'}.html") for i in count(1))
    return next(path for path in names if not path.exists())


def policy(styles: str, scripts: Sequence[str]) -> str:
    """A Content-Security-Policy that allows these styles and scripts, pictures inside the page, and nothing else."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(styles)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mixzoo.runs", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = partial(htmlsafe_json_dumps, dumps=partial(json.dumps, allow_nan=False))
    environment.globals["policy"] = policy
    return environment


def _shown(value: Any) -> Any:
    """A text without control characters, among them those that turn the direction of writing; markup as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _asset(name: str) -> str:
    """A style or a script of the package. Line ends are as the browser sees them, since they are in its hash."""
    text = (FOLDER / name).read_text(encoding="utf-8").replace("\r\n", "\n").strip()
    if name.startswith("uplot/") and name.endswith(".js"):
        licence = (FOLDER / "uplot/LICENSE").read_text(encoding="utf-8").strip()
        return f"/*\nuPlot\n{licence}\n*/\n{text}"
    return text


def _catalogue(records: Sequence[RunRecord]) -> Catalogue:
    """The descriptions of parts, from the cache if it has all parts and metrics of these runs: plugins load torch."""
    cached = catalogues.cached_catalogue()
    complete = all(summary for *_, summary in part_summaries(records, cached))
    return cached if complete and not lacks_definition(records, cached) else catalogues.load_catalogue()
