"""Seeds and grids: the runs they make, and what is refused before any run starts."""

import pytest

from mixzoo.core.errors import ConfigError
from mixzoo.registry.config import resolve
from mixzoo.runs import sweep
from mixzoo.runs.grid import plan, slug
from toys import SMALL, TOY_FLAGS, TOY_NUMBERS, TOYS, ToyData, toy_zoo


def planned(*grids, seeds=None, flags=None, **numbers):
    zoo = toy_zoo()
    given = {kind: spec for kind, spec in TOY_FLAGS.items() if not any(g.startswith(f"{kind}=") for g in grids)}
    given |= flags or {}
    return plan(zoo, seeds, grids, given, TOY_NUMBERS | numbers, lambda f, n: resolve(zoo, None, f, n))


def test_each_seed_makes_a_run_that_differs_only_in_its_seed():
    members = planned(seeds="3,1, 2")
    assert [member.name for member in members] == ["seed=3", "seed=1", "seed=2"]
    assert [member.config.train.seed for member in members] == [3, 1, 2]
    first, second, _ = (member.config.to_toml() for member in members)
    assert first.replace("seed = 3", "seed = 1") == second


@pytest.mark.parametrize("seeds", ["1..3", "1-3", "1...3", "1:3", "1,2..3", "1,2,3"])
def test_a_range_of_seeds_includes_both_ends(seeds):
    assert [member.config.train.seed for member in planned(seeds=seeds)] == [1, 2, 3]


def test_grids_and_seeds_multiply_and_names_state_the_settings():
    members = planned("objective.lam=5,10", "train.lr=1e-3,1e-4", seeds="1,2")
    assert len(members) == 8
    assert members[0].name == "seed=1,objective.lam=5,train.lr=1e-3"
    assert members[-1].name == "seed=2,objective.lam=10,train.lr=1e-4"
    found = {(m.config.parts["objective"].lam, m.config.train.lr, m.config.train.seed) for m in members}
    assert found == {(lam, lr, seed) for lam in (5.0, 10.0) for lr in (1e-3, 1e-4) for seed in (1, 2)}
    assert [m.point for m in members[:3]] == [
        *[{"objective.lam": "5", "train.lr": "1e-3"}] * 2,
        {"objective.lam": "5", "train.lr": "1e-4"},
    ]


def test_a_grid_over_one_option_keeps_the_other_options_of_the_flag():
    members = planned("mixer.k=2,3", flags={"mixer": "dirichlet:alpha=0.5"})
    assert [(m.config.parts["mixer"].k, m.config.parts["mixer"].alpha) for m in members] == [(2, 0.5), (3, 0.5)]


def test_whole_parts_and_their_options_multiply_in_any_order():
    members = planned("mixer.k=3,4", "mixer=dirichlet,bernoulli")
    found = [(m.config.names["mixer"], m.config.parts["mixer"].k) for m in members]
    assert found == [("dirichlet", 3), ("bernoulli", 3), ("dirichlet", 4), ("bernoulli", 4)]


def test_a_part_with_commas_is_put_in_brackets_and_its_name_needs_no_quotes_in_a_shell():
    members = planned("mixer=mixup,(dirichlet:k=3,alpha=0.5),(one_of:a=(dirichlet:k=3,alpha=2),b=slerp)")
    assert [m.config.names["mixer"] for m in members] == ["mixup", "dirichlet", "one_of"]
    assert members[1].config.parts["mixer"].alpha == 0.5
    assert str(members[2].config.parts["mixer"].a) == "dirichlet:alpha=2.0,k=3"
    assert [m.name for m in members][1:] == [
        "mixer=dirichlet:k=3,alpha=0.5",
        "mixer=one_of:a=_dirichlet:k=3,alpha=2_,b=slerp",
    ]


def test_names_stay_unique_if_characters_are_replaced_or_cut():
    long = "x" * 200
    members = planned(f"dataset=folder:path=a/b,folder:path=a_b,folder:path=/{long}1,folder:path=/{long}2")
    names = [m.name for m in members]
    assert names[:2] == ["dataset=folder:path=a_b", "dataset=folder:path=a_b-2"]
    assert len(set(names)) == 4
    assert all("/" not in name and len(name) < 130 for name in names)


