"""Plans and measures workloads in processes of their own, and turns what goes wrong into results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from atlasbench.core.errors import AtlasBenchError, InstallationError, InvalidWorkloadError, UnsupportedError
from atlasbench.core.plan import Plan, SecondOpinion
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Environment, Measurement, Status
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Workload, is_file
from atlasbench.measure.workers import Worker, WorkerCallError, WorkerDiedError, WorkerServer, WorkerTimeoutError

if TYPE_CHECKING:  # it imports torch
    from atlasbench.measure.limits import DeviceLimits

COUNT_TIMEOUT_S = 120.0  # a count takes about a second; some models never finish without data
PROBE_TIMEOUT_S = 300.0
_JOBS = "atlasbench.measure.jobs"
_WORKER_ERRORS = (WorkerCallError, WorkerTimeoutError, WorkerDiedError)


class Session:
    """The measuring side of a run: one fork server, one worker for counting, a fresh worker for each workload.

    Torch is imported by the server only; the process that holds the session stays small.

    Args:
        threads: Cores to use on a CPU; all physical cores when None.
        force: Whether to try what is predicted not to fit in memory.
    """

    def __init__(self, *, threads: int | None = None, force: bool = False) -> None:
        self._server = WorkerServer()
        self._server_has_worked = False
        self._counter: Worker | None = None
        self._threads = threads
        self._force = force

    def probe_environment(self, device: str) -> Environment:
        """What this machine and device are.

        Raises:
            DeviceError: If the device is not there.
        """
        environment: Environment = self._probe("probe_environment_of", device, self._threads)
        return environment

    def choose_device(self, device: str, dtypes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Resolve `auto`, as a device and as a dtype, and check that the device is there and can do these dtypes.

        Raises:
            DeviceError: If it is not, or cannot.
        """
        chosen: tuple[str, tuple[str, ...]] = self._probe("choose_device", device, dtypes)
        return chosen

    def list_timm_models(self, pattern: str) -> list[str]:
        """Names of timm models that match a pattern."""
        names: list[str] = self._call_counter("list_timm_models", pattern)
        return names

    def count_params(self, names: Sequence[str], resolution: Resolution) -> list[int | None]:
        """Parameters of backbones built for a resolution; None for one that cannot be built for it."""
        params: list[int | None] = self._call_counter("count_params", tuple(names), resolution)
        return params

    def measure_limits(self, device: str, dtypes: Sequence[str]) -> DeviceLimits | None:
        """What the device can do at best; None where there is nothing to measure, or it fails."""
        if device == "meta":
            return None
        try:
            limits: DeviceLimits = self._probe("measure_limits", device, tuple(dtypes), self._threads)
        except _WORKER_ERRORS:
            return None
        return limits

    def check_model(self, workload: Workload) -> None:
        """Refuse a name or an option that is wrong, without counting.

        Raises:
            AtlasBenchError: If the model cannot be built for that reason. What only a size does is no error here.
        """
        try:
            self._count("check_model", workload)
        except (UnsupportedError, *_WORKER_ERRORS):
            return  # told when its turn comes, as a result

    def plan(self, workload: Workload) -> Plan | Measurement:
        """Resolve and count a workload; a measurement where that already decides how it ends."""
        try:
            plan: Plan = self._count("plan_workload", workload)
            return plan
        except (AtlasBenchError, *_WORKER_ERRORS) as error:
            return _ended_by(error, "counting: ")

    def second_opinion(self, workload: Workload) -> SecondOpinion | str:
        """What fvcore counts beside ours, at the smallest size that the model takes; or why there is nothing."""
        try:
            opinion: SecondOpinion = self._count("second_opinion", workload)
            return opinion
        except (AtlasBenchError, *_WORKER_ERRORS) as error:
            return str(error)

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        """Measure a planned workload in a fresh process."""
        try:
            with self.start_worker() as worker:
                measurement: Measurement = worker.call(
                    f"{_JOBS}:measure_if_it_fits",
                    plan,
                    protocol,
                    self._threads,
                    self._force,
                    timeout_s=protocol.timeout_s,
                    on_phase=on_phase,
                )
                return measurement
        except (AtlasBenchError, *_WORKER_ERRORS) as error:
            return _ended_by(error)

    def _probe(self, job: str, *arguments: object) -> Any:
        # A process of its own: looking at a device may start its driver, which does not survive a fork.
        with self.start_worker() as worker:
            return worker.call(f"{_JOBS}:{job}", *arguments, timeout_s=PROBE_TIMEOUT_S)

    def _count(self, job: str, workload: Workload) -> Any:
        if not is_file(workload.model):
            return self._call_counter(job, workload)
        # A process of its own: two files may import different modules of the same name.
        with self.start_worker() as worker:
            return worker.call(f"{_JOBS}:{job}", workload, timeout_s=COUNT_TIMEOUT_S)

    def _call_counter(self, job: str, *arguments: object) -> Any:
        if self._counter is None:
            self._counter = self.start_worker()
        try:
            return self._counter.call(f"{_JOBS}:{job}", *arguments, timeout_s=COUNT_TIMEOUT_S)
        except (WorkerTimeoutError, WorkerDiedError):
            self._counter = None
            raise

    def start_worker(self) -> Worker:
        """A fresh process that has touched no device.

        Raises:
            InstallationError: If the server cannot start.
            WorkerDiedError: If the process was ended before it could answer.
        """
        try:
            worker = self._server.start_worker()
        except InstallationError:
            if not self._server_has_worked:
                raise
            # Something ended it from outside, the lack of memory say: what is left of the sweep gets a new one.
            self._server.close()
            self._server = WorkerServer()
            worker = self._server.start_worker()
        self._server_has_worked = True
        return worker

    def close(self) -> None:
        """End every process."""
        self._server.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ended_by(error: Exception, doing: str = "") -> Measurement:
    """How a workload ended whose planning or measuring raised this."""
    status, hint = Status.ERROR, ""
    if isinstance(error, (UnsupportedError, InvalidWorkloadError)):
        status, doing = Status.UNSUPPORTED, ""
    elif isinstance(error, AtlasBenchError):
        doing = ""  # written for the user already
    elif isinstance(error, WorkerTimeoutError):
        status = Status.TIMEOUT
        hint = "" if doing else " (--timeout sets the limit)"
    elif isinstance(error, WorkerDiedError) and error.was_out_of_memory and not doing:
        status = Status.OOM
    return Measurement(status=status, message=f"{doing}{error}{hint}")
