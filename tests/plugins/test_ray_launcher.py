"""The Ray launcher without a cluster: what is missing, how a task ends and stops. (With one: test_on_clusters.py.)"""

import os
import re
import signal
import socket
import sys
import threading

import pytest
from test_slurm_launcher import POLITE, began, job_of

from mixzoo import ConfigError
from mixzoo_launchers import ray as launcher
from mixzoo_launchers.ray import Ray, run_here


def test_a_missing_package_is_one_line_before_anything_is_made(mixzoo, tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "find_spec", lambda name: None)
    code, _, err = mixzoo("train", "--data", "toy_data", "--on", "ray:gpus=0.25")
    assert (code, err) == (2, "mixzoo: launcher 'ray' needs the package ray: pip install 'mixzoo[ray]'\n")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cluster_is_one_line():
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=r"^launcher 'ray': no cluster at address=nowhere \(.*\); `ray start --head`"):
        Ray(address="nowhere").check()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{port}", "Connection refused"),
        ("ray://127.0.0.1:{port}", "Connection refused"),
        ("no.such.host.invalid:6379", ".+"),
        ("127.0.0.1:99999", ".+"),
        ("local", "local is not HOST:PORT of its head, and not auto"),  # Ray would start a cluster
        ("http://127.0.0.1", "is not HOST:PORT"),
    ],
)
@pytest.mark.parametrize("named", ["address", "variable"])
def test_an_address_at_which_nothing_listens_is_one_line_at_once(monkeypatch, address, reason, named):
    """Ray itself waits for minutes, without an ear for signals."""
    monkeypatch.setattr(launcher, "find_spec", lambda name: True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = address.format(port=taken.getsockname()[1])
        given = address if named == "address" else "auto"
        if named == "variable":
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(
            ConfigError, match=rf"no cluster at address={re.escape(given)} \(.*{reason}.*\); `ray start"
        ):
            Ray(address=given).check()


def test_a_task_returns_the_exit_code_of_its_run(tmp_path):
    assert run_here(job_of(tmp_path, "import os; raise SystemExit(int(os.environ['CODE']))", CODE="6")) == 6


def test_a_task_that_is_cancelled_stops_its_run_after_a_checkpoint(tmp_path):
    job = job_of(tmp_path, POLITE)

    def cancel():
        began(job)
        os.kill(os.getpid(), signal.SIGINT)  # as Ray interrupts the main thread of a worker

    thread = threading.Thread(target=cancel)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may have been started without it
    try:
        thread.start()
        assert run_here(job) == 75
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()


class StandIn:
    """What `check` calls of Ray, where it need not be installed."""

    def __init__(self, initialized):
        self.initialized, self.asked = initialized, []

    def is_initialized(self):
        return self.initialized

    def init(self, address, **options):
        self.asked.append(address)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as Ray does in the process that connects


@pytest.mark.parametrize("initialized", [False, True])
def test_a_connection_leaves_the_handler_of_sigterm_and_an_older_one_is_used(monkeypatch, initialized):
    ray, before = StandIn(initialized), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(launcher, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "ray", ray)
    if initialized:
        monkeypatch.setenv("RAY_ADDRESS", "local")  # which would be refused
    Ray().check()
    assert ray.asked == ([] if initialized else ["auto"])
    assert signal.getsignal(signal.SIGTERM) is before
