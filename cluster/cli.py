"""The console script `apex-cluster`: up, submit, logs, list, stop, status, plan, down."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional, UseAppendAction, arg

from trainkit.command_line import EXIT_INTERRUPTED, at_least, run
from trainkit.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from cluster.jobs import Jobs

DESCRIPTION = "Jobs on a Ray cluster: try one on this machine, plan, submit, watch. --version prints the version."
EXIT_DOES_NOT_FIT = 1
PLANNERS = "apex_cluster.planners"  # entry points: a trainer's console script -> cluster.resources.Planner
DEFAULT_TRAINER = "apex-ray"

_ADDRESS_HELP = "the dashboard; default: RAY_API_SERVER_ADDRESS, the head of `up`, http://127.0.0.1:8265"
Address = Annotated[str, arg(metavar="http://HOST:PORT", help=_ADDRESS_HELP, help_behavior_hint="")]
Job = Annotated[Positional[str], arg(metavar="JOB", help="the job's id, as `list` shows it")]
Words = Annotated[Positional[tuple[str, ...]], arg(metavar="[TRAINER] PRESET [KEY=VALUE ...]", help_behavior_hint="")]


@dataclass(frozen=True)
class Up:
    """Start a Ray head on this machine, with dashboard and token."""

    cpus: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """CPUs it hands out; default: this machine's"""
    object_store_gib: Annotated[float | None, arg(metavar="GIB", help_behavior_hint="")] = None
    """shared memory for objects; default: Ray's, 30 % of memory"""
    port: int = 6379
    """of Ray itself, for cluster.address=HOST:PORT"""
    dashboard_port: int = 8265
    """of the dashboard, where jobs are submitted"""
    client_port: int = 10001
    """of Ray Client, for ray://HOST:PORT"""
    metrics_port: int = 8090
    """of the metrics for Prometheus"""

    def __call__(self) -> int:
        from cluster.local_head import add_boards, up
        from cluster.ports import Ports

        if self.cpus is not None:
            at_least("--cpus", self.cpus, 1)
        if self.object_store_gib is not None:
            at_least("--object-store-gib", self.object_store_gib, 0.1)
        store = None if self.object_store_gib is None else int(self.object_store_gib * 2**30)
        ports = Ports(self.port, self.dashboard_port, self.client_port, self.metrics_port)
        head = up(ports, self.cpus, store)
        session = head.session
        if session is None:
            raise UserError(f"the head at {head.dashboard} has ended as it started")
        boards = ", ".join(add_boards(session))
        print(
            f"dashboard  {head.dashboard}\n"
            f"connect    cluster.address=127.0.0.1:{ports.gcs} or ray://127.0.0.1:{ports.client}\n"
            f"metrics    http://127.0.0.1:{ports.metrics}/metrics\n"
            f"Grafana    {session / 'metrics' / 'grafana'} ({boards})\n"
            f"submit     apex-cluster submit -- apex-ray train cartpole\n"
            f"end        apex-cluster down"
        )
        return 0


@dataclass(frozen=True)
class Down:
    """End the head that `up` started, and no other Ray."""

    force: bool = False
    """also while jobs run: each is stopped first, so that it writes a checkpoint"""

    def __call__(self) -> int:
        from cluster.leave import leave
        from cluster.local_head import down, running_head

        head = running_head()
        if head is None:
            raise UserError("no head of apex-cluster up runs on this machine")
        leave(head.dashboard, self.force)
        down(head)
        print(f"ended the head at {head.dashboard}")
        return 0


@dataclass(frozen=True)
class Submit:
    """Run a command on the cluster: apex-cluster submit -- apex-ray train pong actors.count=64"""

    address: Address = ""
    name: Annotated[str, arg(metavar="JOB", help_behavior_hint="")] = ""
    """the job's id; default: Ray makes one up"""
    working_dir: Annotated[str, arg(metavar="FOLDER")] = "."
    """sent to the cluster, without what .gitignore names, run folders and environments"""
    exclude: Annotated[tuple[str, ...], arg(metavar="[PATTERN ...]", help_behavior_hint="")] = ()
    """more to leave out of it, in .gitignore's way of writing"""
    runs_dir: Annotated[str, arg(metavar="FOLDER", help_behavior_hint="")] = ""
    """holds the folder `runs` on the cluster, the same on every node; default, on this machine: here"""
    follow: bool = True
    """show the log until the job ends, and end with its exit code"""
    takes_trailing: ClassVar[bool] = True

    def __call__(self, command: Sequence[str] = ()) -> int:
        if not command:
            raise UserError("command line: nothing to run; expected apex-cluster submit -- apex-ray train PRESET ...")
        from cluster.dashboard import is_local
        from cluster.jobs import Jobs
        from cluster.local_head import dashboard_address

        address = dashboard_address(self.address)
        jobs = Jobs(address)
        name = jobs.submit(command, Path(self.working_dir), self.exclude, self.runs_dir, self.name)
        print(f"job        {name}\ndashboard  {address}/#/jobs/{name}", flush=True)
        if not self.runs_dir and not is_local(address):
            print("note       without --runs-dir, a relative runs_dir lies in the job's folder, which Ray deletes")
        return _follow(jobs, name) if self.follow else 0


