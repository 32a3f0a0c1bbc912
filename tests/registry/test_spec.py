"""Spec strings: a strict grammar, a canonical form, and errors that point at the character."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixzoo.core.errors import ConfigError
from mixzoo.registry.spec import MAX_DEPTH, MAX_LENGTH, Spec, parse_spec

names = st.from_regex(r"([A-Za-z0-9][A-Za-z0-9._-]{0,5}/)?[a-z][a-z0-9_]{0,8}", fullmatch=True)
keys = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
values = st.text(max_size=20).filter(str.isprintable)
flat = st.builds(Spec, names, st.dictionaries(keys, values, max_size=4))
specs = st.recursive(
    flat, lambda inner: st.builds(Spec, names, st.dictionaries(keys, values | inner, max_size=3)), max_leaves=6
).filter(lambda spec: depth(spec) <= MAX_DEPTH)


def depth(spec):
    return max((1 + depth(value) for value in spec.options.values() if isinstance(value, Spec)), default=0)


@given(specs)
@example(Spec("folder", {"path": 'a "quoted" \\ path, with = and (brackets)', "empty": ""}))
@example(Spec("one_of", {"a": Spec("d/mixup"), "b": Spec("chain", {"a": Spec("x", {"k": ")"}), "b": "(mixup)"})}))
def test_what_is_written_is_read_back(spec):
    assert parse_spec(str(spec)) == spec


@given(specs)
def test_the_written_form_is_canonical(spec):
    assert str(parse_spec(str(spec))) == str(spec)


@given(
    st.text(max_size=60)
    | st.text(alphabet='abkK=:,;"\\4２ ()é-_/[\0\n', max_size=30)
    | st.text(alphabet="aA:=(), ", max_size=60)
)
def test_only_a_config_error_ever_escapes(text):
    with suppress(ConfigError):
        parse_spec(text)


@given(st.text(max_size=60) | st.text(alphabet='abk=:,"\\4 ()é\0\n\r\x1b\u202e', max_size=100))
def test_an_error_is_one_line_or_three_that_a_terminal_shows_as_they_are(text):
    try:
        parse_spec(text)
    except ConfigError as err:
        first, *shown = str(err).split("\n")
        assert first.isprintable()
        assert len(first) < 1000
        if shown:
            spec, caret = shown
            assert (spec + caret).isprintable()
            assert 2 < len(caret) <= len(spec) + 1


@given(specs, st.integers(0, 200))
def test_a_spec_cut_short_is_refused_or_still_canonical(spec, cut):
    try:
        parsed = parse_spec(str(spec)[:cut])
    except ConfigError:
        return
    assert parse_spec(str(parsed)) == parsed


def test_options_are_written_in_alphabetical_order_with_quotes_where_needed():
    assert str(parse_spec('dirichlet:k=4,alpha="0.5"')) == "dirichlet:alpha=0.5,k=4"
    assert str(parse_spec('folder:path="/my photos"')) == 'folder:path="/my photos"'
    assert parse_spec("acme-mixers/stripes:k=2") == Spec("acme-mixers/stripes", {"k": "2"})


REFUSED = {  # text: (what was expected, the character at fault, from 1)
    "": ("a name", 1),
    ":k=2": ("a name", 1),
    "дирихле": ("a name", 1),
    "dirichlet:": ("an option", 11),
    "dirichlet:k": ("'=' after 'k'", 12),
    "dirichlet:k=": ("a value", 13),
    "dirichlet:k=2,,": ("an option", 15),
    "dirichlet:k=2,": ("an option", 15),
    "dirichlet:k=2,k=3": ("each option once", 15),
    "dirichlet:k=(2)": ("a name", 14),
    "dirichlet:k=[2": ("a value", 13),
    'dirichlet:k="2': ("a value", 13),
    'dirichlet:k="2"3': ("',' or the end", 16),
    'dirichlet:k="\x00"': ("printable characters", 13),
    'dirichlet:k="\u202e4"': ("printable characters", 13),
    "dirichlet:k=\x00": ("a value", 13),
    "dirichlet\n": ("':' and options", 10),
    "dirichlet:k=2=3": ("',' or the end", 14),
    "dirichlet:k={2": ("a value", 13),
    "dirichlet:k=2]": ("',' or the end", 14),
    'dirichlet:k=2"': ("',' or the end", 14),
    'dirichlet:k="2\\"': ("a value", 13),
    'dirichlet:k="\\n"': ("a value", 13),
    "dirichlet:k=\u202e4": ("a value", 13),
    "dirichlet:\x1b[2J": ("an option", 11),
    "(mixup)": ("a name", 1),
    "one_of:a=()": ("a name", 11),
    "one_of:a=(": ("a name", 11),
    "one_of:a=(mixup": ("':' and options, or the ')' of the '(' at character 10", 16),
    "one_of:a=(b:c=(mixup)": ("',' or the ')' of the '(' at character 10", 22),
    "one_of:a=(dirichlet:k=3,b=4": ("',' or the ')' of the '(' at character 10", 28),
    "one_of:a=(dirichlet:k=3,b=(mixup)": ("',' or the ')' of the '(' at character 10", 34),
    "one_of:a=(mixup))": ("',' or the end", 17),
    "one_of:a=mixup)": ("',' or the end", 15),
    "mixup)": ("':' and options, or the end", 6),
    "one_of:a=(mixup)b=(mixup)": ("',' or the end", 17),
    "one_of:a=((mixup))": ("a name", 11),
    "one_of:a=(mixup),a=(mixup)": ("each option once", 18),
    "one_of:a=(dirichlet:k=3,k=4)": ("each option once", 25),
    "one_of:a=(dirichlet:k=3,)": ("an option", 25),
    "one_of:a=(mixup,b=(mixup))": ("':' and options, or the ')'", 16),
    "one_of:(mixup)": ("an option", 8),
    "a:b=(" * (MAX_DEPTH + 1): (f"brackets in brackets at most {MAX_DEPTH} deep", 5 * MAX_DEPTH + 5),
    "a:b=(" * 700: (f"brackets in brackets at most {MAX_DEPTH} deep", 5 * MAX_DEPTH + 5),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_malformed_spec_is_refused_with_a_caret_under_the_fault(text):
    expected, character = REFUSED[text]
    with pytest.raises(ConfigError) as caught:
        parse_spec(text)
    first, shown, caret = str(caught.value).split("\n")
    assert first.startswith(f"spec: expected {expected}")
    assert first.endswith(f"at character {character}")
    assert caret == " " * (2 + character - 1) + "^"
    assert shown[2:] == "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: character + 19])


def test_an_endless_spec_is_refused():
    assert parse_spec("a" * MAX_LENGTH).name == "a" * MAX_LENGTH
    for length in (MAX_LENGTH + 1, 10_000):
        with pytest.raises(
            ConfigError, match=rf"^--mixer: {length} characters, and at most {MAX_LENGTH} are allowed; use a run file"
        ):
            parse_spec("a:k=".ljust(length, "("), "--mixer")


@pytest.mark.parametrize("text", ["a(" + " " * 4000, "A" * 4000 + "!", "a=" * 2000, "a:b=c:" * 600, "'" * 4000])
def test_a_long_text_is_refused_without_a_search_for_what_was_meant(text):
    """Each of these would keep the search for slips busy for a long time."""
    with pytest.raises(ConfigError) as caught:
        parse_spec(text)
    assert "Did you mean" not in str(caught.value)


def test_a_fault_far_into_a_long_spec_is_still_in_view():
    with pytest.raises(ConfigError) as caught:
        parse_spec("a:k=" + "x" * 500 + "(")
    _, shown, caret = str(caught.value).split("\n")
    assert shown[len(caret) - 1] == "("


def test_a_spec_in_brackets_is_a_spec_and_keeps_its_commas_to_itself():
    spec = parse_spec("one_of:b=(acme/stripes:k=3,angle=30),a=mixup,p=0.5")
    assert spec == Spec("one_of", {"a": "mixup", "b": Spec("acme/stripes", {"k": "3", "angle": "30"}), "p": "0.5"})
    assert str(spec) == "one_of:a=mixup,b=(acme/stripes:angle=30,k=3),p=0.5"


def test_brackets_nest_as_deep_as_is_said_and_may_stand_in_quotes():
    text = "m"
    for _ in range(MAX_DEPTH):
        text = f"m:a=({text})"
    assert depth(parse_spec(text)) == MAX_DEPTH
    assert parse_spec('a:b="(((((((((("').options == {"b": "(" * 10}


def test_spaces_around_names_values_and_signs_are_passed_over():
    expected = parse_spec("one_of:a=(dirichlet:alpha=2,k=3),b=mixup,p=0.5")
    assert parse_spec(" one_of : a = ( dirichlet : k = 3 , alpha = 2 ) , b = mixup , p = 0.5 ") == expected
    assert parse_spec("one_of: a=(dirichlet: k=3, alpha=2), b=mixup, p=0.5") == expected
    assert parse_spec('folder:path=" a b "').options == {"path": " a b "}


LOWER, COLON, COMMAS = "names are lower case", "options follow a colon", "options are separated by commas"
EQUALS, PLAIN = "an option is KEY=VALUE", "write it with plain characters"
BRACKETS, QUOTES = "a part with options goes in brackets", "text with other characters goes in double quotes"
UNQUOTED = "text goes in double quotes, a whole spec in none"
MEANT = {  # what is typed: the rule it breaks, what was meant
    "Dirichlet": (LOWER, "dirichlet"),
    "dirichlet:K=3": (LOWER, "dirichlet:k=3"),
    "DIRICHLET: K = 3 , Alpha = 2": (LOWER, "dirichlet:alpha=2,k=3"),
    "Acme/Stripes:K=2": (LOWER, "Acme/stripes:k=2"),
    "one_of:a=(Dirichlet:K=3)": (LOWER, "one_of:a=(dirichlet:k=3)"),
    'folder:Path="/A/B=C"': (LOWER, 'folder:path="/A/B=C"'),
    "one-of:a=mixup": ("names use '_', not '-'", "one_of:a=mixup"),
    "dirichlet k=4": (COLON, "dirichlet:k=4"),
    "dirichlet,k=4": (COLON, "dirichlet:k=4"),
    "dirichlet(k=4, alpha=2)": (COLON, "dirichlet:alpha=2,k=4"),
    "dirichlet[k=4]": (COLON, "dirichlet:k=4"),
    "dirichlet:{k=4}": (COLON, "dirichlet:k=4"),
    "mixup()": (COLON, "mixup"),
    "dirichlet:k=4;alpha=2": (COMMAS, "dirichlet:alpha=2,k=4"),
    "dirichlet:k=4 alpha=2": (COMMAS, "dirichlet:alpha=2,k=4"),
    "dirichlet:k==4": (EQUALS, "dirichlet:k=4"),
    "dirichlet:k:4": (EQUALS, "dirichlet:k=4"),
    "dirichlet:k=４": (PLAIN, "dirichlet:k=4"),
    "dirichlet:k=٤": (PLAIN, "dirichlet:k=4"),
    "dirichlet：k=4": (PLAIN, "dirichlet:k=4"),
    "folder:path=“/my photos”": (PLAIN, 'folder:path="/my photos"'),
    "'dirichlet:k=4'": (UNQUOTED, "dirichlet:k=4"),
    "folder:path='/my photos'": (UNQUOTED, 'folder:path="/my photos"'),
    "folder:path=/my photos": (QUOTES, 'folder:path="/my photos"'),
    "folder:path=/a,b/c": (QUOTES, 'folder:path="/a,b/c"'),
    "folder:path=/home/é": (QUOTES, 'folder:path="/home/é"'),
    "one_of:a=dirichlet:k=3": (BRACKETS, "one_of:a=(dirichlet:k=3)"),
    "one_of:a=dirichlet:k=3,b=mixup": (BRACKETS, "one_of:a=(dirichlet:k=3),b=mixup"),
    "one_of:a=(mixup:law=gaia),b=dirichlet:k=3": (BRACKETS, "one_of:a=(mixup:law=gaia),b=(dirichlet:k=3)"),
    "one_of:a=dirichlet(k=3),b=mixup": (BRACKETS, "one_of:a=(dirichlet:k=3),b=mixup"),
    "one_of:a=Dirichlet:K=3,b=mixup": (f"{LOWER}; {BRACKETS}", "one_of:a=(dirichlet:k=3),b=mixup"),
    "Dirichlet(K=3)": (f"{LOWER}; {COLON}", "dirichlet:k=3"),
}


@pytest.mark.parametrize("text", MEANT)
def test_a_slip_of_hand_is_named_with_the_whole_spec_that_was_meant(text):
    rule, spec = MEANT[text]
    with pytest.raises(ConfigError) as caught:
        parse_spec(text, "--mixer")
    assert str(caught.value) == f"--mixer {text}: {rule}. Did you mean '{spec}'?"
    assert str(parse_spec(spec)) == spec


def known():
    return {"mixup": ["law"], "dirichlet": ["k", "alpha"], "cutmix": ["k"], "one_of": ["a", "b", "p"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Dirichlt:K=3", r"names are lower case. Did you mean 'dirichlet:k=3'\?"),
        ("Cut-Mix:k=3", r"names are lower case; names use '_', not '-'. Did you mean 'cutmix:k=3'\?"),
        ("one_of:a=dirichlet:k=3,alpha=2,b=mixup", r"Did you mean 'one_of:a=\(dirichlet:alpha=2,k=3\),b=mixup'\?"),
        ("Zzz", r"expected a name such as 'cutmix' \(lower-case letters, digits, '_'\) at character 1"),
        ("Mixing!", r"expected a name such as 'mixup'"),
        ("", r"expected a name such as 'cutmix'"),
        ("dirichlet:", r"expected an option of dirichlet \(alpha, k\), as KEY=VALUE at character 11"),
    ],
)
def test_registered_names_and_options_say_more(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_spec(text, "--mixer", "mixer", known)


DATASETS = {"digits": [], "folder": ["path", "labels"], "mnist": ["root"], "kmnist": ["root"], "celeba": ["root"]}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("/path/MNIST", "dataset", "Did you mean 'mnist:root=/path/MNIST' or 'folder:path=/path/MNIST'"),
        ("./faces", "dataset", "Did you mean 'folder:path=./faces' or 'mnist:root=./faces'"),
        ("~/faces", "dataset", "Did you mean 'folder:path=~/faces'"),
        ("data/CelebA", "dataset", "Did you mean 'celeba:root=data/CelebA'"),
        ("/my faces", "dataset", "Did you mean 'folder:path=\"/my faces\"'"),
        ("C:\\faces", "dataset", "Did you mean 'folder:path=C:\\faces'"),
        ("s3://bucket/faces", "dataset", "data are read from files: download it, and give its folder as an option"),
        (
            "./stripes.py",
            "mixer",
            "a path is not the name of a part; load a plugin that is one file with --plugin ./stripes.py",
        ),
        ("/path/net", "autoencoder", "a path is not the name of a part"),
        ("--seed", "mixer", "--mixer --seed: a value is missing; --seed is a flag"),
    ],
)
def test_a_path_or_a_flag_in_place_of_a_name_says_where_it_goes(text, kind, message):
    with pytest.raises(ConfigError) as caught:
        parse_spec(text, "--mixer", kind, lambda: DATASETS)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
