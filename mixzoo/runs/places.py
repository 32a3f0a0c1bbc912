"""Where runs are computed: the launcher that a user names, and whether the folder of the runs can be used there."""

import fcntl
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from inspect import getattr_static
from pathlib import Path
from typing import Any, cast

from mixzoo.core.errors import ConfigError, StorageError, printable
from mixzoo.core.launcher import End, Job, Launcher, Lost, Task
from mixzoo.core.storage import open_for_appending, storage_errors
from mixzoo.registry.contract import Contract, check_follows_protocol, described
from mixzoo.registry.session import is_registered_here
from mixzoo.registry.zoo import OWN, Zoo
from mixzoo.runs.listing import LOCK
from mixzoo.training.time_limit import TimeLimit

MOUNTS = Path("/proc/self/mountinfo")
OWN_LOCKS = {  # file system -> options with which it keeps a lock to one machine
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("local_lock=all", "local_lock=flock"),
    "lustre": ("localflock", "noflock"),
}
LOCAL = "local"  # the launcher unless another is named
QUEUE = ("begin_all", "attach")  # what a launcher with a queue has
ARGUMENTS = {  # with which its methods are called
    "begin": ("job",),
    "begin_all": ("jobs", "at_once"),
    "attach": ("job",),
    "check": (),
    "service": (),
}
POLL_SECONDS = 0.05
FAR_POLL_SECONDS = 0.5  # of jobs on other machines, whose logs are read over a network


@dataclass(frozen=True)
class Place:
    """A launcher that is to be used, its calls checked, and what it says about itself."""

    launcher: Launcher
    contract: Contract
    spec: str = LOCAL  # as it was given to --on
    only_here: bool = False  # whether it was registered in this process, so that no command knows it

    @property
    def is_local(self) -> bool:
        """Whether it is the one that is used if none is named, without options."""
        return self.contract.name in (LOCAL, f"{OWN}/{LOCAL}") and ":" not in self.spec

    def resume_command(self, directory: Path, flags: Sequence[str]) -> str:
        """What continues the run or sweep with this launcher, to be pasted; `flags` are those of `mixzoo resume`."""
        if self.only_here:
            return f"`mixzoo.resume({str(directory)!r}, on={self.spec!r})`"
        on = [] if self.is_local else ["--on", self.spec]
        return f"`{shlex.join(['mixzoo', 'resume', str(directory), *on, *flags])}`"

    @cached_property
    def here(self) -> bool:
        """Whether the jobs are processes of this machine."""
        value = self._member("here")
        if value is not None and type(value) is not bool:
            raise self.contract.broken("here", f"here is {described(value)}")
        return bool(value)

    @cached_property
    def has_queue(self) -> bool:
        """Whether the jobs go on without this process."""
        return self._member("begin_all") is not None

    @property
    def slots(self) -> int | None:
        """How many jobs run at a time unless the user says; None for all."""
        return self._integer("slots", least=1)

    @property
    def retries(self) -> int:
        """How often a job that was lost is begun again."""
        return self._integer("retries", least=0) or 0

    @property
    def poll_seconds(self) -> float:
        """The time between two looks at the jobs."""
        return POLL_SECONDS if self.here else FAR_POLL_SECONDS

    def check(self) -> None:
        """Raises PluginError if a member is wrong, ConfigError if the launcher says that it cannot be used here."""
        given = [name for name in QUEUE if self._member(name) is not None]
        if len(given) == 1:
            (other,) = set(QUEUE) - {*given}
            raise self.contract.broken(other, f"it has {given[0]}, for jobs in a queue, but no {other}")
        for name, arguments in ARGUMENTS.items():
            if (method := self._member(name)) is not None:
                self.contract.check_takes(name, method, *arguments)
        if (check := self._member("check")) is not None:
            self.contract.call("check", check)
        _ = self.here, self.slots, self.retries  # which may be known only after its check, of a cluster for example

    def begin(self, job: Job) -> Task:
        """Begin a job, or raise PluginError with what is wrong with the launcher."""
        return self._task("begin", self.contract.call("begin", self.launcher.begin, job))

    def begin_all(self, jobs: Sequence[Job], at_once: int) -> list[Task]:
        """Put jobs into the launcher's queue."""
        if not jobs:
            return []
        returned = self.contract.call("begin_all", self._member("begin_all"), jobs, at_once)
        if not isinstance(returned, Iterable):
            raise self.contract.broken("begin_all", f"begin_all returned {described(returned)}")
        tasks = self.contract.call("begin_all", list, returned)  # it may be a generator
        if len(tasks) != len(jobs):
            raise self.contract.broken("begin_all", f"begin_all returned {len(tasks)} tasks for {len(jobs)} jobs")
        return [self._task("begin_all", task) for task in tasks]

    def attach(self, job: Job) -> Task | None:
        """The job as an earlier process has begun it, if it is still in the launcher's queue."""
        if not self.has_queue:
            return None
        task = self.contract.call("attach", self._member("attach"), job)
        return None if task is None else self._task("attach", task)

    @contextmanager
    def service(self) -> Iterator[Mapping[str, str]]:
        """What has to run as long as the jobs do; yields environment variables for each of them."""
        if (start := self._member("service")) is None:
            yield {}
            return
        service = self.contract.call("service", start)
        if not isinstance(service, AbstractContextManager):
            raise self.contract.broken("service", f"service returned {described(service)}")
        variables = self.contract.call("service", service.__enter__)
        try:
            if not isinstance(variables, Mapping):
                raise self.contract.broken("service", f"service yields {described(variables)}")
            for name, text in variables.items():
                if not _is_variable(name, text):
                    raise self.contract.broken("service", f"service yields {{{described(name)}: {described(text)}}}")
            yield variables
        except BaseException:
            with suppress(Exception):  # the error that is on its way tells more
                self.contract.call("service", service.__exit__, *sys.exc_info())
            raise
        self.contract.call("service", service.__exit__, None, None, None)

    def end_of(self, task: Task) -> End | None:
        """How a job has ended, if it has."""
        end: End | None = self.contract.call("poll", lambda: task.poll())
        if end is None or isinstance(end, Lost) or (type(end) is int and abs(end) <= 255):
            return end
        raise self.contract.broken("poll", f"poll returned {described(end)}")

    def send_signal(self, task: Task, number: int) -> None:
        """Ask a job to stop."""
        self.contract.call("send_signal", lambda: task.send_signal(number))

    def _task(self, method: str, task: Any) -> Task:
        if not self.contract.call(method, isinstance, task, Task):
            raise self.contract.broken(
                method, f"{method} returned {described(task)}, which has no poll and send_signal"
            )
        return cast(Task, task)

    def _integer(self, name: str, least: int) -> int | None:
        value = self._member(name)
        if value is None or (type(value) is int and value >= least):
            return value
        raise self.contract.broken(name, f"{name} is {described(value)}")

    def _member(self, name: str) -> Any:
        """A member that a launcher need not have; None if it has none. It may be a property, which may fail."""
        declared = getattr_static(self.launcher, name, None) is not None
        return self.contract.call(name, getattr, self.launcher, name, *([] if declared else [None]))


