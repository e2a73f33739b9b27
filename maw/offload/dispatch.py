"""Many jobs through one worker that may die: it is started again, and its jobs are given again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maw.errors import LinkLost, MawError, OffloadError, TransportError, WorkerDied
from maw.offload.client import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from maw.offload.client import Job, WorkerClient

# How often one job is given to a worker that dies under it.
MOST_ATTEMPTS = 2
# How often a worker is started again in one run.
MOST_RESTARTS = 3


class Dispatcher:
    """Keeps a worker on `host` busy. `connect` starts one, and raises a MawError if it cannot."""

    def __init__(self, connect: Callable[[], WorkerClient], host: str) -> None:
        self.host = host
        self._connect = connect
        self._client: WorkerClient | None = None
        self._restarts = 0
        self._attempts: dict[str, int] = {}
        self._jobs: dict[str, Job] = {}
        self._again: list[Job] = []
        # Why no worker can be had; from then on every job fails with it.
        self.failure: MawError | None = None

    def client(self) -> WorkerClient:
        """Return the worker, started if need be. Raise the MawError that says why there is none."""
        if self.failure is not None:
            raise self.failure
        if self._client is None:
            try:
                self._client = self._connect()
            except (TransportError, OffloadError) as error:
                self.failure = error
                raise
        return self._client

    @property
    def busy(self) -> bool:
        """Whether jobs are under way."""
        return bool(self._jobs)

    @property
    def full(self) -> bool:
        """Whether the worker has as many jobs as it takes at a time."""
        return self._client is not None and (self._client.full or bool(self._again))

    def submit(self, job: Job) -> None:
        """Given a job, hand it to the worker. Raise OSError if its file cannot be read."""
        client = self.client()
        self._jobs[job.identifier] = job
        self._attempts[job.identifier] = self._attempts.get(job.identifier, 0) + 1
        try:
            client.submit(job)
        except OSError:
            # Parts that no job line follows are nothing to the worker.
            del self._jobs[job.identifier]
            client.in_flight.discard(job.identifier)
            raise

    def collect(self, timeout: float) -> list[Outcome]:
        """Wait up to `timeout` seconds and return what has come to an end."""
        if self._again:
            return self._give_again()
        if self._client is None:
            return []
        try:
            outcome = self._client.next_outcome(timeout)
        except (LinkLost, OffloadError) as error:
            return self._restart(error)
        if outcome is None:
            return []
        if outcome.error_kind == WorkerDied.__name__ and self._attempts[outcome.identifier] < MOST_ATTEMPTS:
            # Its inner process died: by the document's fault, or because memory was short just then.
            self._again.append(self._jobs[outcome.identifier])
            return []
        del self._jobs[outcome.identifier]
        return [outcome]

    def _restart(self, error: MawError) -> list[Outcome]:
        self._drop_client()
        self._restarts += 1
        lost = list(self._jobs.values())
        worn = [job for job in lost if self._attempts[job.identifier] >= MOST_ATTEMPTS]
        if self._restarts > MOST_RESTARTS:
            self.failure = error
            worn = lost
        self._again = [job for job in lost if job not in worn]
        return [self._failed(job, error) for job in worn]

    def _give_again(self) -> list[Outcome]:
        job = self._again.pop(0)
        try:
            self.submit(job)
        except (MawError, OSError) as error:
            failure = error if isinstance(error, MawError) else OffloadError(host=job.name, reason=str(error))
            return [self._failed(job, failure)]
        return []

    def _failed(self, job: Job, error: MawError) -> Outcome:
        self._jobs.pop(job.identifier, None)
        return Outcome(job.identifier, error=str(error), error_kind=type(error).__name__)

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """End the worker."""
        self._drop_client()
