"""Plans and measures workloads in processes of their own, and turns what goes wrong into results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atlasbench.core.errors import AtlasBenchError, UnsupportedError
from atlasbench.core.plan import Plan
from atlasbench.core.protocol import Protocol
from atlasbench.core.record import Environment, Measurement, Memory, Status
from atlasbench.core.workload import Workload
from atlasbench.measure.workers import (
    Worker,
    WorkerCallError,
    WorkerDiedError,
    WorkerServer,
    WorkerTimeoutError,
)

COUNT_TIMEOUT_S = 120.0  # a count takes about a second; some models never finish without data
PROBE_TIMEOUT_S = 300.0


class Session:
    """The measuring side of a run: one fork server, one worker for counting, a fresh worker for each workload.

    Torch is imported by the server only; the process that holds the session stays small.
    """

    def __init__(self, *, threads: int | None = None, force: bool = False) -> None:
        self._server = WorkerServer()
        self._counter: Worker | None = None
        self._threads = threads
        self._force = force

    def probe_environment(self, device: str) -> Environment:
        """What this machine and device are.

        Raises:
            DeviceError: If the device is not there.
        """
        # A process of its own: looking at a device may start its driver, which does not survive a fork.
        with self._server.start_worker() as worker:
            environment: Environment = worker.call(
                "atlasbench.measure.jobs:probe_environment_of",
                device,
                self._threads,
                timeout_s=PROBE_TIMEOUT_S,
            )
        return environment

    def choose_device(self, device: str, dtypes: tuple[str, ...]) -> str:
        """Resolve `auto` and check that the device is there and can do these dtypes.

        Raises:
            DeviceError: If it is not, or cannot.
        """
        with self._server.start_worker() as worker:
            chosen: str = worker.call(
                "atlasbench.measure.jobs:choose_device", device, dtypes, timeout_s=PROBE_TIMEOUT_S
            )
        return chosen

    def list_timm_models(self, pattern: str) -> list[str]:
        """Names of timm models that match a pattern."""
        names: list[str] = self._call_counter("atlasbench.measure.jobs:list_timm_models", pattern)
        return names

    def measure_speed(self, device: str, dtype: str) -> float:
        """FLOPs a second of a large matrix product on the device: for planning only."""
        with self._server.start_worker() as worker:
            speed: float = worker.call(
                "atlasbench.measure.jobs:measure_speed",
                device,
                dtype,
                self._threads,
                timeout_s=PROBE_TIMEOUT_S,
            )
        return speed

    def check_model(self, workload: Workload) -> None:
        """Refuse a name or an option that is wrong, without counting.

        Raises:
            AtlasBenchError: If the model cannot be built for that reason. What only a size does is no error here.
        """
        try:
            self._call_counter("atlasbench.measure.jobs:check_model", workload)
        except (UnsupportedError, WorkerCallError, WorkerTimeoutError, WorkerDiedError):
            return  # told when its turn comes, as a result

    def plan(self, workload: Workload) -> Plan | Measurement:
        """Resolve and count a workload; a measurement where that already decides how it ends."""
        try:
            plan: Plan = self._call_counter("atlasbench.measure.count:plan_workload", workload)
            return plan
        except UnsupportedError as error:
            return Measurement(status=Status.UNSUPPORTED, message=str(error))
        except WorkerTimeoutError as error:
            self._counter = None
            return Measurement(status=Status.TIMEOUT, message=f"counting {error}")
        except WorkerDiedError as error:
            self._counter = None
            return Measurement(status=Status.ERROR, message=f"counting: {error}")
        except WorkerCallError as error:
            return Measurement(status=Status.ERROR, message=str(error))

    def measure(self, plan: Plan, protocol: Protocol, on_phase: Callable[[str], None] | None = None) -> Measurement:
        """Measure a planned workload in a fresh process."""
        with self._server.start_worker() as worker:
            try:
                measurement: Measurement = worker.call(
                    "atlasbench.measure.jobs:measure_if_it_fits",
                    plan,
                    protocol,
                    self._threads,
                    self._force,
                    timeout_s=protocol.timeout_s,
                    on_phase=on_phase,
                )
            except AtlasBenchError as error:
                measurement = Measurement(status=Status.UNSUPPORTED, message=str(error))
            except WorkerTimeoutError as error:
                measurement = Measurement(status=Status.TIMEOUT, message=f"{error} (--timeout sets the limit)")
            except WorkerDiedError as error:
                status = Status.OOM if error.was_out_of_memory else Status.ERROR
                measurement = Measurement(status=status, message=str(error))
            except WorkerCallError as error:
                measurement = Measurement(status=Status.ERROR, message=str(error))
        return measurement

    def _call_counter(self, function: str, argument: object) -> Any:
        if self._counter is None:
            self._counter = self._server.start_worker()
        return self._counter.call(function, argument, timeout_s=COUNT_TIMEOUT_S)

    def close(self) -> None:
        """End every process."""
        self._server.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def predicted_memory(plan: Plan) -> Memory:
    """The memory of a workload that is only counted."""
    return Memory(peak_bytes=plan.counts.predicted_peak_bytes, method="predicted")
