"""Spec strings: a strict grammar, a canonical form, and errors that point at the character."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mixzoo.errors import ConfigError
from mixzoo.spec import MAX_DEPTH, MAX_LENGTH, Spec, parse_spec

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
    st.text(max_size=60) | st.text(alphabet='abk=:,"\\4 ()é\0\n', max_size=30) | st.text(alphabet="a:=(),", max_size=60)
)
def test_only_a_config_error_ever_escapes(text):
    with suppress(ConfigError):
        parse_spec(text)


@given(st.text(max_size=60) | st.text(alphabet='abk=:,"\\4 ()é\0\n\r\x1b\u202e', max_size=100))
def test_an_error_is_three_lines_that_a_terminal_shows_as_they_are(text):
    try:
        parse_spec(text)
    except ConfigError as err:
        first, shown, caret = str(err).split("\n")
        assert (first + shown + caret).isprintable()
        assert 2 < len(caret) <= len(shown) + 1


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
    "Dirichlet": ("a name", 1),
    "дирихле": ("a name", 1),
    "dirichlet:": ("an option", 11),
    "dirichlet k=4": ("':' and options", 10),
    "dirichlet:k": ("'=' after 'k'", 12),
    "dirichlet:k=": ("a value", 13),
    "dirichlet:k==2": ("a value", 13),
    "dirichlet:k=2,,": ("an option", 15),
    "dirichlet:k=2,": ("an option", 15),
    "dirichlet:k=2,k=3": ("each option once", 15),
    "dirichlet:K=2": ("an option", 11),
    "dirichlet:k=２": ("a value", 13),
    "dirichlet:k=2 ": ("',' or the end", 14),
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
    "dirichlet:k=mixup(k=2)": ("',' or the end", 18),
    'dirichlet:k=2"': ("',' or the end", 14),
    'dirichlet:k="2\\"': ("a value", 13),
    'dirichlet:k="\\n"': ("a value", 13),
    "dirichlet:k=\u202e4": ("a value", 13),
    "dirichlet:k=٤": ("a value", 13),
    "dirichlet:\x1b[2J": ("an option", 11),
    "acme/": ("':' and options", 5),
    "acme//mixup": ("':' and options", 5),
    " mixup": ("a name", 1),
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
    "one_of:a=(dirichlet:K=3)": ("an option", 21),
    "one_of:a=(dirichlet:k=3,)": ("an option", 25),
    "one_of:a=(mixup,b=(mixup))": ("':' and options, or the ')'", 16),
    "one_of:(mixup)": ("an option", 8),
    "one_of:a=dirichlet:k=3": ("',' or the end; a part with options goes in brackets", 21),
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
            ConfigError, match=rf"^--mixer: {length} characters, at most {MAX_LENGTH} are allowed; use a run file"
        ):
            parse_spec("a:k=".ljust(length, "("), "--mixer")


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
