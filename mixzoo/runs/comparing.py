"""Which is better, and by how much: runs grouped by what differs in their run files, scores averaged over seeds.

mean ± sample standard deviation over seeds;  a difference is tested on the seeds that both rows have, paired
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from statistics import mean, stdev

from mixzoo.core.errors import ConfigError, listing, nearest
from mixzoo.runs.changes import earlier_settings
from mixzoo.runs.listing import SAME_RUN, RunRecord, flat
from mixzoo.runs.paper import PAPER, PaperMatch, match

BASELINES = {"_pixels": "raw pixels", "_untrained": "untrained network"}  # end of a score's name -> row
DETAILS = ("probe.best_step", "probe.last_validation_accuracy", "probe.last_test_accuracy")  # columns if asked for
SIGNS = {"less": -1, "more": 1}  # what a metric says is better of a score; of others no value is the best
EARLIER = "train.earlier"  # beside the keys of a run file
PAPER_RUNS = 3  # of a number in its tables
NOT_OF_THE_DATA = ("dataset.root", "dataset.download", "dataset.train_images")  # test images are the same


@dataclass(frozen=True)
class Variant:
    """The runs of one config, which differ in their seed alone."""

    settings: Mapping[str, str]  # key of the run file -> value, of the keys that differ between the variants
    runs: tuple[RunRecord, ...]

    @property
    def name(self) -> str:
        """What sets it apart, such as "mixer=bernoulli k=3"."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items() if value) or "all runs"

    @cached_property
    def data(self) -> tuple[tuple[str, str], ...]:
        """The data set and its options, as far as scores on it depend on them."""
        table = flat(self.runs[0].table)
        return tuple(
            (key, value)
            for key, value in sorted(table.items())
            if key.partition(".")[0] == "dataset" and key not in NOT_OF_THE_DATA
        )

    def by_seed(self, score: str) -> dict[int, float]:
        """The score of each seed that has it."""
        return {run.seed: run.numbers[score] for run in self.runs if score in run.numbers}


@dataclass(frozen=True)
class Cell:
    """A score of a variant over its seeds."""

    mean: float
    std: float | None  # sample standard deviation; None of a single run
    count: int
    best: bool = False
    p: float | None = None  # of the paired test against the best variant; None if it could not be made


