"""A probe: a handful of tiny circuits that tell how a backend behaves."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pubworks.backends.price import PricedRun
from pubworks.backends.probing.child import Child, Died
from pubworks.backends.probing.findings import Finding, Report, Survey, behaves
from pubworks.backends.probing.trials import TRIALS
from pubworks.backends.spec import BackendSpec
from pubworks.behaviour import Behaviour
from pubworks.errors import PubworksError


class Probe:
    """Probes one backend, in processes of their own.

    Args:
        spec: The backend.
        permit: Called with ``submission`` or ``request`` before each call of the provider; returns when it may be made.
        timeout_s: Seconds that a run may take.
        tell: Called with the name of each trial before it begins.
    """

    def __init__(
        self, spec: BackendSpec, permit: Callable[[str], None], timeout_s: float, tell: Callable[[str], None]
    ) -> None:
        self._spec, self._permit, self._timeout_s, self._tell = spec, permit, timeout_s, tell
        self._child: Child | None = None
        self._findings: list[Finding] = []
        self._runs: list[PricedRun] = []
        self._job_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_child()

    def survey(self) -> Survey:
        """Return what is known without a run.

        Raises:
            PubworksError: The backend cannot be built.
        """
        try:
            return self._ask("survey")  # type: ignore[no-any-return]
        except Died as error:
            raise PubworksError(f"Backend {self._spec.name!r} cannot be built: {error}.") from None

    def run(self, survey: Survey) -> Report:
        """Try what is to be tried, and return what is known then."""
        self._findings, trouble = list(survey.findings), None
        for name in survey.trials:
            self._tell(name)
            trouble = self._attempt(name)
            if trouble and name == "single":
                break  # all others build on it
            trouble = None
        else:
            self._find_again(local=survey.local)
        cost = self._ask("cost", self._runs) if self._runs else None
        return Report(self._findings, len(self._runs), cost, trouble)

    def _attempt(self, name: str) -> str | None:
        """Ask one question. Returns why it has no answer, if it has none."""
        try:
            answer = self._ask("attempt", name, self._known())
        except Died as error:
            (trial,) = [trial for trial in TRIALS if trial.name == name]
            self._findings.append(behaves(name, trial.crashed, str(error)))
            return str(error)
        except RuntimeError as error:  # a bug of ours, or of a provider, in a place where none is expected
            self._findings.append(Finding(name, None, str(error)))
            return str(error)
        self._findings += answer.findings
        self._runs += answer.runs
        self._job_id = answer.job_id or self._job_id
        if answer.trouble:
            self._findings.append(Finding(name, None, answer.trouble))
        return answer.trouble  # type: ignore[no-any-return]

    def _find_again(self, *, local: bool) -> None:
        """Have another process look for the last run."""
        known = self._known()
        if known.detachable is not None:
            return
        if local or not self._job_id:
            how = "it has no call that retrieves a job" if local else "there is no run to find"
            self._findings.append(behaves("detachable", False if local else None, how))
            return
        self._tell("detachable")
        self._end_child()
        try:
            self._findings += self._ask("find", self._job_id, known)
        except (Died, RuntimeError) as error:
            self._findings.append(Finding("detachable", None, str(error)))

    def _known(self) -> Behaviour:
        """Return what is known so far."""
        found = {one.what: one.value for one in self._findings if one.what in Behaviour.model_fields}
        return Behaviour(**{name: value for name, value in found.items() if value is not None})

    def _ask(self, question: str, *arguments: Any) -> Any:
        if self._child is None:
            self._child = Child(self._spec, self._permit, self._timeout_s)
        try:
            return self._child.ask(question, *arguments)
        except Died:
            self._end_child()
            raise

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
