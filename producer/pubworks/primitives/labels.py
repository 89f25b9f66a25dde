"""What a job is called and found by: a name, tags, and a key that makes two submissions one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from pubworks.errors import SubmissionError

if TYPE_CHECKING:
    from pubworks.store.records import JobDraft

#: Longest name, tag and key, in characters.
LONGEST = 200


@dataclass(slots=True)
class Environment:
    """The part of the options that IBM's runtime calls so: tags of all jobs that are submitted with them."""

    #: Each job gets these tags besides those of its ``run``.
    job_tags: list[str] | None = None

    def with_tags(self, tags: Iterable[str] | None) -> tuple[str, ...]:
        """Return the tags of a job that was given these.

        Raises:
            TypeError: They are one text, or one of them is none.
            SubmissionError: One is empty or too long.
        """
        return check_tags(self.job_tags) + check_tags(tags)


@dataclass(frozen=True)
class Labels:
    """The labels of one job."""

    name: str | None
    tags: tuple[str, ...]
    idempotency_key: str | None

    @classmethod
    def check(cls, name: str | None, tags: Iterable[str] | None, idempotency_key: str | None) -> Labels:
        """Return labels that can be stored.

        Raises:
            TypeError: One is no text, or the tags are one text instead of several.
            SubmissionError: One is empty or too long.
        """
        if name is not None:
            _check("A job's name", name, may_be_empty=True)
        if idempotency_key is not None:
            _check("An idempotency key", idempotency_key)
        return cls(name, check_tags(tags), idempotency_key)

    def on(self, draft: JobDraft, pubs: Sequence[SamplerPub | EstimatorPub]) -> JobDraft:
        """Return a draft with these labels.

        Args:
            draft: The job.
            pubs: The coerced PUBs that it was made from.
        """
        from pubworks.primitives.content import content_of

        content = None if self.idempotency_key is None else content_of(draft, pubs)
        key = self.idempotency_key
        return replace(draft, name=self.name, tags=self.tags, idempotency_key=key, content=content)


def check_tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    """Return tags that can be stored: each once, sorted.

    Raises:
        TypeError: They are one text, or one of them is none.
        SubmissionError: One is empty or too long.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list of texts: tags=[{tags!r}], not tags={tags!r}.")
    found = tuple(tags or ())
    for tag in found:
        _check("A tag", tag)
    return tuple(sorted(set(found)))


def _check(what: str, text: str, *, may_be_empty: bool = False) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a text, not {type(text).__name__}.")
    if len(text) > LONGEST or "\0" in text or not (text.strip() or may_be_empty):
        raise SubmissionError(
            f"{what} must have 1 to {LONGEST} characters, and no NUL among them; {text[:40]!r} has {len(text)}. "
            "Choose another."
        )
