"""The Estimator of pubworks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qiskit.primitives import BaseEstimatorV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike

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
class EstimatorOptions:
    """Those of Qiskit's ``BackendEstimatorV2``, ``run_options``, ``stds`` and ``environment``."""

    #: Standard error that is aimed at where neither the PUB nor ``run`` says; 1 / sqrt(4096).
    default_precision: float = 0.015625
    #: Whether terms that commute qubit by qubit are measured together.
    abelian_grouping: bool = True
    #: Seed of a simulator; None draws a new one each time.
    seed_simulator: int | None = None
    #: Further options for ``backend.run``; JSON values.
    run_options: dict[str, Any] | None = None
    #: Standard errors as the reference has them, or those of the sum, from the covariance of terms measured together.
    stds: Literal["reference", "covariance"] = "reference"
    #: ``job_tags``: tags of every job.
    environment: Environment = field(default_factory=Environment)

    def __post_init__(self) -> None:
        if isinstance(self.environment, dict):
            self.environment = Environment(**self.environment)


class Estimator(BaseEstimatorV2):  # type: ignore[misc]
    """Estimates expectation values on any backend, as durable jobs.

    Example::

        estimator = Estimator("aer", options={"default_precision": 0.01})
        job = estimator.run([(circuit, "ZZ"), (parameterised, [["XX"], ["ZZ"]], values, 0.05)])

    Args:
        backend: A ``BackendV2`` object (embedded mode only), the name of a registered backend, a ``Batch`` or a
            ``Session``; in the ``with`` block of one of these it may be left out.
        mode: The same, by the name that IBM's runtime gives it.
        options: ``default_precision``, ``abelian_grouping``, ``seed_simulator``, ``run_options``, ``stds``.
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
        self._options = options_of(EstimatorOptions, options)

    def __repr__(self) -> str:
        return f"Estimator({self.backend!r}, options={self._options})"

    @property
    def backend(self) -> BackendV2 | str:
        """The backend as it was given."""
        return self._aim.backend

    @property
    def options(self) -> EstimatorOptions:
        """The options; what is set here counts for later calls of ``run``."""
        return self._options

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None, name: str | None = None,
        tags: Iterable[str] | None = None, idempotency_key: str | None = None,
    ) -> Job:  # fmt: skip
        """Store a job and return its handle at once.

        Args:
            pubs: Tuples ``(circuit, observables, parameter values, precision)``; the last two may be left out.
            precision: Precision of PUBs that do not say.
            name: A name for people.
            tags: Words by which to find the job again.
            idempotency_key: Makes submissions one: a second one with this key and the same PUBs, options and backend
                returns the job of the first, whatever became of it.

        Raises:
            TypeError: As Qiskit's own Estimator, for input of the wrong type.
            ValueError: As Qiskit's own Estimator, for wrong values; as ``SubmissionError`` for what the backend cannot
                run, and where the idempotency key is that of another job; as ``SessionClosed`` where its batch or
                session takes no more jobs.
        """
        labels = Labels.check(name, self._options.environment.with_tags(tags), idempotency_key)
        draft, coerced = self._draft(pubs, precision)
        return self._aim.submit(labels.on(draft, coerced), coerced)

    def plan(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> Plan:
        """Return what ``run`` would submit, and what that would take and cost; nothing is stored.

        Args:
            pubs: As for ``run``.
            precision: As for ``run``.

        Raises:
            TypeError: As ``run``.
            ValueError: As ``run``.
            ConfigError: The backend's price model fails.
        """
        return self._aim.client.quote(*self._draft(pubs, precision))

    def _draft(self, pubs: Iterable[EstimatorPubLike], precision: float | None) -> tuple[JobDraft, list[EstimatorPub]]:
        from pubworks.primitives.estimator_draft import draft_estimator_job

        options = self._options
        wanted = options.default_precision if precision is None else precision
        coerced = pubs_of(EstimatorPub.coerce, pubs, wanted)
        stored = {
            "abelian_grouping": bool(options.abelian_grouping),
            "stds": options.stds,
            "seed_simulator": None if options.seed_simulator is None else index(options.seed_simulator),
            "run_options": options.run_options,
        }
        target = self._aim.target()
        return draft_estimator_job(coerced, target, stored, job_id=self._aim.client.new_id()), coerced