def test_the_default_number_of_threads_of_a_run_is_one():
    assert {m.config.train.threads for m in planned(seeds="1,2")} == {1}
    assert {m.config.train.threads for m in planned(seeds="1,2", threads=2)} == {2}
    assert [m.config.train.threads for m in planned("train.threads=1,2")] == [1, 2]


def test_zero_threads_on_the_command_line_leaves_the_choice_to_torch():
    assert {m.config.train.threads for m in planned(seeds="1,2", threads=0)} == {0}
    assert [m.config.train.threads for m in planned("train.threads=0,1")] == [0, 1]


def test_threads_of_a_run_file_are_used_unless_they_are_zero(tmp_path):
    """Every complete run file has threads = 0, whether or not its author chose it."""
    zoo = toy_zoo()
    for stated, expected in ((0, 1), (3, 3)):
        file = tmp_path / f"{stated}.toml"
        file.write_text(f"[train]\nthreads = {stated}\n")
        (member,) = plan(zoo, "1", [], TOY_FLAGS, TOY_NUMBERS, lambda f, n, file=file: resolve(zoo, file, f, n))
        assert member.config.train.threads == expected


def test_a_data_set_in_a_grid_sets_its_own_default_parts():
    zoo = toy_zoo()
    members = plan(zoo, None, ["dataset=digits,spiral"], {}, {}, lambda f, n: resolve(zoo, None, f, n))
    assert [m.config.names["autoencoder"] for m in members] == ["amr", "mlp"]


def test_a_sweep_is_named_after_the_parts_that_its_runs_share():
    assert slug(planned(seeds="1,2")) == "toy_data-amr-mixup-sweep"
    assert slug(planned("mixer=mixup,bernoulli")) == "toy_data-amr-sweep"


def test_the_same_run_under_two_names_is_refused():
    with pytest.raises(ConfigError, match=r"objective.lam=5 and objective.lam=5.0 are the same run; leave one out"):
        planned("objective.lam=5,5.0")


