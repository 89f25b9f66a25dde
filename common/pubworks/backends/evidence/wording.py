"""What the texts of errors say: the one place where words are matched.

Words decide only where classes and codes say nothing more: which size was too large, whether too many jobs are in
flight, whether a program is invalid. Also here is what must not be shown of a text.
"""

from __future__ import annotations

import re
from typing import Literal

from pubworks import telemetry

Size = Literal["circuits", "shots", "payload"]

_JOBS = r"(jobs?|tasks?|runs|requests|executions|submissions)"
_CIRCUITS = r"(circuits|experiments|programs|pubs)"
_UNFINISHED = r"(active|queued|pending|running|open|concurrent|in[ _-]?flight|unfinished)"
_OVER = (
    r"(exceed|too many|too large|maximum|\bmax\b|max_\w+ ?[:=]|limit|at most|\d ?> ?\d|between \d"
    r"|(more|greater|larger|higher) than(?! (0|zero|or)))"
)


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


def _near(one: str, other: str, distance: int = 60) -> str:
    return rf"{one}.{{0,{distance}}}{other}|{other}.{{0,{distance}}}{one}"


#: Too many jobs are in flight.
_CONCURRENCY = _any_of(
    _near(rf"\b{_JOBS}\b", r"(in[ _-]?flight|concurren\w*)", 30),
    r"concurrency[ _-]?limit",
    rf"too[ _-]?many[ _-]?({_UNFINISHED}[ _-]?)*(jobs|tasks)",
    rf"{_UNFINISHED}[ _-]?(jobs|tasks)",
    r"\bjobs?[ _-]?limit",
    r"queue[ _-]?(is[ _-]?)?full|full queue",
)

#: A limit was met; what an error of unknown class needs besides, to be a refusal.
_REFUSAL = _any_of("too[ _-]?many", "limit", "maximum", "exceed", "full", "reached", "quota")

#: Words of a limit that splitting a run does not help against.
_WIDTH = _any_of("qubit", "clbit", "depth", r"\bgates?\b", "width", "memory")

_SIZES: dict[Size, re.Pattern[str]] = {
    "circuits": _any_of(_near(_OVER, rf"\b{_CIRCUITS}\b")),
    "shots": _any_of(_near(_OVER, r"shots\b")),
    "payload": _any_of(
        r"(payload|entity|request|body|content|message|job|input)( size)?( is| was)? ?too[ _-]?large",
        _near(_OVER, r"\b(payload|body|request size|content length|input data)\b"),
        rf"{_OVER}.{{0,60}}\d ?([kmg]i?b|bytes)\b",
    ),
}

#: The account is at fault, not the job.
_DENIED = _any_of(
    r"\b(access|api|auth\w*)[ _-]?(token|key)s? (is |has |was )?(been )?(expired|invalid|revoked|rejected|missing)",
    r"\b(token|credentials?|password|certificate|licen[sc]e|subscription) (is |has |have )?(been )?(expired|revoked)",
    r"(invalid|wrong|missing|expired) ((access|api|auth\w*)[ _-](token|key)|credentials?|password|apikey)",
    r"unauthori[sz]ed|not authori[sz]ed|authentication (failed|required)",
)

#: The result of a job cannot be had any more.
_GONE = _any_of(
    r"\b(job|results?|data|outputs?|task|record|counts)\b.{0,40}\b(expired|deleted|purged)",
    r"expired (job|result|data|output|task)",
    r"no longer (available|exists?|stored|retained)",
    r"already (been )?(fetched|retrieved|consumed)",
    r"returned (0|no) results|no results? (is|are|was|were) (available|found)|empty result",
)

#: The program itself is refused.
_INVALID = _any_of(
    r"unsupported|not supported|does(n't| not) support",
    r"\binvalid\b|malformed|not (a )?(valid|recogni[sz]ed|allowed)|unrecogni[sz]ed",
    r"too many qubits|unknown (gate|instruction|operation)|not in the (basis|native)",
    r"compil(e|er|ation)\w*[ _-]?(error|fail)|(syntax|parse) ?error",
    r"(cannot|could not|failed to|unable to) (be )?(compile|transpile|parse)",
)

#: The run exists already.
_EXISTS = _any_of(r"already[ _-]?exists|duplicate|idempoten")

_NUMBER = (
    r"(?<![\w.])(?P<number>\d{1,3}(?:[,_]\d{3}){1,3}|\d{1,12}(?:\.\d{1,3})?)(?![\d_])"
    r"(?: ?(?P<of>[a-z]+))?"
)
_LIMITS = (
    _any_of(
        r"(exceed\w*(?! by)|maximum|max\b|max_\w+|limit|at most|up to|(more|greater|larger|higher) than|allowed|[<>]=?"
        rf"|between \d+ and)[^\d.;]{{0,40}}?{_NUMBER}"
    ),
    _any_of(rf"{_NUMBER}( (is|are|at))?( the)? (max|limit|allowed|most)"),
)

