"""The Sampler of pubworks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from qiskit.primitives import BaseSamplerV2
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike

from pubworks.primitives.aim import aim_at
from pubworks.primitives.given import options_of, pubs_of
from pubworks.primitives.labels import Environment, Labels

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.client import Client
    from pubworks.planning.quote import Plan
    from pubworks.primitives.job import Job
    from pubworks.primitives.session import Session
    from pubworks.store.records import JobDraft


@dataclass(slots=True)
class SamplerOptions:
    """Options of the Sampler: those of Qiskit's ``BackendSamplerV2``, and ``environment``."""

    #: Shots where neither the PUB nor ``run`` says.
    default_shots: int = 1024
    #: Seed of a simulator; None draws a new one each time.
    seed_simulator: int | None = None
    #: Further options for ``backend.run``; JSON values.
    run_options: dict[str, Any] | None = None
    #: ``job_tags``: tags of every job.
    environment: Environment = field(default_factory=Environment)

    def __post_init__(self) -> None:
        if isinstance(self.environment, dict):
            self.environment = Environment(**self.environment)


class Sampler(BaseSamplerV2):  # type: ignore[misc]
    """Samples circuits on any backend, as durable jobs.

    Example::

        sampler = Sampler("aer", options={"default_shots": 1000})
        job = sampler.run([circuit, (parameterised, values, 500)])

    Args:
        backend: A ``BackendV2`` object (embedded mode only), the name of a registered backend, a ``Batch`` or a
            ``Session``; in the ``with`` block of one of these it may be left out.
        mode: The same, by the name that IBM's runtime gives it.
        options: ``default_shots``, ``seed_simulator``, ``run_options``.
        client: Where jobs go; that of the batch or session, or the default client, if not given.

    Raises:
        TypeError: An option is unknown, or there is no backend, or two.
        ValueError: It is made for another backend than that of the ``with`` block around it.
        ConfigError: No backend has this name.
    """

    #: Returns where jobs go if nobody says.
    _default_client: ClassVar[staticmethod[[], Client]]

    def __init__(
        self, backend: BackendV2 | Session | str | None = None, *, mode: BackendV2 | Session | str | None = None,
        options: dict[str, Any] | None = None, client: Client | None = None,
    ) -> None:  # fmt: skip
        self._aim = aim_at(backend, mode, client, self._default_client)
        self._options = options_of(SamplerOptions, options)

    def __repr__(self) -> str:
        return f"Sampler({self.backend!r}, options={self._options})"

    @property
    def backend(self) -> BackendV2 | str:
        """The backend as it was given."""
        return self._aim.backend

    @property
    def options(self) -> SamplerOptions:
        """The options; what is set here counts for later calls of ``run``."""
        return self._options

    def run(
        self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None, name: str | None = None,
        tags: Iterable[str] | None = None, idempotency_key: str | None = None,
    ) -> Job:  # fmt: skip
        """Store a job and return its handle at once.

        Args:
            pubs: PUB-like objects: circuits, or tuples ``(circuit, parameter values, shots)``.
            shots: Shots of PUBs that do not say.
            name: A name for people.
            tags: Words by which to find the job again.
            idempotency_key: Makes submissions one: a second one with this key and the same PUBs, options and backend
                returns the job of the first, whatever became of it.

        Raises:
            TypeError: As Qiskit's own Sampler, for input of the wrong type.
            ValueError: As Qiskit's own Sampler, for wrong values; as ``SubmissionError`` for what the backend cannot
                run, and where the idempotency key is that of another job; as ``SessionClosed`` where its batch or
                session takes no more jobs.
        """
        labels = Labels.check(name, self._options.environment.with_tags(tags), idempotency_key)
        draft, coerced = self._draft(pubs, shots)
        return self._aim.submit(labels.on(draft, coerced), coerced)

    def plan(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> Plan:
        """Return what ``run`` would submit, and what that would take and cost; nothing is stored.

        Args:
            pubs: As for ``run``.
            shots: As for ``run``.

        Raises:
            TypeError: As ``run``.
            ValueError: As ``run``.
            ConfigError: The backend's price model fails.
        """
        return self._aim.client.quote(*self._draft(pubs, shots))

    def _draft(self, pubs: Iterable[SamplerPubLike], shots: int | None) -> tuple[JobDraft, list[SamplerPub]]:
        from pubworks.primitives.draft import draft_sampler_job

        options = self._options
        wanted = options.default_shots if shots is None else shots
        coerced = pubs_of(SamplerPub.coerce, pubs, wanted)
        seed = None if options.seed_simulator is None else index(options.seed_simulator)
        stored = {"seed_simulator": seed, "run_options": options.run_options}
        target = self._aim.target()
        return draft_sampler_job(coerced, target, stored, job_id=self._aim.client.new_id()), coerced
