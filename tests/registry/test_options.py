"""Options: declared once as a dataclass, told to a person, checked at the edge."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixzoo import Mixer, Objective, Part
from mixzoo.core.errors import ConfigError, PluginError
from mixzoo.registry.options import REQUIRED, as_text, build, options_of, spec_of, to_table
from mixzoo.registry.spec import MAX_DEPTH, Spec, parse_spec
from mixzoo.registry.zoo import load_zoo


@dataclass(frozen=True, kw_only=True)
class Toy:
    path: Annotated[str, "a folder"]
    k: Annotated[int, Ge(2), Le(64), "sources"] = 2
    even: Annotated[int, MultipleOf(2)] = 4
    lam: Annotated[float, Gt(0), Lt(100), "weight"] = 10.0
    kind: Annotated[Literal["l1", "l2"], "which"] = "l1"
    flag: bool = False
    p: Annotated[float, Ge(0), Le(1), "chance"] | None = None

    def __post_init__(self):
        if self.flag and self.p is None:
            raise ValueError("flag=true needs p=")


def part(**given_options):
    return build(Toy, {"path": "here"} | given_options, "part 'toy'")


def test_text_and_typed_values_build_the_same_part():
    assert part(k="4", lam="1e-3", kind="l2", flag="true", p="0.5") == part(k=4, lam=1e-3, kind="l2", flag=True, p=0.5)


def test_a_whole_number_serves_as_a_float_and_none_as_nothing():
    assert part(lam="2").lam == part(lam=2).lam == 2.0
    assert part(p="none").p is None


def test_text_options_keep_text_that_looks_like_a_number():
    assert build(Toy, {"path": "007"}, "x").path == "007"
    assert build(Toy, {"path": "true"}, "x").path == "true"


REFUSED = [
    ("k", "1", "k='1' must be an integer >= 2 and <= 64"),
    ("k", 65, "k=65 must be an integer >= 2 and <= 64"),
    ("k", "2.5", "must be an integer"),
    ("k", 2.5, "must be an integer"),
    ("k", True, "k=True must be an integer"),
    ("k", "４", "must be an integer"),
    ("k", "1_0", "must be an integer"),
    ("k", " 4", "must be an integer"),
    ("k", "9" * 5000, "must be an integer"),
    ("k", "4.5", r"k='4.5' must be an integer"),
    ("k", 4.5, r"k=4.5 must be an integer"),
    ("k", "1e300", "must be an integer"),
    ("k", "10k", r"k='10k' must be an integer .*\. Did you mean 10000\?$"),
    ("k", "1.5k", r"must be an integer .*\. Did you mean 1500\?$"),
    ("k", "1M", r"must be an integer .*\. Did you mean 1000000\?$"),
    ("k", "1_000", r"must be an integer .*\. Did you mean 1000\?$"),
    ("k", "1,000", r"must be an integer .*\. Did you mean 1000\?$"),
    ("k", "１６", r"must be an integer .*\. Did you mean 16\?$"),
    ("k", "٤", r"must be an integer .*\. Did you mean 4\?$"),
    ("k", "k", r"k='k' must be an integer[^?]*$"),
    ("lam", "50%", r"must be a number .*\. Did you mean 0.5\?$"),
    ("k", "", "k='' must be an integer"),
    ("k", None, "k=None must be an integer"),
    ("k", [4], r"k=\[4\] must be an integer .*\. Give one value, not a list\.$"),
    ("k", {"k": 4}, "must be an integer"),
    ("even", "3", "a multiple of 2"),
    ("lam", "0", "lam='0' must be a number > 0 and < 100"),
    ("lam", "nan", "must be a number"),
    ("lam", float("nan"), "must be a number"),
    ("lam", "inf", "must be a number"),
    ("lam", "1e400", r"must be a number .*\. It is not a finite number\.$"),
    ("lam", float("inf"), "must be a number"),
    ("lam", "-inf", "must be a number"),
    ("lam", "NaN", "must be a number"),
    ("lam", "1_0", "must be a number"),
    ("lam", "1e", "must be a number"),
    ("lam", "100", "lam='100' must be a number > 0 and < 100"),
    ("lam", True, "lam=True must be a number"),
    ("lam", 10**400, "must be a number"),
    ("kind", "l3", r"kind='l3' must be one of 'l1', 'l2'\.$"),
    ("kind", "L2l2", r"kind='L2l2' must be one of 'l1', 'l2'\. Did you mean 'l2'\?$"),
    ("kind", "huber", r"kind='huber' must be one of 'l1', 'l2'\.$"),
    ("flag", "yes", "flag='yes' must be true or false"),
    ("flag", "tru", r"must be true or false\. Did you mean 'true'\?$"),
    ("flag", 1, "must be true or false"),
    ("p", "1.5", r"p='1.5' must be a number >= 0 and <= 1 \(or not given\)"),
    ("p", float("nan"), "p=nan must be a number"),
    ("path", 3, "path=3 must be text"),
    ("path", None, "path=None must be text"),
    ("kk", "3", r"'kk' is not an option \(allowed: even, flag, k, kind, lam, p, path\). Did you mean 'k'\?"),
]


@pytest.mark.parametrize(("key", "value", "message"), REFUSED)
def test_a_value_that_is_not_allowed_names_the_place_the_value_and_what_is(key, value, message):
    with pytest.raises(ConfigError, match=f"^part 'toy': .*{message}"):
        part(**{key: value})


def test_an_option_that_is_needed_is_asked_for():
    with pytest.raises(ConfigError, match=r"^part 'toy': path= is required, text: a folder$"):
        build(Toy, {}, "part 'toy'")


def test_what_the_part_itself_refuses_gets_the_place():
    with pytest.raises(ConfigError, match=r"^part 'toy': flag=true needs p=$"):
        part(flag="true")


@given(st.text(max_size=12), st.sampled_from(["k", "lam", "kind", "flag", "p", "even"]))
def test_any_text_builds_or_is_a_config_error(text, key):
    try:
        built = part(**{key: text})
    except ConfigError:
        return
    assert 2 <= built.k <= 64
    assert 0 < built.lam < 100
    assert built.p is None or 0 <= built.p <= 1


def test_options_are_told_with_type_range_default_and_help():
    told = {o.name: (o.type, o.allowed, o.default, o.help) for o in options_of(Toy)}
    assert told["path"] == ("text", "text", REQUIRED, "a folder")
    assert told["k"] == ("integer >= 2 and <= 64", "an integer >= 2 and <= 64", 2, "sources")
    assert told["lam"] == ("number > 0 and < 100", "a number > 0 and < 100", 10.0, "weight")
    assert told["kind"] == ("'l1', 'l2'", "one of 'l1', 'l2'", "l1", "which")
    assert told["flag"] == ("true|false", "true or false", False, "")
    assert told["p"] == ("number >= 0 and <= 1", "a number >= 0 and <= 1 (or not given)", None, "chance")


def test_a_table_holds_every_option_but_those_not_given():
    assert to_table(part()) == {"path": "here", "k": 2, "even": 4, "lam": 10.0, "kind": "l1", "flag": False}
    assert build(Toy, to_table(part(k="5", p="0.1")), "x") == part(k=5, p=0.1)


@given(st.floats(0, 100, exclude_min=True, exclude_max=True), st.integers(2, 64), st.booleans())
def test_every_allowed_value_survives_being_written_as_text(lam, k, flag):
    built = part(lam=lam, k=k, flag=flag, p=0.5)
    assert build(Toy, {key: as_text(value) for key, value in to_table(built).items()}, "x") == built


def test_bounds_belong_to_the_range_or_not_as_declared():
    assert (part(k=2).k, part(k="64").k, part(p=0).p, part(p="1").p) == (2, 64, 0.0, 1.0)
    for lam in (0, 100):
        with pytest.raises(ConfigError, match=f"lam={lam} must be a number > 0 and < 100"):
            part(lam=lam)


def test_a_field_outside_the_constructor_is_no_option():
    @dataclass(frozen=True)
    class Inner:
        k: int = 2
        sizes: str = field(default_factory=lambda: "8x8")
        hidden: int = field(init=False, default=1)

    assert [(option.name, option.default) for option in options_of(Inner)] == [("k", 2), ("sizes", "8x8")]
    with pytest.raises(ConfigError, match=r"'hidden' is not an option \(allowed: k, sizes\)"):
        build(Inner, {"hidden": 3}, "x")


def test_the_largest_seed_may_be_given_as_text():
    @dataclass(frozen=True)
    class Seeded:
        seed: Annotated[int, Ge(0), Lt(2**63)] = 0

    assert build(Seeded, {"seed": str(2**63 - 1)}, "x").seed == 2**63 - 1


@dataclass(frozen=True)
class Unbounded:
    rate: float = 1.0


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("k", "16.0", 16),
        ("k", "1.6e1", 16),
        ("k", "+16", 16),
        ("k", "016", 16),
        ("k", 16.0, 16),
        ("lam", ".5", 0.5),
        ("lam", "5.", 5.0),
        ("flag", "True", True),
        ("flag", "FALSE", False),
        ("p", "None", None),
    ],
)
def test_what_is_plainly_meant_is_taken(key, value, expected):
    found = getattr(part(**{"p": "0.5", key: value}), key)
    assert (found, type(found)) == (expected, type(expected))


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e22)
@example(5e-324)
def test_any_finite_number_survives_being_written_as_text(rate):
    assert build(Unbounded, {"rate": as_text(rate)}, "x").rate == rate


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "1e400", float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused_even_without_a_range(rate):
    with pytest.raises(ConfigError, match=r"^x: rate=.* must be a number\.( It is not a finite number\.)?$"):
        build(Unbounded, {"rate": rate}, "x")


# --- options that are parts

ZOO = load_zoo()
DIRICHLET = "alpha=1.0,k=3"
BERNOULLI = "k=2,p_per=example"


def mixer(text):
    return ZOO.recipe("mixer", text, f"--mixer {text}")


def test_a_part_is_given_by_name_or_by_spec_in_brackets_or_in_quotes():
    written = [
        "a=mixup,b=(dirichlet)",
        "a=(mixup),b=dirichlet",
        'a="mixup",b="dirichlet:k=3"',
        "b=(dirichlet:k=3),a=mixup",
    ]
    built = [mixer(f"one_of:{options}") for options in written]
    assert all(one == built[0] for one in built)
    assert (built[0].a.kind, built[0].a.name, built[0].b.recipe.k, built[0].c) == ("mixer", "mixup", 3, None)
    assert mixer("one_of:a=mixup,b=mixup,c=none") == mixer("one_of:a=mixup,b=mixup")


def test_a_part_is_told_as_the_spec_that_names_it_with_every_option():
    part = mixer("chain:a=bernoulli,b=(one_of:a=dirichlet,b=mixup,p=0.25)").b
    assert str(part) == as_text(part) == f"one_of:a=(dirichlet:{DIRICHLET}),b=(mixup:law=uniform),p=0.25"
    assert to_table(part.recipe)["a"] == {"name": "dirichlet", "k": 3, "alpha": 1.0}


@pytest.mark.parametrize("text", ["one_of:b=dirichlet,a=(bernoulli)", "one_of:a=bernoulli,b=(dirichlet:k=3)"])
def test_the_canonical_form_is_explicit_and_sorted_at_every_depth_and_stays_so(text):
    canonical = f"one_of:a=(bernoulli:{BERNOULLI}),b=(dirichlet:{DIRICHLET})"
    assert ZOO.canonical("mixer", text) == ZOO.canonical("mixer", canonical) == canonical
    assert str(spec_of("one_of", mixer(text))) == canonical


leaves = st.sampled_from(
    ["mixup", "(dirichlet:k=5,alpha=0.3)", "(bernoulli:p=0.25)", "network", "(mixzoo/channel:k=4)"]
)
nested = st.recursive(
    leaves,
    lambda inner: (
        st.builds("(one_of:a={},b={},d={},p=0.5)".format, inner, inner, inner)
        | st.builds("(chain:b={},a={})".format, inner, inner)
        | st.builds("(schedule:a={},b={},end=0.5)".format, inner, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=30)
@given(nested, nested)
def test_nested_parts_survive_a_spec_and_a_table(a, b):
    recipe = mixer(f"one_of:a={a},b={b}")
    assert mixer(str(spec_of("one_of", recipe))) == recipe
    assert ZOO.recipe_from("mixer", "one_of", to_table(recipe)) == recipe
    canonical = ZOO.canonical("mixer", f"one_of:a={a},b={b}")
    assert str(parse_spec(canonical)) == ZOO.canonical("mixer", canonical) == canonical


NESTED_REFUSED = {
    "one_of:a=mixup": r"^WHERE: b= is required, a mixer, its name or its spec in brackets: the second$",
    "one_of:a=mixup,b=mixupp": r"^WHERE in b: unknown mixer 'mixupp' \(available: .*\)\. Did you mean 'mixup'\?$",
    "one_of:a=(dirichlet:k=1),b=mixup": r"^WHERE in a: k='1' must be an integer >= 2 and <= 64\.$",
    "one_of:a=(dirichlet:kk=3),b=mixup": r"^WHERE in a: 'kk' is not an option .* Did you mean 'k'\?$",
    "one_of:a=mixup,b=(chain:a=(bernoulli:p=2),b=mixup)": r"^WHERE in b in a: p='2' must be a number >= 0 and <= 1",
    "one_of:a=(acme/mixup),b=mixup": r"^WHERE in a: unknown mixer 'acme/mixup'",
    "one_of:a=(digits),b=mixup": r"^WHERE in a: unknown mixer 'digits'",
    "one_of:a=3,b=mixup": r"^WHERE in a: expected a name such as 'bernoulli'.* at character 1\n  3\n  \^$",
    "one_of:a=none,b=mixup": r"^WHERE in a: unknown mixer 'none'",
    "schedule:a=mixup,b=mixup,start=0.5,end=0.5": r"^WHERE: start=0\.5 must be below end=0\.5$",
    "chain:b=mixup,a=(schedule:a=mixup,b=mixup,start=1)": r"^WHERE in a: start=1\.0 must be below end=1\.0$",
    "mixup:k=3": r"^WHERE: 'k' is not an option \(allowed: law\)\. Its k is always 2\. Did you mean 'dirichlet:k=3'\?",
    "mixup:alpha=0.5": r"^WHERE: 'alpha' is not an option \(allowed: law\)\. Did you mean 'dirichlet:alpha=0.5'\?",
    "slerp:k=3": r"^WHERE: 'k' is not an option \(allowed: none\)\. Its k is always 2\. It is an option of bernoulli",
    "one_of:a=(mixup:k=3),b=mixup": r"^WHERE in a: 'k' is not an option .* Did you mean 'dirichlet:k=3'",
    "one_of:a=Mixup,b=mixup": r"^WHERE in a Mixup: names are lower case\. Did you mean 'mixup'\?$",
    "dirichlet:k=(mixup)": r"^WHERE: k=\(mixup\) must be an integer >= 2 and <= 64\.$",
}


@pytest.mark.parametrize("text", NESTED_REFUSED)
def test_a_fault_inside_a_part_names_the_option_that_holds_it(text):
    with pytest.raises(ConfigError, match=NESTED_REFUSED[text].replace("WHERE", re.escape(f"--mixer {text}"))):
        mixer(text)


def test_brackets_where_text_is_wanted_are_refused_with_the_way_to_write_them():
    with pytest.raises(ConfigError, match=r"path=\(photos\) must be text\. Put text with brackets in double quotes\.$"):
        build(Toy, parse_spec("toy:path=(photos)").options, "x")


TABLES_REFUSED = [
    ({"a": 3}, r"^run\.toml \[mixer\]: a=3 must be a mixer, its name or its spec in brackets$"),
    ({"a": {"k": 3}}, r"^run\.toml \[mixer\.a\]: name=None must be the name of a mixer$"),
    ({"a": {"name": 3}}, r"^run\.toml \[mixer\.a\]: name=3 must be the name of a mixer$"),
    ({"a": {"name": "dirichlet", "k": 1}}, r"^run\.toml \[mixer\.a\]: k=1 must be an integer >= 2 and <= 64\.$"),
    ({"a": {"name": "one_of", "a": {"name": "x"}}}, r"^run\.toml \[mixer\.a\.a\]: unknown mixer 'x'"),
    ({"c": False, "a": "mixup"}, r"^run\.toml \[mixer\]: c=False must be a mixer, .* \(or not given\)$"),
]


@pytest.mark.parametrize(("table", "message"), TABLES_REFUSED)
def test_a_fault_inside_a_table_names_the_table(table, message):
    with pytest.raises(ConfigError, match=message):
        ZOO.recipe_from("mixer", "one_of", {**table, "b": "mixup"}, "run.toml [mixer]")


def test_parts_of_parts_end_at_a_depth_that_is_said_however_they_are_written():
    table = {"name": "mixup"}
    for _ in range(MAX_DEPTH):
        table = {"name": "chain", "a": table, "b": "mixup"}
    assert ZOO.recipe_from("mixer", table["name"], {key: table[key] for key in "ab"}).k == 2 + MAX_DEPTH
    for _ in range(2000):
        table = {"name": "chain", "a": table, "b": "mixup"}
    with pytest.raises(
        ConfigError,
        match=rf"\[mixer(\.a){{{MAX_DEPTH + 1}}}\]: parts inside parts are nested more than {MAX_DEPTH} deep$",
    ):
        ZOO.recipe_from("mixer", "chain", {key: table[key] for key in "ab"}, "run.toml [mixer]")


@dataclass(frozen=True)
class Holds:
    """Parts of two kinds."""

    first: Annotated[Part[Mixer], "to begin with"]
    also: Annotated[Part[Objective], "if anything"] | None = None


def test_an_option_that_takes_a_part_is_told_by_the_kind_of_part():
    told = {o.name: (o.type, o.allowed, o.required, o.default, o.help) for o in options_of(Holds)}
    assert told["first"] == ("mixer", "a mixer, its name or its spec in brackets", True, REQUIRED, "to begin with")
    allowed = "an objective, its name or its spec in brackets (or not given)"
    assert told["also"] == ("objective", allowed, False, None, "if anything")


def test_an_option_that_takes_what_is_no_part_is_a_fault_of_the_plugin():
    @dataclass(frozen=True)
    class Odd:
        a: Part[int]

    with pytest.raises(PluginError, match=r"^an option of type Part\[int\]: Part\[\.\.\.\] takes one of AutoEncoder, "):
        options_of(Odd)


@dataclass(frozen=True)
class NoMixer:
    """Not one."""


def test_a_nested_part_that_breaks_its_contract_is_named():
    with pytest.raises(
        PluginError,
        match=r"^mixer 'broken' is not a valid Mixer: it lacks __call__, at, draw, k; expected .*draw\(shape, rng\)",
    ):
        Part("mixer", "broken", NoMixer()).build(None)
    assert Spec("x", {"a": Spec("y")}) == parse_spec("x:a=(y)")
