"""One table of runs: what differs, means and spreads over seeds, the best, and how sure its lead is."""

import csv
import io
import json
import os
from statistics import stdev

import pytest
from scipy.stats import ttest_rel
from test_listing import made

from mixzoo.core.errors import ConfigError
from mixzoo.runs.comparing import compare, paired_p
from mixzoo.runs.comparison_text import DATA_NOTE, EQUAL_NOTE, FORMATS, P_NOTE, number, render
from mixzoo.runs.listing import find_runs
from mixzoo.runs.stored_scores import Score, write_score

ACCURACY = {"mixup": (0.90, 0.91, 0.89), "dirichlet": (0.95, 0.95, 0.92)}
L1 = {"mixup": (0.10, 0.11, 0.12), "dirichlet": (0.13, 0.14, 0.16)}
BETTER = {"knn.accuracy": "more", "reconstruction.l1": "less"}


@pytest.fixture
def folder(tmp_path):
    for mixer, k in (("mixup", 2), ("dirichlet", 3)):
        for seed in range(3):
            numbers = {"knn__accuracy": ACCURACY[mixer][seed], "reconstruction__l1": L1[mixer][seed],
                       "probe__best_step": 50, "knn__accuracy_pixels": 0.8 + seed / 100}  # fmt: skip
            made(tmp_path / f"{mixer}-{seed}", mixer=mixer, k=k, seed=seed, better=BETTER, **numbers)
    return tmp_path


def test_variants_are_what_differs_but_for_the_seed(folder):
    table = compare(find_runs([folder]))
    assert [variant.name for variant in table.variants] == ["mixer=dirichlet:k=3", "mixer=mixup"]
    assert [len(variant.runs) for variant in table.variants] == [3, 3]
    assert table.scores == ("knn.accuracy", "reconstruction.l1")
    cell = table.cells[0, "knn.accuracy"]
    assert cell.mean == pytest.approx(0.94)
    assert cell.std == pytest.approx(stdev(ACCURACY["dirichlet"]))
    assert (cell.best, cell.p, cell.count) == (True, None, 3)


def test_less_is_better_of_a_distance_and_neither_of_a_step(folder):
    table = compare(find_runs([folder]), ["reconstruction", "probe.best_step"])
    assert [table.cells[i, "reconstruction.l1"].best for i in (0, 1)] == [False, True]
    assert not any(table.cells[i, "probe.best_step"].best for i in (0, 1))


def test_a_run_says_what_is_better_and_one_that_does_not_has_no_best(folder):
    for mixer, value in (("mixup", 3.0), ("dirichlet", 5.0)):
        write_score(folder / f"{mixer}-0", Score("mine", 400, {"gap": value, "rank": value}, better={"gap": "less"}))
    table = compare(find_runs([folder]), ["mine"])
    assert table.better == {**BETTER, "mine.gap": "less"}
    assert [table.cells[i, "mine.gap"].best for i in (0, 1)] == [False, True]
    assert not any(table.cells[i, "mine.rank"].best for i in (0, 1))


def test_the_lead_is_tested_on_the_seeds_that_both_have(folder):
    table = compare(find_runs([folder]))
    expected = ttest_rel(ACCURACY["mixup"], ACCURACY["dirichlet"]).pvalue
    assert table.cells[1, "knn.accuracy"].p == pytest.approx(expected)
    assert f"| 90.00 ± 1.00 (p={expected:.2g}) |" in render(table, "md")
    assert render(table, "md").splitlines()[-1] == P_NOTE
    alone = compare([run for run in find_runs([folder]) if run.seed == 0])
    assert "p=" not in render(alone, "md")
    assert paired_p({0: 1.0, 1: 2.0, 5: 9.0}, {0: 0.5, 1: 1.9, 7: 0.0}) == pytest.approx(
        ttest_rel([1.0, 2.0], [0.5, 1.9]).pvalue
    )
    assert paired_p({0: 1.0}, {0: 2.0}) is None
    assert paired_p({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}) is None
    assert paired_p({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}) is None
    assert paired_p({0: 260 / 360, 1: 220 / 360}, {0: 258 / 360, 1: 218 / 360}) is None  # equal but for rounding


def test_a_cell_without_p_because_every_seed_differs_by_the_same_is_explained(folder):
    for seed in range(3):
        numbers = {"knn__accuracy": ACCURACY["dirichlet"][seed] - 0.01, "reconstruction__l1": 0.5 + seed}
        made(folder / f"cutmix-{seed}", mixer="cutmix", seed=seed, better=BETTER, **numbers)
    table = compare(find_runs([folder]))
    cell = (next(i for i, v in enumerate(table.variants) if v.name == "mixer=cutmix"), "knn.accuracy")
    assert table.cells[cell].p is None
    assert table.equal_differences == (cell,)
    for form in ("md", "latex"):
        assert f"{EQUAL_NOTE}: mixer=cutmix (knn: accuracy)" in render(table, form)
    one_seed = compare([run for run in find_runs([folder]) if run.seed == 0])
    assert one_seed.equal_differences == ()
    assert EQUAL_NOTE not in render(one_seed, "md")
    assert EQUAL_NOTE not in render(compare([r for r in find_runs([folder]) if r.value("mixer") != "cutmix"]), "md")