REFUSED = {
    "seed twice": (["--seeds", "1,2,1"], "--seeds 1,2,1: 1 is given twice; once is enough"),
    "seed twice in other words": (["--seeds", "1,01"], "--seeds 1,01: 1 is given twice"),
    "no seeds": (["--seeds", ","], "--seeds: ',' has an empty value; separate values by commas"),
    "a gap in seeds": (["--seeds", "1,,2"], "--seeds: '1,,2' has an empty value"),
    "no number": (["--seeds", "1,two"], "--seeds: seed='two' must be an integer >= 0"),
    "negative seed": (["--seeds", "-1"], "--seeds: seed='-1' must be an integer >= 0"),
    "both": (["--seeds", "1", "--seed", "2"], "--seeds goes without --seed; give one of them"),
    "seed twice in a range": (["--seeds", "1..3,2"], "--seeds 1..3,2: 2 is given twice; once is enough"),
    "a range that goes down": (["--seeds", "3..1"], "--seeds 3..1: a range must go up. Did you mean 1..3?"),
    "a range without end": (["--seeds", f"0..{10**18}"], f"{10**18 + 1} seeds; a sweep has at most 1000 runs"),
    "a range that is none": (["--seeds", "1..x"], "--seeds: seed='1..x' must be an integer >= 0"),
    "several seeds for one run": (
        ["--seed", "1,2,3"],
        "--seed 1,2,3: a run takes one value. Did you mean --seeds 1,2,3?",
    ),
    "seeds in brackets for one run": (["--seed", "[1,2,3]"], "Did you mean --seeds 1,2,3?"),
    "a range for one run": (["--seed", "1..3"], "--seed 1..3: a run takes one value. Did you mean --seeds 1..3?"),
    "several numbers for one run": (
        ["--lr", "1e-3,1e-4"],
        "--lr 1e-3,1e-4: a run takes one value. Did you mean --grid train.lr=1e-3,1e-4?",
    ),
    "a key without its table": (
        ["--grid", "lr=1e-3,1e-4"],
        "'lr' is not a table of a run file",
        "Did you mean train.lr?",
    ),
    "a key as a flag": (["--grid", "--weight-decay=0,1"], "Did you mean train.weight_decay?"),
    "an option without its part": (["--grid", "lam=5,10"], "Did you mean objective.lam?"),
    "an option that another part has": (["--grid", "k=2,3"], "Did you mean mixer.k?"),
    "an option of several parts": (
        ["--autoencoder", "acai:depth=4", "--discriminator", "acai:depth=4", "--grid", "depth=4,8"],
        "Did you mean autoencoder.depth or discriminator.depth?",
    ),
    "a colon for a dot": (["--grid", "mixer:k=2,3"], "Did you mean mixer.k?"),
    "bare seeds as a grid": (["--grid", "seed=1,2"], "Did you mean --seeds 1,2?"),
    "seeds with spaces": (["--seeds", "1 2 3"], "--seeds: seed='1 2 3' must be an integer", "Did you mean 1,2,3?"),
    "seeds as a list": (["--seeds", "[1, 2]"], "--seeds: seed='[1' must be an integer", "Did you mean 1,2?"),
    "values as a list": (
        ["--grid", "mixer=[mixup,slerp]"],
        "--grid mixer: give the values without brackets around all of them. Did you mean mixup,slerp?",
    ),
    "no values": (["--grid", "objective.lam="], "--grid objective.lam: '' has an empty value"),
    "no key": (["--grid", "objective.lam"], "--grid objective.lam: give KEY=VALUE,VALUE,..., such as"),
    "unknown part": (["--grid", "mixxer.k=2"], "'mixxer' is not a table of a run file", "Did you mean 'mixer'?"),
    "unknown option": (["--grid", "objective.lan=2"], "objective 'amr' has no option 'lan'", "Did you mean 'lam'?"),
    "an option that the part lacks": (["--grid", "mixer.k=2,3"], "--grid mixer.k: mixer 'mixup' has no option 'k'"),
    "an option that one of the parts lacks": (
        ["--grid", "mixer=dirichlet,mixup", "--grid", "mixer.k=3"],
        "--grid mixer.k: mixer 'mixup' has no option 'k' (it has: law)",
    ),
    "unknown number": (["--grid", "train.lrr=1"], "'lrr' is not a number of a run", "Did you mean 'lr'?"),
    "the train table": (["--grid", "train=1"], "--grid train: a key is PART, PART.OPTION or train.FIELD"),
    "too deep": (["--grid", "mixer.a.k=1"], "--grid mixer.a.k: a key is PART, PART.OPTION or train.FIELD"),
    "a dot too many": (["--grid", "mixer.=1"], "--grid mixer.: a key is PART, PART.OPTION or train.FIELD"),
    "seeds as a grid": (["--grid", "train.seed=1,2"], "--grid train.seed: seeds are given by --seeds"),
    "out of range": (["--grid", "objective.lam=5,0"], "--grid objective.lam: lam='0' must be a number > 0"),
    "number out of range": (["--grid", "train.lr=0.1,0"], "--grid train.lr: lr='0' must be a number > 0"),
    "unknown part's name": (["--grid", "mixer=mixup,mixpu"], "--grid mixer: unknown mixer 'mixpu'"),
    "commas without brackets": (
        ["--grid", "mixer=mixup,dirichlet:k=3,alpha=2"],
        "--grid mixer: 'alpha=2' is not a part; put a part with commas in brackets, such as mixer=mixup,(dirichlet",
    ),
    "key twice": (["--grid", "train.lr=1", "--grid", "train.lr=2"], "--grid train.lr is given twice"),
    "flag and grid": (["--lr", "1", "--grid", "train.lr=2"], "--grid train.lr: --lr sets it already; leave one out"),
    "part and grid": (["--mixer", "slerp", "--grid", "mixer=mixup"], "--grid mixer: --mixer slerp sets it already"),
    "option and grid": (
        ["--objective", "amr:lam=3", "--grid", "objective.lam=5"],
        "--grid objective.lam: --objective amr:lam=3 sets it already",
    ),
    "option of a grid's part and grid": (
        ["--grid", "mixer=dirichlet:k=3", "--grid", "mixer.k=4"],
        "--grid mixer.k: --grid mixer dirichlet:k=3 sets it already",
    ),
    "data root and grid": (
        ["--data-root", "there", "--grid", "dataset.root=here,elsewhere"],
        "--grid dataset.root: --data-root there sets it already; leave one out",
    ),
    "what does not go together": (
        ["--objective", "acai", "--grid", "objective.lam=3"],
        "--grid objective.lam: lam= has no meaning with variant='official'",
    ),
    "too many": (
        ["--grid", "train.lr=" + ",".join(map(str, range(1, 1002)))],
        "seeds times grids make 1001 runs; a sweep has at most 1000, so make several sweeps",
    ),
    "no jobs": (["--seeds", "1", "--jobs", "0"], "--jobs: jobs=0 must be an integer >= 1 and <= 1000"),
    "jobs for one run": (
        ["--jobs", "2"],
        "--jobs 2: a single run is one process; give --jobs with --seeds, --grid or a sweep",
    ),
    "bad device": (["--seeds", "1", "--device", "toaster"], "--device 'toaster' cannot be used here"),
    "no such engine here": (["--seeds", "1", "--device", "cpu", "--grid", "train.engine=eager,graph"], "CUDA graphs"),
    "parts that do not fit": (["--grid", "autoencoder=toy_net,amr:scales=4"], "images of 8x8 cannot be halved 4 times"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_invalid_grid_is_a_one_line_error_and_makes_no_directory(mixzoo, tmp_path, kind):
    arguments, *messages = REFUSED[kind]
    without = {"parts that do not fit": "--autoencoder", "data root and grid": "--data"}.get(kind)
    toys = [a for flag, spec in zip(TOYS[::2], TOYS[1::2]) if flag != without for a in (flag, spec)]
    toys += ["--data", "mnist"] if without == "--data" else []
    code, out, err = mixzoo("train", *toys, *SMALL, *arguments)
    assert code == 2
    for message in messages:
        assert message in err
    assert err.startswith("mixzoo: ")
    assert err.count("\n") == 1
    assert (out, list(tmp_path.iterdir())) == ("", [])


def test_runs_with_the_same_data_load_them_once_before_the_sweep_starts(tmp_path, monkeypatch):
    loaded, plain = [], ToyData.load

    def load(self, seed):
        loaded.append((type(self).__name__, self.salt, seed))
        return plain(self, seed)

    monkeypatch.setattr(ToyData, "load", load)
    grids = ["objective.lam=5,10", "dataset=toy_data,toy_data:salt=1,toy_tagged", "train.lr=1e-3,1e-4"]
    sweep._check_points(toy_zoo(), planned(*grids, seeds="3,4"), tmp_path, sweep.place_for(toy_zoo(), None, None))
    assert loaded == [("ToyData", 0, 3), ("ToyData", 1, 3), ("ToyTagged", 0, 3)]


def test_a_sweep_is_refused_if_the_data_of_one_run_are_missing(mixzoo, tmp_path):
    others = [a for a in TOYS if a not in ("--data", "toy_data")]
    code, _, err = mixzoo("train", *others, *SMALL, "--grid", "dataset=toy_data,mnist:root=nowhere")
    assert code == 3
    assert "no such folder; give root=FOLDER, the folder that holds MNIST; download=true fetches it" in err
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_under_torchrun_is_refused(mixzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = mixzoo("train", *TOYS, *SMALL, "--seeds", "1,2")
    assert code == 2
    assert "a sweep starts its own processes; leave torchrun out" in err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_refused_and_left_unchanged(mixzoo, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    code, _, err = mixzoo("train", *TOYS, *SMALL, "--seeds", "1,2", "--out", "sweep")
    assert code == 2
    assert "--out sweep: exists already; `mixzoo resume sweep` continues a sweep, or choose another directory" in err
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["sweep.json"]