@dataclass(frozen=True)
class Comparison:
    """Variants (rows) by scores (columns)."""

    variants: tuple[Variant, ...]
    scores: tuple[str, ...]
    left_out: tuple[str, ...] = ()  # runs without a score, and why
    better: Mapping[str, str] = field(default_factory=dict)  # "less" or "more" of each score of which the runs say it
    paper: Mapping[int, PaperMatch] | None = None  # number of a variant -> its cell in the paper; None if not wanted

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The scores, each followed by the paper's numbers of it, if there are any."""
        columns = list(self.scores)
        for score in sorted({found.cell.score for found in (self.paper or {}).values()}):
            columns.insert(columns.index(score) + 1 if score in columns else len(columns), PAPER + score)
        return tuple(columns)

    @cached_property
    def by_data(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the variants, grouped by their data: scores on different data are not compared."""
        groups: dict[object, list[int]] = {}
        for i, variant in enumerate(self.variants):
            groups.setdefault(variant.data, []).append(i)
        return tuple(map(tuple, groups.values()))

    @cached_property
    def baselines(self) -> dict[tuple[str, str], Cell]:
        """(row, score) -> what raw pixels, or the network before training, reach; one value for each seed.

        With several data sets each has its own rows, which are named after it.
        """
        found: dict[tuple[str, str], Cell] = {}
        for ending, row in BASELINES.items():
            for group in self.by_data:
                runs = [run for i in group for run in self.variants[i].runs]
                settings = self.variants[group[0]].settings.items()
                data = ", ".join(f"{key}={value}" for key, value in settings if key.partition(".")[0] == "dataset")
                name = f"{row}, {data}" if len(self.by_data) > 1 else row
                for score in self.scores:
                    having = [run for run in runs if score + ending in run.numbers]
                    seeds = sorted({run.seed for run in having})
                    values = [mean(r.numbers[score + ending] for r in having if r.seed == seed) for seed in seeds]
                    if values:
                        spread = stdev(values) if len(values) > 1 else None
                        found[name, score] = Cell(mean(values), spread, len(values))
        return found

    def __str__(self) -> str:
        from mixzoo.runs.comparison_text import markdown

        return markdown(self)

    @cached_property
    def cells(self) -> dict[tuple[int, str], Cell]:
        """The cell of a variant, by its number, and a column; those without a value are left out.

        The best is that of the variants on the same data.
        """
        found: dict[tuple[int, str], Cell] = {}
        for score, group in product(self.scores, self.by_data):
            values = {i: own for i in group if (own := self.variants[i].by_seed(score))}
            best = _best(SIGNS.get(self.better.get(score, ""), 0), values)
            for i, own in values.items():
                spread = stdev(own.values()) if len(own) > 1 else None
                p = None if not best or i in best else paired_p(own, values[best[0]])
                found[i, score] = Cell(mean(own.values()), spread, len(own), i in best, p)
        for i, known in (self.paper or {}).items():
            found[i, PAPER + known.cell.score] = Cell(known.cell.mean, known.cell.std, PAPER_RUNS)
        return found

    @cached_property
    def equal_differences(self) -> tuple[tuple[int, str], ...]:
        """The cells that have no p only because their differences to the best are the same for every seed."""
        found = []
        for score, group in product(self.scores, self.by_data):
            values = {i: self.variants[i].by_seed(score) for i in group if (i, score) in self.cells}
            best = next((own for i, own in values.items() if self.cells[i, score].best), {})
            tried = {i: differences(own, best) for i, own in values.items() if not self.cells[i, score].best}
            found += [(i, score) for i, each in tried.items() if len(each) > 1 and are_equal(each)]
        return tuple(found)


def compare(records: Sequence[RunRecord], scores: Sequence[str] | None = None, *, paper: bool = False) -> Comparison:
    """The comparison of these runs by these scores, all that any of them has if none are named.

    `paper` adds the paper's number of each variant that is a cell of its tables. Of two runs with the same config and
    seed the newer one counts, and `left_out` names the other. Raises ConfigError if there are no runs, if none has
    scores, or a named score is one that none of them has.
    """
    if not records:
        raise ConfigError("there are no runs to compare; give run directories, sweeps, or folders of them")
    records, twice = without_older(records)
    having = [record for record in records if record.numbers]
    left_out = tuple(
        f"{record.path}: {record.problem or record.stale or f'{record.state}, it has no scores'}"
        for record in records if not record.numbers
    )  # fmt: skip
    if not having:
        more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise ConfigError(
            f"no run has scores ({left_out[0]}{more}); a run gets them at its end, or by `mixzoo evaluate RUN --metric "
            "NAME`"
        )
    known = list(dict.fromkeys(name for record in having for name in record.numbers))
    chosen = (
        [name for name in known if name not in DETAILS]
        if scores is None
        else [name for wanted in scores for name in _named(wanted, known)]
    )
    chosen = [name for name in chosen if not name.endswith(tuple(BASELINES))]
    variants = variants_of(having)
    better = {name: value for record in having for name, value in record.better.items()}
    cells = None
    if paper:
        cells = {i: cell for i, variant in enumerate(variants) if (cell := match(flat(variant.runs[0].table)))}
    return Comparison(variants, tuple(dict.fromkeys(chosen)), (*twice, *left_out), better, cells)


def variants_of(records: Sequence[RunRecord]) -> tuple[Variant, ...]:
    """The runs grouped by their run files without the seed, and what sets each group apart; in the runs' order."""
    tables = [trained_with(record) for record in records]
    keys = [key for key in dict.fromkeys(k for table in tables for k in table) if key not in SAME_RUN]
    differing = [key for key in keys if len({table.get(key, "") for table in tables}) > 1]
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record, table in zip(records, tables):
        groups.setdefault(tuple(table.get(key, "") for key in differing), []).append(record)
    settings = _settings([trained_with(runs[0]) for runs in groups.values()], differing)
    return tuple(Variant(own, tuple(runs)) for own, runs in zip(settings, groups.values()))


def trained_with(record: RunRecord) -> dict[str, str]:
    """A run's settings by key, with those of its earlier steps as EARLIER if they were others."""
    table = flat(record.table)
    earlier = earlier_settings(record.path, table.get("train.schedule", ""))
    return table | ({EARLIER: earlier} if earlier else {})


def without_older(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """The runs without those of which a newer one has the same config and seed, and a line for each of these.

    The newer one takes over the scores that only the older one has, as they are of the same config and seed.
    """
    newest: dict[tuple[object, ...], RunRecord] = {}
    older = []
    for record in sorted(records, key=lambda record: (bool(record.numbers), record.modified)):
        table = tuple((key, value) for key, value in trained_with(record).items() if key not in SAME_RUN)
        key = (record.seed, *table) if record.table else (record.path,)
        if (former := newest.get(key)) is not None and former.path != record.path:
            only = sorted({name.partition(".")[0] for name in former.numbers.keys() - record.numbers.keys()})
            taken = f"; its {', '.join(only)} counts, which the newer one lacks" if only else ""
            older.append(f"{former.path}: left out, as {record.path} is newer, with the same config and seed{taken}")
            record = replace(
                record, numbers={**former.numbers, **record.numbers}, better={**former.better, **record.better}
            )
        newest[key] = record
    chosen = {record.path: record for record in newest.values()}
    once = dict.fromkeys(record.path for record in records)
    return [chosen[path] for path in once if path in chosen], older


def paired_p(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """p of a paired t-test over the seeds that both have; None with fewer than two, or if all differences are equal.

    t = mean(d) / (std(d) / sqrt(n)) of the n differences d (Student 1908), two-sided.
    """
    common = sorted(a.keys() & b.keys())
    if len(common) < 2 or are_equal(differences(a, b)):
        return None  # equal differences, as of coarse accuracies, would make t infinite: no seed says how sure it is
    from scipy.stats import ttest_rel

    p = float(ttest_rel([a[seed] for seed in common], [b[seed] for seed in common]).pvalue)
    return None if math.isnan(p) else p


def differences(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """a - b of each seed that both have."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def are_equal(found: Sequence[float]) -> bool:
    """Whether two or more differences are equal, but for rounding."""
    return stdev(found) <= 1e-9 * max(map(abs, found))


def _best(sign: int, values: Mapping[int, Mapping[int, float]]) -> list[int]:
    """The variants with the best mean over the seeds that all of them have; none of one variant, or with sign 0."""
    common = set.intersection(*(set(own) for own in values.values())) if values else set()
    if len(values) < 2 or not sign or not common:
        return []
    means = {i: sign * mean(own[seed] for seed in sorted(common)) for i, own in values.items()}
    return [i for i in means if means[i] == max(means.values())]


def _named(wanted: str, known: Sequence[str]) -> list[str]:
    """The scores of this name, or of the metric of this name, else all that begin so (`knn` for `knn:images=5000`)."""
    found = [name for name in known if name == wanted or name.startswith(f"{wanted}.")]
    found = found or [name for name in known if name.startswith(wanted)]
    if not found or not wanted:
        raise ConfigError(f"--score {wanted}: no run has it ({listing(known)}).{nearest(wanted, known)}")
    return found


def _settings(tables: Sequence[Mapping[str, str]], differing: Sequence[str]) -> list[dict[str, str]]:
    """What sets each variant apart, as short as that allows: part -> spec, number of the run -> value.

    A part that differs by name is written with its k, and with the options that differ between variants which have that
    same part; the options of two different parts are not compared with one another.
    """
    named = [key for key in differing if "." not in key]
    found: list[dict[str, str]] = []
    for table in tables:
        own: dict[str, str] = {}
        for key in differing:
            kind, _, option = key.partition(".")
            if not option:
                own[kind] = table.get(key, "")
            elif kind in named:
                alike = {other.get(key, "") for other in tables if other.get(kind) == table.get(kind)}
                if key in table and (len(alike) > 1 or (option == "k" and table[key] != "2")):
                    own[kind] += ("," if ":" in own[kind] else ":") + f"{option}={table[key]}"
            else:
                own[key.removeprefix("train.")] = table.get(key, "")
        found.append(own)
    return found
