"""A process is told from others with its number, and only it is killed."""

import subprocess
import sys
from dataclasses import replace

import pytest

from mixzoo.core.process_id import ProcessId, _machine

pytestmark = pytest.mark.skipif(not _machine(), reason="processes are known on Linux alone")
SELF = "from mixzoo.core.process_id import ProcessId; print(ProcessId.of_this().to_json(), flush=True); input()"


@pytest.fixture
def other():
    command = [sys.executable, "-c", SELF]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process, ProcessId.from_json(process.stdout.readline())
        process.kill()


def test_a_process_lives_until_it_ends_and_a_zombie_has_ended(other):
    process, known = other
    assert known.pid == process.pid
    assert (known.is_here, known.has_ended) == (True, False)
    process.stdin.close()
    process.stdout.read()  # until it has ended or nearly so; it stays a zombie until `wait`
    process.wait()
    assert known.has_ended


def test_a_process_is_killed(other):
    process, known = other
    assert known.kill()
    assert process.wait() == -9
    assert known.kill()  # it has ended: there is nothing to do


@pytest.mark.parametrize("change", [{"began": "1"}, {"machine": "elsewhere"}, {"machine": ""}])
def test_another_process_with_its_number_or_on_another_machine_is_not_killed(other, change):
    process, known = other
    stranger = replace(known, **change)
    assert stranger.kill() == ("began" in change)  # that one has ended
    assert stranger.has_ended == ("began" in change)
    assert process.poll() is None
    assert not known.has_ended