def _is_variable(name: Any, text: Any) -> bool:
    """Whether an environment can have it."""
    are_texts = isinstance(name, str) and isinstance(text, str)
    return are_texts and bool(name) and "=" not in name and "\0" not in name + text


def launcher_named(zoo: Zoo, on: str | None) -> Place:
    """The launcher of this spec, ready to be used. Raises ConfigError if there is none, or if it cannot be used."""
    given = zoo.qualified_default("launcher", LOCAL) if on is None else on
    spec = zoo.spec("launcher", given)
    recipe = zoo.recipe("launcher", spec)
    contract = Contract("launcher", spec.name, zoo.plugin_of("launcher", spec.name))
    check_follows_protocol(contract, recipe)
    only_here = is_registered_here(zoo.find("launcher", spec.name))
    place = Place(recipe, contract, given, only_here)
    place.check()
    return place


def place_for(zoo: Zoo, on: str | None, limit: TimeLimit | None = None) -> Place:
    """The launcher of this spec, by default the one for processes of this machine.

    Raises ConfigError if there is none, if it cannot be used, or if it would not keep to the time `limit`.
    """
    place = launcher_named(zoo, on)
    if limit is not None and place.has_queue:
        raise ConfigError(
            f"{limit.name}: runs in the queue of {place.contract} go on without this command; leave it out, and give "
            "the launcher a time if it has an option for that"
        )
    return place


def check_place(place: Place, folder: Path) -> None:
    """Raises StorageError if runs on other machines could not keep one another from writing in this folder."""
    if not place.here:
        check_locks(folder)


def check_locks(folder: Path) -> None:
    """Raises StorageError if a second lock of a file of the folder is granted, or holds on one machine only."""
    path = folder / f"{LOCK}-test"
    advice = "so two machines might write to one run; use another folder for --out"
    with storage_errors(path):
        handles = [open_for_appending(path) for _ in range(2)]
    try:
        fcntl.flock(handles[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(handles[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            raise StorageError(f"{folder}: its file system grants a lock twice, {advice}")
    except OSError as err:
        raise StorageError(f"{folder}: files there cannot be locked ({err.strerror}), {advice}") from err
    finally:
        for handle in handles:
            os.close(handle)
        path.unlink(missing_ok=True)
    if option := _own_locks(folder):
        raise StorageError(f"{folder}: it is mounted with {option}, which keeps locks to one machine, {advice}")


def _own_locks(folder: Path) -> str:
    """The option with which the file system of the folder is mounted so that its locks hold on one machine only."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    found: tuple[int, str, list[str]] = (-1, "", [])
    for fields in (line.split(" ") for line in lines):
        # 36 35 98:0 /root /mount/point rw,noatime - nfs4 server:/home rw,local_lock=none; \040 is a blank
        end = fields.index("-") if "-" in fields else 0
        if end < 6 or len(fields) < end + 4:
            continue
        mounted = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if folder.resolve().is_relative_to(mounted) and len(mounted) >= found[0]:
            found = len(mounted), fields[end + 1], [*fields[5].split(","), *fields[end + 3].split(",")]
    return printable(next((option for option in found[2] if option in OWN_LOCKS.get(found[1], ())), ""))
