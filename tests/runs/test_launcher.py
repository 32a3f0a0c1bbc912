"""Many processes: how many run at a time, what they print, how they are stopped."""

import os
import signal
import sys
import threading

import pytest

from mixzoo.core.errors import StorageError
from mixzoo.core.launcher import Job
from mixzoo.registry.contract import Contract
from mixzoo.runs.launcher import Watch, run_all
from mixzoo.runs.places import Place
from mixzoo_launchers.local import Local

POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print('ready', file=sys.stderr, flush=True); time.sleep(60)"  # noqa: E501


class Notes(Watch):
    """Records all events, and the largest number of processes that ran at once."""

    def __init__(self):
        self.names, self.printed, self.states, self.running, self.most_running = [], [], {}, 0, 0

    def started(self, name):
        self.names.append(name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)

    def line(self, name, text):
        self.printed.append((name, text))

    def ended(self, name, state):
        self.states[name] = state
        self.running -= 1


def jobs_of(tmp_path, scripts):
    return [
        Job(n, tmp_path, (sys.executable, "-c", code), tmp_path / f"{n}.log", tmp_path) for n, code in scripts.items()
    ]


def place_of(launcher):
    return Place(launcher, Contract("launcher", "checked", "a test"), "checked:a=1")


def ran(tmp_path, scripts, at_once=2, watch=None, launcher=None):
    """Run Python scripts; returns the signal that stopped them, and name -> (exit status, whether a signal came)."""
    ends = {}

    def ended(name, status, stopping):
        ends[name] = (status, stopping)
        return "done"

    place = place_of(launcher or Local())
    return run_all(jobs_of(tmp_path, scripts), place, at_once, watch or Notes(), ended), ends


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_commands_run_once_each_in_order_and_no_more_at_a_time_than_allowed(tmp_path, at_once):
    notes = Notes()
    stopped, ends = ran(tmp_path, dict.fromkeys("abcd", "import time; time.sleep(0.2)"), at_once, notes)
    assert stopped == ""
    assert ends == dict.fromkeys("abcd", (0, False))
    assert notes.names == list("abcd")
    assert notes.most_running == min(at_once, 4)
    assert notes.states == dict.fromkeys("abcd", "done")


def test_complete_lines_are_passed_on_with_their_names_and_kept_in_the_log(tmp_path):
    script = (
        "import sys, time\nfor part in ('one ', 'line\\n', 'é\\n'): sys.stderr.write(part); sys.stderr.flush(); "
        "time.sleep(0.12)\nprint('data are not shown')"
    )
    (tmp_path / "a.log").write_text("from before\n")
    notes = Notes()
    ran(tmp_path, {"a": script}, watch=notes)
    assert notes.printed == [("a", "one line"), ("a", "é")]
    assert (tmp_path / "a.log").read_text() == "from before\none line\né\n"


def test_the_others_run_if_one_fails_or_is_killed(tmp_path):
    scripts = {
        "fails": "raise SystemExit(6)",
        "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "good": "import time; time.sleep(0.3)",
    }
    _, ends = ran(tmp_path, scripts)
    assert ends == {"fails": (6, False), "killed": (-9, False), "good": (0, False)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_no_further_process_is_started(tmp_path, number):
    class Stop(Notes):
        def line(self, name, text):
            super().line(name, text)
            if len(self.printed) == 2:  # both have set their handlers
                os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    stop = Stop()
    stopped, ends = ran(tmp_path, dict.fromkeys("abc", POLITE), watch=stop)
    assert stopped == number.name
    assert ends == {"a": (75, True), "b": (75, True)}
    assert stop.names == ["a", "b"]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_a_second_ctrl_c_is_passed_on_as_sigint(tmp_path):
    script = (
        "import signal, sys, time\n"
        "def say(number, frame): print(signal.Signals(number).name, file=sys.stderr, flush=True)\n"
        "signal.signal(signal.SIGTERM, say)\nprint('ready', file=sys.stderr, flush=True)\n"
        "try: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(130)"
    )

    class Twice(Notes):
        def line(self, name, text):
            super().line(name, text)
            if text in ("ready", "SIGTERM"):
                os.kill(os.getpid(), signal.SIGINT)

    stopped, ends = ran(tmp_path, {"a": script}, watch=Twice())
    assert (stopped, ends) == ("SIGINT", {"a": (130, True)})


def test_an_error_in_this_process_ends_the_others(tmp_path):
    class Broken(Notes):
        def line(self, name, text):
            raise RuntimeError(text)

    script = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{POLITE}"
    with pytest.raises(RuntimeError, match="ready"):
        ran(tmp_path, {"a": script}, watch=Broken())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_run_all_works_outside_the_main_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(ran(tmp_path, {"a": "pass"})))
    thread.start()
    thread.join()
    assert found == [("", {"a": (0, False)})]


def test_a_log_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "a.log").mkdir()
    with pytest.raises(StorageError, match=r"a\.log: cannot be written: Is a directory"):
        ran(tmp_path, {"a": "pass"})