#: What is not plausible as a maximum is below.
_LEAST: dict[Size, int] = {"circuits": 1, "shots": 1, "payload": 1_000}

#: Bytes of a unit, and what the other nouns after a number count; None counts nothing of a run's size.
_UNITS = {
    "b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_NOUNS: dict[str, Size | None] = {
    **dict.fromkeys(_UNITS, "payload"),
    **dict.fromkeys(("circuit", "circuits", "experiments", "programs", "pubs"), "circuits"),
    **dict.fromkeys(("shot", "shots"), "shots"),
    **dict.fromkeys(("qubits", "gates", "jobs", "tasks", "requests", "seconds", "minutes", "s", "ms"), None),
}

_VALUE = r"(\\?\"[^\"]*\"|\\?'[^']*'|[^\s\"'&,;)}\]]+)"
_SCHEME = r"(bearer|basic|apikey|digest|token)"
_SECRET_NAME = (
    r"(token|(api|access|account|subscription|private)[_-]?key|secret|passw(or)?d|pwd|signature|credentials?"
    r"|authorization|cookie)([_-]?id)?"
)
#: Secrets, and what stands in their place.
_SECRETS = [
    (_any_of(r"(?<=://)[^/\s@]+@"), "***@"),
    (_any_of(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|$)"), "***"),
    (_any_of(rf"({_SECRET_NAME}\\?[\"']?\s*[:=]\s*|[?&](key|sig|code|auth)=)({_SCHEME}\s+)?{_VALUE}"), r"\1***"),
    (_any_of(r"\b((bearer|apikey|digest)\s+)[\w.~+/=-]{6,}"), r"\1***"),
    (re.compile(r"\b([Bb]asic\s+)(?=\S*[A-Z\d=])[\w+/=-]{6,}"), r"\1***"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w.-]+|\b(AKIA|ASIA)[A-Z0-9]{16}\b|\b(sk|pk|ghp|glpat)[-_][\w-]{16,}"), "***"),
]


def tells_concurrency(text: str) -> bool:
    """Return whether a refusal is for jobs that are in flight already.

    >>> tells_concurrency("too_many_jobs"), tells_concurrency("Too many requests")
    (True, False)
    """
    return bool(_CONCURRENCY.search(text))


def tells_limit(text: str) -> bool:
    """Return whether a limit was met, whichever."""
    return bool(_REFUSAL.search(text))


def tells_denied(text: str) -> bool:
    """Return whether an account's credentials are refused."""
    return bool(_DENIED.search(text))


def tells_gone(text: str) -> bool:
    """Return whether a result cannot be had any more."""
    return bool(_GONE.search(text))


def tells_invalid(text: str) -> bool:
    """Return whether a provider refuses the program itself."""
    return bool(_INVALID.search(text))


def tells_exists(text: str) -> bool:
    """Return whether a conflict is with an earlier submission of the same run."""
    return bool(_EXISTS.search(text))


def size_of(text: str) -> Size | None:
    """Return which size of a run was refused, None where the text speaks of none.

    >>> size_of("Number of experiments 901 exceeds maximum 900"), size_of("Number of qubits 31 exceeds maximum 29")
    ('circuits', None)
    """
    if _WIDTH.search(text):
        return None
    return next((size for size, pattern in _SIZES.items() if pattern.search(text)), None)


def limit_in(text: str, size: Size) -> int | None:
    """Return the maximum that a text names, in circuits, shots or bytes; the smallest where several could be it.

    >>> limit_in("Number of experiments 901 exceeds maximum 900", "circuits")
    900
    """
    found = [_value(match, size) for pattern in _LIMITS for match in pattern.finditer(text)]
    return min((number for number in found if number), default=None)


def masked(text: str, max_length: int) -> str:
    """Return a text as one line that can be printed, without secrets, cut at ``max_length`` characters.

    >>> masked("GET https://me:pw@host/v1?api_key=abc123&n=1", 80)
    'GET https://***@host/v1?api_key=***&n=1'
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    for secret, shown in _SECRETS:
        line = secret.sub(shown, line)
    line = telemetry.masked(line)
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def _value(match: re.Match[str], size: Size) -> int | None:
    noun = (match["of"] or "").lower()
    if _NOUNS.get(noun, size) != size:
        return None
    value = int(float(re.sub("[,_]", "", match["number"])) * _UNITS.get(noun, 1))
    return value if value >= _LEAST[size] else None
