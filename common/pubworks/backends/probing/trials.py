"""The questions that are put to a backend, each by some tiny circuits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pubworks.backends.adapter import SEEDS, Adapter
from pubworks.backends.price import PricedRun
from pubworks.backends.probing.bench import MANY_SHOTS, SHOTS, Bench, Ran, Refused, Unusable
from pubworks.backends.probing.findings import Finding, behaves
from pubworks.behaviour import Behaviour
from pubworks.errors import ProviderError

#: Options of ``run`` with which providers keep a word, in the order in which they are tried.
_TAGS = ("job_name", "tag", "name")

#: Where a job may have its id, if ``job_id()`` does not tell one job from another.
_IDS = ("batch_job_id", "task_id", "id", "uuid")

#: Seeds of three runs. The last is far from the others: some generators begin alike from neighbours.
_NUMBERS = (7, 7, 1_234_567_891)

Ask = Callable[[Bench], Iterator[Finding]]


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        name: The key of ``behaviour`` that it finds out.
        ask: Asks it.
        runs: Says of a backend which runs it makes at most.
        crashed: What holds where it ends the process; None: nothing is known then.
    """

    name: str
    ask: Ask
    runs: Callable[[Adapter], Sequence[PricedRun]]
    crashed: Any = None


def several(bench: Bench) -> Iterator[Finding]:
    """One circuit, and two in a list: the first question, on which all others build."""
    one = bench.run([bench.mark(0)])
    if isinstance(one, Refused):
        yield behaves("single", True, f"a list is refused: {one.why}")
        alone = bench.run([bench.mark(0)], said=Behaviour(single=True))
        if isinstance(alone, Refused):
            raise Unusable(f"it runs no circuit at all; in a list: {one.why}; alone: {alone.why}")
        one = alone
    elif bench.adapter.max_circuits == 1:
        yield behaves("single", True, "it says max_circuits 1, and runs a bare circuit")
    else:
        yield _pair(bench)
    _see_right(bench, one)
    yield from _told_by(one)


def _pair(bench: Bench) -> Finding:
    two = bench.run([bench.mark(1), bench.mark(0)])
    if isinstance(two, Refused):
        return behaves("single", True, f"a list of two circuits is refused: {two.why}")
    if two.shows(bench.marked(1), 0) and two.shows(bench.marked(0), 1):
        return behaves("single", False, "two circuits in a list come back in their order")
    return behaves("single", True, "two circuits in a list do not come back as they went")


def _see_right(bench: Bench, ran: Ran) -> None:
    if not ran.shows(bench.marked(0)):
        raise Unusable(
            f"it gives {ran.counts()} for a circuit whose outcome is {bench.marked(0)}: "
            "its answers are not to be trusted"
        )


def _told_by(ran: Ran) -> Iterator[Finding]:
    came = sum(ran.counts().values())
    how = f"{came} of {ran.shots} shots came" + ("" if came == ran.shots else "; the others are asked for again")
    yield Finding("shots", "as asked" if came == ran.shots else "fewer", how)
    yield Finding("counts", _style(ran.data[0]), "how it writes an outcome; all of these are read")
    when = "when run() returns, the run is over" if ran.at_once else "run() returns before the run is over"
    yield Finding("blocking", ran.at_once, when)


def _style(data: Any) -> str:
    counts = getattr(data, "counts", None) or {}
    key = next(iter(counts or getattr(data, "memory", None) or [""]))
    if not isinstance(key, str):
        return "numbers"
    written = "hexadecimal" if key.startswith("0x") else "binary" if key.startswith("0b") else "bits"
    return written + (" with spaces" if " " in key else "")


def strictness(bench: Bench) -> Iterator[Finding]:
    """An option that no backend has."""
    ran = bench.run([bench.mark(0)], pubworks_probe=1)
    if isinstance(ran, Ran):
        yield Finding("options", None, "one that no backend has is taken without a word")
        return
    takes = sorted({*dict(bench.adapter.backend.options.items()), *_named(bench.adapter.backend.run)})
    yield behaves("options", takes, f"one that no backend has is refused: {ran.why}")


def _named(run: Callable[..., Any]) -> set[str]:
    parameters = list(inspect.signature(run).parameters.values())
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name for one in parameters[1:] if one.kind in named}


def memory(bench: Bench) -> Iterator[Finding]:
    """Outcomes in their order."""
    if not _declared(bench.adapter, ["memory"]):
        yield behaves("memory", False, "there is no such option")
        return
    ran = bench.run([bench.coins()], MANY_SHOTS, said=Behaviour(memory=True))
    value, how = _order(ran)
    yield behaves("memory", value, how)


def _order(ran: Ran | Refused) -> tuple[bool, str]:
    if isinstance(ran, Refused):
        return False, f"asked for it, it refuses: {ran.why}"
    seen = list(getattr(ran.data[0], "memory", None) or [])
    if len(seen) != ran.shots:
        return False, f"asked for it, it gives {len(seen) or 'none'} of {ran.shots} outcomes"
    if 1 < len(set(seen)) == 1 + sum(one != other for one, other in pairwise(seen)):
        return False, "equal outcomes stand side by side: not the order in which they were measured"
    return True, f"outcomes in their order, as in {seen[0]!r}"


def seed(bench: Bench) -> Iterator[Finding]:
    """The same answers again."""
    seen = []
    for name in _declared(bench.adapter, SEEDS) or (SEEDS[0], SEEDS[-1]):
        works, how = _repeats(bench, name)
        seen.append(f"{name}: {how}")
        if works:
            yield behaves("seed", name, how)
            return
    yield behaves("seed", "none", "; ".join(seen))


