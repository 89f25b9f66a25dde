"""What all exceptions of one failed call show together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pubworks.backends.evidence.links import Kind, Link, body_of, links, retry_after, text_of
from pubworks.backends.evidence.wording import Size, size_of
from pubworks.errors import Incomplete, ProviderError

#: Characters of all texts of one call in which words are looked for.
_MAX_WORDS = 20_000

#: Statuses after which a server may have done, or may still do, what it was asked.
MAYBE_DONE = {408} | set(range(500, 600)) - {501, 505}


@dataclass(frozen=True)
class Case:
    """One failed call.

    Attributes:
        error: What was raised.
        now: Seconds since the epoch.
        process_bound: Whether the run cannot outlive this process.
    """

    error: BaseException
    now: Callable[[], float]
    process_bound: bool

    @cached_property
    def links(self) -> list[Link]:
        """The exceptions of the call, the outermost first."""
        return links(self.error)

    @cached_property
    def status(self) -> int | None:
        """The outermost HTTP status."""
        return next((link.status for link in self.links if link.status), None)

    @cached_property
    def kind(self) -> Kind:
        """What the classes show that were wrapped on purpose, by the outermost that shows anything."""
        return next((link.kind for link in self.links if link.explicit and link.kind is not Kind.UNKNOWN), Kind.UNKNOWN)

    @cached_property
    def not_sent(self) -> bool:
        """Whether a request found no connection."""
        return any(link.kind is Kind.NOT_SENT for link in self.links)

    @cached_property
    def retry_after(self) -> float | None:
        """Seconds that the provider asks to wait."""
        asked = (retry_after(link.error, self.now) for link in self.links)
        return next((seconds for seconds in asked if seconds is not None), None)

    @cached_property
    def text(self) -> str:
        """All that was said, for ``wording``."""
        said = [(text_of(link.error), body_of(link.error), *link.codes) for link in self.links]
        joined = "\n".join(part for parts in said for part in parts if part)[:_MAX_WORDS]
        return re.sub(r"\w+://\S+", " ", joined)  # a URL has words that nobody said

    @cached_property
    def size(self) -> Size | None:
        """The size of the run that the text says was too large."""
        return size_of(self.text)

    @property
    def description(self) -> str:
        """The outermost exception, and what the provider answered; it may have secrets."""
        name, text = type(self.error).__name__, text_of(self.error)
        body = next((body for link in self.links if (body := body_of(link.error))), "")
        said = text if not body or body in text else f"{text} ({body})"
        return f"{name}: {said}" if said.strip() else name

    @property
    def reports_failure(self) -> bool:
        """Whether the provider said that the job failed, rather than that the call did."""
        names = {kind.__name__ for kind in type(self.error).__mro__}
        return type(self.error) in (ProviderError, Incomplete) or any("JobFail" in name for name in names)

    @property
    def may_have_arrived(self) -> bool:
        """Whether a request may have been accepted: that of a first try counts too, when the last was refused."""
        return any(self._leaves_doubt(link) for link in self.links)

    def _leaves_doubt(self, link: Link) -> bool:
        if link.status is not None:
            waiting = link.status == 503 and retry_after(link.error, self.now) is not None
            return link.status in MAYBE_DONE and not waiting
        if link.kind is Kind.UNREADABLE:
            # A key that is missing and was coped with is anything; one that ended the call was missing in the answer.
            is_lookup = isinstance(link.error, (LookupError, AttributeError))
            return self.status is None and (link.explicit or not is_lookup)
        return link.kind is Kind.NO_ANSWER or (link.kind is Kind.NETWORK and not self._is_explained(link))

    def _is_explained(self, link: Link) -> bool:
        inside = (other for other in self.links if other.is_inside(link))
        return any(other.kind is Kind.NOT_SENT or other.status is not None for other in inside)