@dataclass(frozen=True)
class Logs:
    """Print a job's log."""

    job: Job
    address: Address = ""
    follow: bool = False
    """go on until the job ends, and end with its exit code"""

    def __call__(self) -> int:
        jobs = _jobs(self.address)
        if self.follow:
            return _follow(jobs, self.job)
        print(jobs.logs(self.job), end="")
        return 0


@dataclass(frozen=True)
class List:
    """List the jobs of the cluster."""

    address: Address = ""

    def __call__(self) -> int:
        from cluster.jobs import job_table

        print(job_table(_jobs(self.address).all(), time.time()))
        return 0


@dataclass(frozen=True)
class Stop:
    """Have a job write a checkpoint and end."""

    job: Job
    address: Address = ""

    def __call__(self) -> int:
        ended = _jobs(self.address).stop(self.job)
        print(f"{self.job}: {ended.status.value}")
        return 0 if ended.status.is_terminal() else 1


@dataclass(frozen=True)
class Status:
    """Show nodes, running jobs and their actors."""

    address: Address = ""

    def __call__(self) -> int:
        from cluster.local_head import dashboard_address
        from cluster.status import status

        print(status(dashboard_address(self.address)))
        return 0


@dataclass(frozen=True)
class Plan:
    """Print what a run needs of each node, whether the cluster has it, the largest that fits, and what to expect."""

    words: Words = ()
    """those of the trainer's own train command, such as pong actors.count=64"""
    address: Annotated[str, arg(metavar="auto|HOST:PORT|ray://HOST:PORT", help_behavior_hint="")] = ""
    """the cluster; default: RAY_ADDRESS, the head of `up`, else this machine's cores"""
    given: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="KEY=VALUE", help_behavior_hint="")] = ()
    """a figure of yours in place of the trainer's own, such as samples_per_s=150000, link_gbit_per_s=25 or
    dollars_per_gib_hour=0.005; may be given several times"""

    def __call__(self) -> int:
        from cluster.plan import show_plan

        trainers = {point.name: point for point in entry_points(group=PLANNERS)}
        words = list(self.words)
        trainer = words.pop(0) if words and words[0].startswith("apex-") else DEFAULT_TRAINER
        if trainer not in trainers:
            known = ", ".join(sorted(trainers))
            raise UserError(f"no trainer {trainer!r}; expected one of {known}.{did_you_mean(trainer, trainers)}")
        if words and words[0] == "train":
            words.pop(0)
        fits, text = show_plan(trainers[trainer].load(), words, self.address, self.given)
        print(text)
        return 0 if fits else EXIT_DOES_NOT_FIT


def _jobs(address: str) -> Jobs:
    from cluster.jobs import Jobs
    from cluster.local_head import dashboard_address

    return Jobs(dashboard_address(address))


def _follow(jobs: Jobs, name: str) -> int:
    from cluster.jobs import exit_code

    try:
        for text in jobs.follow(name):
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        print(f"\nthe job goes on; apex-cluster logs {name} --follow, apex-cluster stop {name}", file=sys.stderr)
        return EXIT_INTERRUPTED
    job = jobs.wait(name, 30.0)
    print(f"{name}: {job.status.value}")
    return exit_code(job)


COMMANDS = {
    "up": Up,
    "submit": Submit,
    "logs": Logs,
    "list": List,
    "stop": Stop,
    "status": Status,
    "plan": Plan,
    "down": Down,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for a mistake, 1 for a plan that does not fit, a job's own."""
    return run("apex-cluster", COMMANDS, DESCRIPTION, argv)


if __name__ == "__main__":
    sys.exit(main())
