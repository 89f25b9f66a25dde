"""What is done in the process in which a backend is probed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pubworks.backends.adapter import RETRIEVE, Adapter, adapt
from pubworks.backends.price import Cost, PricedRun, configured, total
from pubworks.backends.probing.bench import Bench, Call, Unusable
from pubworks.backends.probing.findings import Finding, Survey, behaves
from pubworks.backends.probing.trials import TRIALS
from pubworks.backends.spec import BackendSpec
from pubworks.behaviour import Behaviour


@dataclass(frozen=True)
class Answer:
    """What a trial came to.

    Attributes:
        findings: What it found out.
        runs: The runs that the backend took.
        trouble: Why it has no answer; None: it has.
        job_id: The provider's id of the last run, for another process to find it by.
    """

    findings: list[Finding]
    runs: list[PricedRun]
    trouble: str | None
    job_id: str | None


class Desk:
    """One backend, built at the first question.

    Args:
        spec: The backend.
        permit: Called before each call of the provider.
        timeout_s: Seconds that a run may take.
    """

    def __init__(self, spec: BackendSpec, permit: Callable[[Call], None], timeout_s: float) -> None:
        self._spec, self._permit, self._timeout_s = spec, permit, timeout_s

    @cached_property
    def _adapter(self) -> Adapter:
        self._permit("request")  # some ask the provider when they are made
        return adapt(self._spec.build(), self._spec.adapter, self._spec.behaviour)

    @cached_property
    def _bench(self) -> Bench:
        return Bench(self._adapter, self._permit, self._timeout_s)

    def survey(self) -> Survey:
        """Return what is known without a run, and what there is to try."""
        adapter = self._adapter
        said = {name for name, value in adapter.behaviour if value is not None}
        trials = [trial for trial in TRIALS if trial.name not in said]
        runs = [run for trial in trials for run in trial.runs(adapter)]
        findings = [*_declared(adapter), *_said(self._spec, adapter)]
        return Survey(
            findings, [trial.name for trial in trials], not adapter.detachable, list(Counter(runs).items()),
            self.cost(runs),
        )  # fmt: skip

    def cost(self, runs: Sequence[PricedRun]) -> Cost | None:
        """Return what runs cost; None: nobody says."""
        model = configured(self._spec) or self._adapter.price
        return total(model, list(Counter(runs).items()))

    def attempt(self, name: str, known: Behaviour) -> Answer:
        """Ask one question.

        Args:
            name: The trial.
            known: What is known so far.
        """
        (trial,) = [trial for trial in TRIALS if trial.name == name]
        self._bench.known, before = known, len(self._bench.runs)
        findings: list[Finding] = []
        trouble = None
        try:
            findings.extend(trial.ask(self._bench))
        except Unusable as error:
            trouble = str(error)
        job_id = self._adapter.job_id(self._bench.jobs[-1]) if self._bench.jobs else None
        return Answer(findings, self._bench.runs[before:], trouble, job_id)

    def find(self, job_id: str, known: Behaviour) -> list[Finding]:
        """Find a run of another process again, and return in which way."""
        failures = []
        for way in (known.retrieve,) if known.retrieve else RETRIEVE:
            self._adapter.behaviour = Behaviour(retrieve=way, detachable=None).over(known)
            self._adapter.__dict__.pop("_retrieve", None)  # it was found out for another way
            if not self._adapter.detachable:
                continue
            why = self._not_found(job_id)
            if why is None:
                how = f"another process fetched the counts of run {job_id}"
                return [behaves("detachable", True, how), behaves("retrieve", way, how)]
            failures.append(f"{way}: {why}")
        return [behaves("detachable", False, "; ".join(failures) or "it has no call that retrieves a job")]

    def _not_found(self, job_id: str) -> str | None:
        """Return why a run is not found, or nothing where it is."""
        try:
            job = self._adapter.retrieve(job_id)
            self._bench.wait(job)
            (data,) = self._adapter.fetch(job, 1)
            return None if getattr(data, "counts", None) or getattr(data, "memory", None) else "it has no counts"
        except Unusable as error:
            return str(error)
        except Exception as error:
            return self._bench.refusal(error).why


def _declared(adapter: Adapter) -> list[Finding]:
    """Return what a backend says of itself."""
    says = "it says so" if adapter.max_shots else "it does not say; set max_shots if its provider tells one"
    rules = f"{len(adapter.rules)} of its adapter, then the general ones" if adapter.rules else "the general ones"
    return [
        Finding("num_qubits", adapter.num_qubits, "it says so" if adapter.num_qubits else "it does not say"),
        Finding("max_circuits", adapter.max_circuits, "it says so" if adapter.max_circuits else "it does not say"),
        Finding("max_shots", adapter.max_shots, says, ("max_shots",)),
        Finding("error rules", rules, "written, in an adapter; not found out"),
        Finding("threads", "one", "not tried: pubworks calls a backend from one thread"),
    ]


def _said(spec: BackendSpec, adapter: Adapter) -> list[Finding]:
    """Return what the settings and the adapter say; it is believed."""
    of_settings = {name for name, value in spec.behaviour if value is not None}
    return [
        Finding(name, value, "said in its settings" if name in of_settings else f"said by {type(adapter).__name__}")
        for name, value in adapter.behaviour
        if value is not None
    ]