def test_baselines_are_rows_and_no_columns(folder):
    text = render(compare(find_runs([folder])), "md")
    assert "pixels" not in text.splitlines()[0]
    assert text.splitlines()[4] == "| raw pixels |  | 81.00 ± 1.00 | - |"


def test_every_format_says_the_same(folder):
    table = compare(find_runs([folder]))
    markdown = render(table, "md").splitlines()
    assert markdown[0] == "| | runs | knn: accuracy, % | reconstruction: l1 |"
    assert markdown[2].startswith("| mixer=dirichlet:k=3 | 3 | **94.00 ± 1.73** | 0.1433 ± 0.01528 (p=0.")
    latex = render(table, "latex")
    assert r"mixer=dirichlet:k=3 & \textbf{94.00 $\pm$ 1.73} & 0.1433 $\pm$ 0.01528 (p=" in latex
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert float(rows[0]["knn.accuracy mean"]) == pytest.approx(0.94)
    assert rows[0]["knn.accuracy p"] == ""
    found = json.loads(render(table, "json"))
    assert found[0]["scores"]["knn.accuracy"]["best"] is True
    assert found[0]["settings"] == {"mixer": "dirichlet:k=3"}
    assert len(found[0]["runs"]) == 3


def test_options_of_the_same_part_are_compared_and_numbers_of_the_run(tmp_path):
    for name, lam, k in (("a", 5.0, 3), ("b", 10.0, 3), ("c", 10.0, 4)):
        made(tmp_path / name, mixer="dirichlet", k=k, lam=lam, knn__accuracy=0.5)
    table = compare(find_runs([tmp_path]))
    assert [variant.name for variant in table.variants] == [
        "mixer.k=3, objective.lam=5.0",
        "mixer.k=3, objective.lam=10.0",
        "mixer.k=4, objective.lam=10.0",
    ]


def test_runs_without_scores_and_older_twins_are_named_and_left_out(mixzoo, folder):
    made(folder / "stopped", state="interrupted", step=10, lam=3.0)
    code, out, err = mixzoo("compare", folder)
    assert code == 0
    assert err == f"mixzoo: {folder}/stopped: interrupted, it has no scores\n"
    assert "94.00 ± 1.73" in out
    made(folder / "twice", seed=1, knn__accuracy=0.1)
    for name in ("run.toml", "status.json"):
        os.utime(folder / "twice" / name, (0, 0))
    code, again, err = mixzoo("compare", folder)
    assert (code, again) == (0, out)
    newer = f"{folder}/mixup-1 is newer, with the same config and seed"
    assert f"mixzoo: {folder}/twice: left out, as {newer}\n" in err


def test_a_newer_twin_takes_over_the_scores_that_it_lacks(folder):
    made(folder / "twice", seed=1, mine__gap=3.0, knn__accuracy=0.1)
    for name in ("run.toml", "status.json"):
        os.utime(folder / "twice" / name, (0, 0))
    table = compare(find_runs([folder]))
    assert [(table.cells[1, name].mean, table.cells[1, name].count) for name in ("knn.accuracy", "mine.gap")] == [
        (pytest.approx(0.9), 3),
        (3.0, 1),
    ]
    (line,) = table.left_out
    assert line.endswith("; its mine counts, which the newer one lacks")
    assert "| 3 (n=1) |" in render(table, "md")


@pytest.mark.parametrize(
    ("schedule", "change", "earlier"),
    [
        ("cosine", ("train.steps", "8", "12"), "earlier=steps 8 up to step 8"),
        ("constant", ("train.lr", "0.1", "0.2"), "earlier=lr 0.1 up to step 8"),
        ("constant", ("mixer", '"slerp"', '"mixup"'), "earlier=mixer slerp up to step 8"),
        ("constant", ("train.steps", "8", "12"), ""),
        ("constant", ("train.steps", "8", "12", True), "earlier=steps 8 up to step 8"),
        ("cosine", ("train.log_every", "8", "12"), ""),
    ],
)
def test_a_run_whose_earlier_steps_had_other_settings_is_no_repeat(tmp_path, schedule, change, earlier):
    """Their run.toml is the same in the end, and what they were trained with is not."""
    for name, seed in (("straight-0", 0), ("straight-1", 1), ("resumed-0", 0)):
        run = made(tmp_path / name, seed=seed, knn__accuracy=0.9)
        file = run / "run.toml"
        file.write_text(file.read_text().replace("[train]\n", f'[train]\nschedule = "{schedule}"\n'))
    row = dict(zip(("step", "key", "was", "now", "mixer_follows"), (8, *change)))
    (tmp_path / "resumed-0" / "environment.json").write_text(json.dumps({"changes": [row]}))
    table = compare(find_runs([tmp_path]))
    if earlier:
        assert [(variant.name, len(variant.runs)) for variant in table.variants] == [(earlier, 1), ("all runs", 2)]
        assert table.left_out == ()
    else:
        assert [(variant.name, len(variant.runs)) for variant in table.variants] == [("all runs", 2)]
        assert len(table.left_out) == 1


