"""The table of kinds: each row names a hook, a protocol, checks and signatures that there are."""

import sys
from subprocess import run

import pytest

import mixzoo
from mixzoo.core.errors import ConfigError
from mixzoo.core.launcher import HasCheck, HasService, Queue, Task
from mixzoo.core.logger import LogSession
from mixzoo.registry import hookspecs
from mixzoo.registry.kinds import KINDS, kind_named


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_row_names_what_there_is(kind):
    assert callable(getattr(hookspecs, kind.hook))
    assert kind.protocol is getattr(mixzoo, kind.protocol_name, kind.protocol)
    assert kind.suite
    members = {"__call__", *vars(kind.protocol), *kind.protocol.__annotations__}
    members |= vars(LogSession).keys() if kind.name == "logger" else set()  # what its `open` returns
    if kind.name == "launcher":
        members |= {"here", "slots", "retries"}.union(*map(vars, (Task, Queue, HasCheck, HasService)))
    assert {name for name in vars(kind.protocol) if not name.startswith("_")} <= set(kind.signatures) <= {
        *members, "build", "posterior", "draw_at", "discriminator_penalty", "stream", "data_files", "check_data",
        "better", "check_run",
    }  # fmt: skip


def test_a_kind_is_found_by_its_singular_and_its_plural():
    assert kind_named("mixers") is kind_named("mixer") is KINDS["mixer"]
    with pytest.raises(
        ConfigError, match=r"'mixrs' is not a kind of part \(.*, mixers, .*\)\. Did you mean 'mixers'\?"
    ):
        kind_named("mixrs")


def test_the_table_loads_no_torch():
    code = (
        "import sys, mixzoo.registry.kinds; mixzoo.registry.kinds.kind_named('mixer'); sys.exit('torch' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
