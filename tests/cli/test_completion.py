"""What a shell offers on Tab, by typer's protocol of environment variables."""

import os
import subprocess
import sys

import pytest

from mixzoo.cli.completion import _joined
from mixzoo.registry.catalogue import cached_catalogue, catalogue_of, load_catalogue
from toys import toy_zoo


@pytest.fixture
def offered(mixzoo, monkeypatch):
    """The words that bash is given for a line, of which the last word is being typed."""
    monkeypatch.setattr("mixzoo.registry.catalogue.cached_catalogue", lambda found: catalogue_of(toy_zoo()))

    def complete(line):
        words = line.split(" ")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv("_MIXZOO_COMPLETE", "complete_bash")
        code, out, err = mixzoo()
        assert (code, err) == (0, "")
        return out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --mixer diri", ["dirichlet"]),
        ("train --mixer dirichlet :", ["k=", "alpha="]),  # as bash splits it
        ("train --mixer dirichlet : k = 3,", ["3,alpha="]),
        ("train --mixer = dirichlet : k", ["k="]),
        ("train --mixer nothing :", []),
        ("evaluate a --metric knn : distance = e", ["euclidean"]),
        ("train --data toy_d", ["toy_data"]),
        ("train --engine ", ["auto", "eager", "compile", "graph", "graph+compile"]),
        ("evaluate a --device c", ["cpu", "cuda"]),
        ("compare a --format l", ["latex"]),
        ("list m", ["mixers", "metrics"]),
        ("show mixer cut", ["cutmix"]),
        ("show nothing cut", []),
        ("train --mixer one_of : a = dro", ["dropblock"]),
        ("train --mixer 'one_of:a=(diri", ["one_of:a=(dirichlet"]),  # bash breaks nothing that is in quotes
        ("train --mixer 'one_of:a=(dirichlet:k=3,al", ["one_of:a=(dirichlet:k=3,alpha="]),
        ("train --mixer 'one_of:a=(dirichlet:k=3),", [f"one_of:a=(dirichlet:k=3),{key}=" for key in "bcdp"]),
        ("train --mixer 'one_of:a=(dirichlet:k=3)", []),
        ("train --set train.lo", ["train.log_every="]),
        ("train --set objective.la", ["objective.lam="]),
        ("train --objective ae --set objective.la", []),
        ("train --set train.engine = e", ["eager"]),
        ("train --set mix", ["mixer.law="]),
        ("train --mixer dirichlet : k = 3 --set mix", ["mixer.k=", "mixer.alpha="]),
        ("train --grid mix", ["mixer.law=", "mixer="]),
        ("train --grid mixer = mixup,dirich", ["mixup,dirichlet"]),
        ("train --grid train.engine = eager,comp", ["eager,compile"]),
        ("check mixzo", ["mixzoo"]),
        ("check a --effort h", ["high"]),
    ],
)
def test_flags_offer_their_values(offered, line, words):
    assert [word for word in offered(f"mixzoo {line}") if not word.startswith("toy") or "toy" in line] == words


def test_runs_are_offered_from_here_from_the_folder_runs_and_from_the_folder_typed(offered, tmp_path):
    for name in ("here", "runs/a", "runs/b", "else/where", "else/grid"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ("sweep.json" if name == "else/grid" else "run.toml")).touch()
    assert offered("mixzoo resume ") == ["here", "runs/a", "runs/b"]
    assert offered("mixzoo rm runs/a runs/b") == ["runs/b"]
    assert offered("mixzoo compare else/") == ["else/grid", "else/where"]
    assert offered("mixzoo interpolate missing/") == []


def test_scores_terms_and_values_come_from_the_runs_named(offered, tmp_path):
    for name, lam in (("a", 5), ("b", 10)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.toml").write_text(f'[train]\ndeterministic = true\n[objective]\nname = "amr"\nlam = {lam}\n')
        (folder / "metrics.jsonl").write_text('{"step": 1, "autoencoder/fool": 1.5, "D(mix)": 0.5}\n{"cut off\n')
        (folder / "results.json").write_text('{"numbers": {"knn:k=5.test_accuracy": 0.9, "knn:k=5.k": 5}, "steps": 1}')
    assert offered("mixzoo compare runs --score kn") == ["knn:k=5", "knn:k=5.test_accuracy", "knn:k=5.k"]
    assert offered("mixzoo compare missing --score kn") == []
    assert offered("mixzoo plot runs --term f") == ["fool"]
    assert offered("mixzoo plot runs --term ") == ["autoencoder/fool", "fool"]  # a shell would take D( for its own
    assert offered("mixzoo runs --where obj") == ["objective=", "objective.lam="]
    assert offered("mixzoo compare runs --where objective.lam =") == ["5", "10"]
    assert offered("mixzoo runs --where train.deterministic = t") == ["true"]
    assert offered("mixzoo runs --sort ag") == ["age"]
    assert offered("mixzoo resume runs/a --set objective.l") == ["objective.lam="]
    (tmp_path / "runs/a/run.toml").write_text('[objective]\nname = "ae"\n')
    assert offered("mixzoo resume runs/a --set objective.l") == []


def test_names_come_from_the_cache_and_no_torch_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_catalogue().registered == []
    load_catalogue()
    line = {"COMP_WORDS": "mixzoo train --mixer diri", "COMP_CWORD": "3", "_MIXZOO_COMPLETE": "complete_bash"}
    program = (
        "import sys; sys.argv = ['mixzoo']\nfrom mixzoo.cli.app import main\n"
        "try: main()\nfinally: assert not {'torch', 'mixzoo_mixers.weights'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dirichlet\n", "")


def test_words_that_bash_broke_are_one_again():
    assert _joined(["a", "--m", "b", ":", "k", "=", "3,c", "=", ""]) == ["a", "--m", "b:k=3,c=", ""]
    assert _joined(["a", "=", "b", "c"]) == ["a=b", "c"]


def test_the_script_for_bash_adds_no_space_after_an_option(mixzoo, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = mixzoo("--show-completion", "bash")
    assert code == 0
    assert "compopt -o nospace" in out