def _repeats(bench: Bench, name: str) -> tuple[bool, str]:
    answers = []
    for number in _NUMBERS:
        ran = bench.run([bench.coins()], MANY_SHOTS, said=Behaviour(seed=name), seed=number)
        if isinstance(ran, Refused):
            return False, f"refused: {ran.why}"
        answers.append(ran.counts())
        if len(answers) == 2 and answers[0] != answers[1]:
            return False, "the same seed gives other counts"
    if answers[1] == answers[2]:
        return False, "every seed gives the same counts"
    return True, "the same seed gives the same counts, another one others"


def translation(bench: Bench) -> Iterator[Finding]:
    """Circuits that were made for the backend before their parameters were bound, and after."""
    late = bench.run([bench.turned(bound_first=False)])
    if isinstance(late, Ran) and late.shows(1):
        yield behaves("transpile", False, "a circuit whose parameters are bound after it was transpiled is right")
        return
    how = late.why if isinstance(late, Refused) else "its answer is wrong"
    early = bench.run([bench.turned(bound_first=True)], said=Behaviour(transpile=True))
    if not isinstance(early, Ran) or not early.shows(1):
        raise Unusable(f"a circuit with a parameter is not right in either way: {how}")
    yield behaves("transpile", True, f"right only where parameters are bound before it is transpiled: {how}")


def early_measurement(bench: Bench) -> Iterator[Finding]:
    """A qubit goes on after it was measured."""
    ran = bench.run([bench.going_on()])
    yield behaves("mid_circuit", *_can(ran, 1, "a qubit goes on after it was measured"))


def decision(bench: Bench) -> Iterator[Finding]:
    """A gate depends on an outcome."""
    ran = bench.run([bench.deciding()])
    yield behaves("control_flow", *_can(ran, bench.decided(), "a gate depends on an outcome"))


def _can(ran: Ran | Refused, outcome: int, what: str) -> tuple[bool, str]:
    if isinstance(ran, Refused):
        return False, f"refused: {ran.why}"
    try:
        return (True, f"right where {what}") if ran.shows(outcome) else (False, f"wrong where {what}: {ran.counts()}")
    except ProviderError as error:
        return False, f"where {what}: {error}"


def identity(bench: Bench) -> Iterator[Finding]:
    """What tells a job from others; of the jobs of other questions."""
    if len(bench.jobs) < 2:
        bench.run([bench.mark(0)])
        bench.run([bench.mark(0)])
    for name in ("job_id", *_IDS):
        bench.adapter.behaviour = Behaviour(job_id=name).over(bench.known)
        one, other = (bench.adapter.job_id(job) for job in bench.jobs[-2:])
        if one and other and one != other:
            yield behaves("job_id", name, f"two jobs have the ids {one} and {other}")
            return
    yield behaves("detachable", False, "its jobs have no ids that tell them apart")


def cancelling(bench: Bench) -> Iterator[Finding]:
    """A run that is cancelled at once."""
    if not bench.adapter.detachable:
        yield Finding("cancel", None, "not tried: its runs live in the process that makes them")
        return
    job = bench.submit(bench.mark(0))
    try:
        answer = job.cancel()
    except Exception as error:
        yield behaves("cancel", False, bench.refusal(error).why)
        return
    bench.wait(job)
    if answer is False:
        yield Finding("cancel", None, "it says no, perhaps since the run was over already")
    else:
        yield behaves("cancel", True, f"asked, it says {answer}")


def tagging(bench: Bench) -> Iterator[Finding]:
    """A word to keep with a job."""
    for name in _declared(bench.adapter, _TAGS):
        ran = bench.run([bench.mark(0)], said=Behaviour(tag=name), tag="pubworks-probe")
        if isinstance(ran, Ran):
            yield behaves("tag", name, "run takes it; look at the provider whether a job shows it: pubworks-probe")
            return
    yield Finding("tag", None, f"none of its options is {', '.join(_TAGS)}, or it refuses them")


def _declared(adapter: Adapter, names: Sequence[str]) -> list[str]:
    """Return those of some names that are among a backend's options."""
    return [name for name in names if name in dict(adapter.backend.options.items())]


def _always(*runs: PricedRun) -> Callable[[Adapter], Sequence[PricedRun]]:
    return lambda _: runs


_ONE = PricedRun(1, SHOTS, None)
_PAIR = PricedRun(2, SHOTS, None)
_MANY = PricedRun(1, MANY_SHOTS, None)

#: In their order; what the first ones find holds for the others.
TRIALS = (
    Trial("single", several, _always(_ONE, _PAIR)),
    Trial("options", strictness, _always(_ONE)),
    Trial("memory", memory, lambda adapter: [_MANY] * len(_declared(adapter, ["memory"])), crashed=False),
    Trial("seed", seed, lambda adapter: [_MANY] * 3 * (len(_declared(adapter, SEEDS)) or 2), crashed="none"),
    Trial("transpile", translation, _always(_ONE, _ONE)),
    Trial("mid_circuit", early_measurement, _always(_ONE), crashed=False),
    Trial("control_flow", decision, _always(_ONE), crashed=False),
    Trial("job_id", identity, _always()),
    Trial("cancel", cancelling, lambda adapter: [_ONE] if adapter.detachable else []),
    Trial("tag", tagging, lambda adapter: [_ONE] * len(_declared(adapter, _TAGS))),
)