def test_runs_on_different_data_are_not_compared_with_one_another(folder):
    for file in folder.glob("*/run.toml"):
        data = "digits" if "dirichlet" in file.parent.name else "mnist"
        file.write_text(f'[dataset]\nname = "{data}"\n' + file.read_text())
    table = compare(find_runs([folder]))
    assert table.by_data == ((0,), (1,))
    assert not any(cell.best or cell.p is not None for cell in table.cells.values())
    assert {row for row, _ in table.baselines} == {"raw pixels, dataset=digits", "raw pixels, dataset=mnist"}
    assert DATA_NOTE in render(table, "md")


def test_the_best_is_that_of_the_same_data_and_subsets_of_it_are_compared(folder):
    for file in folder.glob("*/run.toml"):
        images = 1000 if "dirichlet" in file.parent.name else 100
        file.write_text(f'[dataset]\nname = "digits"\ntrain_images = {images}\n' + file.read_text())
    table = compare(find_runs([folder]))
    assert table.by_data == ((0, 1),)
    assert table.cells[0, "knn.accuracy"].best


def test_scores_of_an_earlier_end_are_not_those_of_a_run_that_goes_on(folder):
    status = folder / "mixup-2" / "status.json"
    status.write_text(status.read_text().replace('"completed"', '"interrupted"').replace("400", "460"))
    table = compare(find_runs([folder]))
    assert table.left_out == (f"{folder}/mixup-2: interrupted, its scores are of step 400",)
    assert table.cells[1, "knn.accuracy"].count == 2


def test_the_best_is_chosen_over_the_seeds_that_all_have_and_ties_share_it(tmp_path):
    for mixer, values in (("mixup", {0: 0.9}), ("cutmix", {0: 0.9, 1: 0.1}), ("bernoulli", {0: 0.8, 1: 0.7})):
        for seed, value in values.items():
            made(tmp_path / f"{mixer}-{seed}", mixer=mixer, seed=seed, better=BETTER, knn__accuracy=value)
    table = compare(find_runs([tmp_path]))
    best = {v.name: table.cells[i, "knn.accuracy"].best for i, v in enumerate(table.variants)}
    assert best == {"mixer=mixup": True, "mixer=cutmix": True, "mixer=bernoulli": False}


def test_an_empty_text_is_the_beginning_of_no_score(folder):
    with pytest.raises(ConfigError, match=r"--score : no run has it \(.*\)\.$"):
        compare(find_runs([folder]), [""])


def test_a_score_is_named_by_its_beginning_if_no_metric_has_that_name(folder):
    runs = find_runs([folder])
    assert compare(runs, ["kn"]).scores == compare(runs, ["knn"]).scores == ("knn.accuracy",)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--score", "knn.acuracy"], "--score knn.acuracy: no run has it (knn.accuracy, "),
        (["--format", "html"], f"--format html: give one of {', '.join(FORMATS)}"),
        (["--where", "seed=9"], "none of the 6 runs has seed=9; `mixzoo runs` lists what they have"),
    ],
)
def test_what_cannot_be_compared_is_one_line(mixzoo, folder, arguments, line):
    code, out, err = mixzoo("compare", folder, *arguments)
    assert (code, out, err.count("\n")) == (ConfigError.exit_code, "", 1)
    assert line in err


def test_runs_without_any_score_are_one_line_that_says_how_to_get_some(mixzoo, tmp_path):
    made(tmp_path / "a", state="interrupted", step=10)
    made(tmp_path / "b", state="running", step=10, seed=1)
    code, out, err = mixzoo("compare", tmp_path)
    assert (code, out, err.count("\n")) == (ConfigError.exit_code, "", 1)
    assert f"no run has scores ({tmp_path}/a: interrupted, it has no scores, and 1 more); a run gets them" in err


@pytest.mark.parametrize(
    ("score", "value", "text"),
    [
        ("fid", 123456789.0, "1.235e+08"), ("fid", 98765.4321, "9.877e+04"), ("l1", 0.0000123456, "1.235e-05"),
        ("l1", 0.123456, "0.1235"), ("best_step", 20000.0, "20000"), ("l1", 0.0, "0"), ("accuracy", 0.98765, "98.77"),
    ],
)  # fmt: skip
def test_numbers_are_short(score, value, text):
    assert number(score, value) == text


def test_latex_takes_any_name(tmp_path):
    for mixer in ("a\\b~^<>|", "&%$#_{}"):
        made(tmp_path / str(len(mixer)), mixer=mixer.replace("\\", "\\\\"), knn__accuracy=0.5)
    text = render(compare(find_runs([tmp_path])), "latex")
    assert r"mixer=\&\%\$\#\_\{\} & " in text
    special = ("backslash{}b", "asciitilde{}", "asciicircum{}", "less{}", "greater{}", "bar{}")
    assert "mixer=a" + "".join(rf"\text{name}" for name in special) + " & " in text
