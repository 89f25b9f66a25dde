"""Why calls fail: the table below is the specification."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import sys
import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.exceptions import QiskitError
from qiskit.providers import JobError, JobTimeoutError
from qiskit.transpiler.exceptions import TranspilerError

from pubworks.backends.causes import MAX_MESSAGE, Cause, Phase, Verdict, judge
from pubworks.backends.evidence.links import MAX_LINKS
from pubworks.errors import ConfigError, ProviderError, RateLimited, Rejected, Transient, Uncertain

SUBMIT, STATUS, RESULT, LOOKUP, BUILD, CANCEL = Phase
NOW = 1_800_000_000.0


class ApiError(Exception):
    """A vendor's error with whatever attributes it has."""

    def __init__(self, text: str = "", **attributes: Any) -> None:
        super().__init__(text)
        self.__dict__.update(attributes)


def http(status: int, text: str = "", **headers: str) -> ApiError:
    """An error of an HTTP answer; header names with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiError(text, status_code=status, headers=named)


def aws(code: str, status: int = 400, text: str = "") -> ApiError:
    """An error in the shape of botocore's ClientError."""
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {}}
    return ApiError(text, response={"Error": {"Code": code, "Message": text}, "ResponseMetadata": metadata})


def named(name: str, *bases: type[BaseException], text: str = "") -> BaseException:
    """An error of a library that is not installed here, as far as its class's name goes."""
    error: BaseException = type(name, bases or (Exception,), {})(text)
    return error


def chained(*errors: BaseException, explicit: bool = True) -> BaseException:
    """The first error, each wrapping the next one."""
    for outer, inner in zip(errors, errors[1:], strict=False):
        if explicit:
            outer.__cause__ = inner
        else:
            outer.__context__ = inner
    return errors[0]


class IonQRetriable(QiskitError):
    """As in qiskit-ionq: keeps the error it stands for in an attribute, and is raised without a cause."""

    def __init__(self, cause: BaseException) -> None:
        self._cause = cause
        super().__init__("retry")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text today")

    @property
    def response(self) -> None:
        raise ValueError("no response today")


#: (what is raised, in which phase, bound to the process, the cause)
TABLE: list[tuple[BaseException, Phase, bool, Cause]] = [
    # Our own errors decide, however they are wrapped.
    (Transient("x"), SUBMIT, False, Cause.TRANSIENT),
    (RateLimited("x", 3), SUBMIT, False, Cause.RATE_LIMITED),
    (Rejected("x"), SUBMIT, False, Cause.REJECTED),
    (Uncertain("x"), SUBMIT, False, Cause.UNCERTAIN),
    (Uncertain("x"), SUBMIT, True, Cause.TRANSIENT),
    (Uncertain("x"), STATUS, False, Cause.TRANSIENT),
    (Rejected("x"), STATUS, False, Cause.TRANSIENT),
    (Rejected("x"), RESULT, False, Cause.REJECTED),
    (RateLimited("x"), LOOKUP, False, Cause.RATE_LIMITED),
    (chained(Rejected("x"), ConnectionResetError()), SUBMIT, False, Cause.REJECTED),
    (chained(RuntimeError("x"), Transient("x")), SUBMIT, False, Cause.TRANSIENT),
    (ConfigError("no such variable"), SUBMIT, False, Cause.BACKEND_DOWN),
    # Submitting: never sent.
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), SUBMIT, False, Cause.BACKEND_DOWN),
    (socket.gaierror(-2, "Name or service not known"), SUBMIT, False, Cause.BACKEND_DOWN),
    (ssl.SSLCertVerificationError("self-signed"), SUBMIT, False, Cause.BACKEND_DOWN),
    (named("ConnectTimeout", TimeoutError), SUBMIT, False, Cause.BACKEND_DOWN),
    (chained(named("ConnectTimeout"), TimeoutError("timed out")), SUBMIT, False, Cause.BACKEND_DOWN),
    (chained(named("ConnectError"), OSError("all attempts failed")), SUBMIT, False, Cause.BACKEND_DOWN),
    (chained(RuntimeError("x"), named("NewConnectionError"), explicit=False), SUBMIT, False, Cause.BACKEND_DOWN),
    (http(503, "maintenance", Retry_After="60"), SUBMIT, False, Cause.BACKEND_DOWN),
    (aws("DeviceOfflineException", 424), SUBMIT, False, Cause.BACKEND_DOWN),
    # Submitting: nobody knows.
    (TimeoutError("timed out"), SUBMIT, False, Cause.UNCERTAIN),
    (ConnectionResetError(errno.ECONNRESET, "reset"), SUBMIT, False, Cause.UNCERTAIN),
    (ConnectionAbortedError(), SUBMIT, False, Cause.UNCERTAIN),
    (BrokenPipeError(), SUBMIT, False, Cause.UNCERTAIN),
    (ConnectionError("aborted"), SUBMIT, False, Cause.UNCERTAIN),
    (OSError(errno.EHOSTUNREACH, "no route to host"), SUBMIT, False, Cause.UNCERTAIN),
    (named("ReadTimeout"), SUBMIT, False, Cause.UNCERTAIN),
    (JobTimeoutError("x"), SUBMIT, False, Cause.UNCERTAIN),
    (http(500), SUBMIT, False, Cause.UNCERTAIN),
    (http(502), SUBMIT, False, Cause.UNCERTAIN),
    (http(503), SUBMIT, False, Cause.UNCERTAIN),
    (http(504, "too many circuits"), SUBMIT, False, Cause.UNCERTAIN),
    (http(408), SUBMIT, False, Cause.UNCERTAIN),
    (http(409, "job already exists"), SUBMIT, False, Cause.UNCERTAIN),
    (IonQRetriable(http(502)), SUBMIT, False, Cause.UNCERTAIN),
    (json.JSONDecodeError("Expecting value", "<html>", 0), SUBMIT, False, Cause.UNCERTAIN),
    (KeyError("id"), SUBMIT, False, Cause.UNCERTAIN),
    (RuntimeError("something"), SUBMIT, False, Cause.UNCERTAIN),
    (RuntimeError("answer not supported"), SUBMIT, False, Cause.UNCERTAIN),
    (RuntimeError("cannot list the running jobs"), SUBMIT, False, Cause.UNCERTAIN),
    (KeyboardInterrupt(), SUBMIT, False, Cause.UNCERTAIN),
    (ProviderError("nonsense"), SUBMIT, False, Cause.UNCERTAIN),
    # ... a first try that may have arrived counts, whatever became of the last one.
    (chained(http(429), named("ReadTimeout"), explicit=False), SUBMIT, False, Cause.UNCERTAIN),
    (chained(ConnectionRefusedError(), TimeoutError(), explicit=False), SUBMIT, False, Cause.UNCERTAIN),
    (chained(KeyError("id"), named("ConnectTimeout"), explicit=False), SUBMIT, False, Cause.UNCERTAIN),
    (chained(ValueError("no answer"), ConnectionResetError()), SUBMIT, False, Cause.UNCERTAIN),
    (ExceptionGroup("both", [ConnectionRefusedError(), ConnectionResetError()]), SUBMIT, False, Cause.UNCERTAIN),
    # ... but not an error that was coped with.
    (chained(ConnectionRefusedError(), KeyError("cache"), explicit=False), SUBMIT, False, Cause.BACKEND_DOWN),
    (chained(http(400), json.JSONDecodeError("x", "x", 0), explicit=False), SUBMIT, False, Cause.REJECTED),
    # Submitting: asked to wait.
    (http(429, "Too many requests"), SUBMIT, False, Cause.RATE_LIMITED),
    (aws("ThrottlingException"), SUBMIT, False, Cause.RATE_LIMITED),
    (named("RateLimitError"), SUBMIT, False, Cause.RATE_LIMITED),
    (http(403, "slow", Retry_After="3"), SUBMIT, False, Cause.RATE_LIMITED),
    (http(429, "5 pending jobs"), SUBMIT, False, Cause.CONCURRENCY),
    (ApiError("no", status_code=429, error_type="too_many_jobs"), SUBMIT, False, Cause.CONCURRENCY),
    (http(429, "Maximum number of concurrent tasks reached"), SUBMIT, False, Cause.CONCURRENCY),
    (http(400, "The queue is full"), SUBMIT, False, Cause.CONCURRENCY),
    (RuntimeError("Too many jobs in flight"), SUBMIT, False, Cause.CONCURRENCY),
    (http(409), SUBMIT, False, Cause.TRANSIENT),
    (http(425), SUBMIT, False, Cause.TRANSIENT),
    # Submitting: the account.
    (http(401), SUBMIT, False, Cause.DENIED),
    (http(402), SUBMIT, False, Cause.DENIED),
    (http(403), SUBMIT, False, Cause.DENIED),
    (aws("AccessDeniedException"), SUBMIT, False, Cause.DENIED),
    (named("NoCredentialsError"), SUBMIT, False, Cause.DENIED),
    (RuntimeError("Invalid API key"), SUBMIT, False, Cause.DENIED),
    # Submitting: refused for good.
    (http(400, "bad gate"), SUBMIT, False, Cause.REJECTED),
    (http(404), SUBMIT, False, Cause.REJECTED),
    (http(422), SUBMIT, False, Cause.REJECTED),
    (http(501), SUBMIT, False, Cause.REJECTED),
    (http(505), SUBMIT, False, Cause.REJECTED),
    (aws("ValidationException"), SUBMIT, False, Cause.REJECTED),
    (chained(RuntimeError("x"), http(400), explicit=False), SUBMIT, False, Cause.REJECTED),
    (TypeError("unexpected keyword"), SUBMIT, False, Cause.REJECTED),
    (ValueError("bad"), SUBMIT, False, Cause.REJECTED),
    (NotImplementedError("lists"), SUBMIT, False, Cause.REJECTED),
    (QiskitError("bad"), SUBMIT, False, Cause.REJECTED),
    (TranspilerError("bad"), SUBMIT, False, Cause.REJECTED),
    (ValueError("Number of qubits 31 in circuits exceeds maximum 29"), SUBMIT, False, Cause.REJECTED),
    (http(413), SUBMIT, False, Cause.TOO_LARGE),
    (http(400, "too many circuits"), SUBMIT, False, Cause.TOO_LARGE),
    (ValueError("shots exceeds 10000"), SUBMIT, False, Cause.TOO_LARGE),
    (RuntimeError("Maximum number of experiments is 75"), SUBMIT, False, Cause.TOO_LARGE),
    # Submitting: this machine.
    (MemoryError(), SUBMIT, False, Cause.TRANSIENT),
    (OSError(errno.ENOSPC, "no space left"), SUBMIT, False, Cause.TRANSIENT),
    # Submitting to this process: nothing is uncertain.
    (TimeoutError(), SUBMIT, True, Cause.TRANSIENT),
    (http(500), SUBMIT, True, Cause.TRANSIENT),
    (RuntimeError("something"), SUBMIT, True, Cause.TRANSIENT),
    (RuntimeError("unsupported gate"), SUBMIT, True, Cause.REJECTED),
    (QiskitError("bad"), SUBMIT, True, Cause.REJECTED),
    # Asking how a job is.
    (http(404), STATUS, False, Cause.LOST_RESULT),
    (http(410), STATUS, False, Cause.LOST_RESULT),
    (http(400), STATUS, False, Cause.TRANSIENT),
    (http(500), STATUS, False, Cause.TRANSIENT),
    (http(503), STATUS, False, Cause.BACKEND_DOWN),
    (http(429, "5 pending jobs"), STATUS, False, Cause.RATE_LIMITED),
    (http(401), STATUS, False, Cause.DENIED),
    (TimeoutError(), STATUS, False, Cause.TRANSIENT),
    (ConnectionRefusedError(), STATUS, False, Cause.BACKEND_DOWN),
    (ValueError("bad"), STATUS, False, Cause.TRANSIENT),
    # Searching a run whose id is unknown: a 404 does not prove that there is none.
    (http(404), LOOKUP, False, Cause.TRANSIENT),
    (http(500), LOOKUP, False, Cause.TRANSIENT),
    (http(403), LOOKUP, False, Cause.DENIED),
    (ConnectionRefusedError(), LOOKUP, False, Cause.BACKEND_DOWN),
    (NotImplementedError(), LOOKUP, False, Cause.TRANSIENT),
    # Asking to cancel a job: REJECTED says that the provider does not.
    (NotImplementedError("cancel"), CANCEL, False, Cause.REJECTED),
    (AttributeError("no cancel"), CANCEL, False, Cause.REJECTED),
    (http(404), CANCEL, False, Cause.REJECTED),
    (http(409, "it is over"), CANCEL, False, Cause.REJECTED),
    (http(429), CANCEL, False, Cause.RATE_LIMITED),
    (http(500), CANCEL, False, Cause.TRANSIENT),
    (http(503), CANCEL, False, Cause.BACKEND_DOWN),
    (TimeoutError("read"), CANCEL, False, Cause.TRANSIENT),
    (ConnectionRefusedError(111, "refused"), CANCEL, False, Cause.BACKEND_DOWN),
    # Fetching: the call failed.
    (http(404), RESULT, False, Cause.LOST_RESULT),
    (http(410), RESULT, False, Cause.LOST_RESULT),
    (http(400, "The results were already fetched"), RESULT, False, Cause.LOST_RESULT),
    (RuntimeError("The job's data has expired"), RESULT, False, Cause.LOST_RESULT),
    (RuntimeError("Results are no longer available"), RESULT, False, Cause.LOST_RESULT),
    (RuntimeError("The access token has expired"), RESULT, False, Cause.DENIED),
    (ConnectionRefusedError(), RESULT, False, Cause.TRANSIENT),
    (TimeoutError("result expired"), RESULT, False, Cause.TRANSIENT),
    (http(500), RESULT, False, Cause.TRANSIENT),
    (http(503), RESULT, False, Cause.TRANSIENT),
    (http(400), RESULT, False, Cause.TRANSIENT),
    (http(429), RESULT, False, Cause.RATE_LIMITED),
    (http(401), RESULT, False, Cause.DENIED),
    (ValueError("invalid literal for int()"), RESULT, False, Cause.TRANSIENT),
    (RuntimeError("something"), RESULT, False, Cause.TRANSIENT),
    # Fetching: the job failed.
    (ProviderError("The provider reports failure: internal error"), RESULT, False, Cause.TRANSIENT),
    (ProviderError("Unsupported gate: rzx"), RESULT, False, Cause.REJECTED),
    (ProviderError("too many qubits"), RESULT, False, Cause.REJECTED),
    (ProviderError("compilation failed"), RESULT, False, Cause.REJECTED),
    (ProviderError("syntax error: invalid token"), RESULT, False, Cause.REJECTED),
    (ProviderError("number of shots exceeds maximum 1000"), RESULT, False, Cause.TOO_LARGE),
    (ProviderError("The provider returned 0 results for 3 circuits."), RESULT, False, Cause.LOST_RESULT),
    (
        ProviderError("The backend returned 90 of 100 shots. Lower max_shots if it does."),
        RESULT,
        False,
        Cause.TRANSIENT,
    ),
    (named("IonQJobFailureError", JobError, text="unsupported"), RESULT, False, Cause.REJECTED),
    # A simulator here computes in result() what it was given in run().
    (QiskitError("bad"), RESULT, True, Cause.REJECTED),
    (RuntimeError("something"), RESULT, True, Cause.TRANSIENT),
]


@pytest.mark.parametrize(
    ("error", "phase", "process_bound", "cause"),
    [pytest.param(*row, id=f"{row[1]}-{index}-{row[3]}") for index, row in enumerate(TABLE)],
)
def test_the_table(error: BaseException, phase: Phase, process_bound: bool, cause: Cause) -> None:
    assert judge(error, phase, process_bound=process_bound).cause is cause


# Chains


def test_a_suppressed_context_is_not_read() -> None:
    error = chained(RuntimeError("x"), http(400), explicit=False)
    error.__suppress_context__ = True
    assert judge(error, SUBMIT).cause is Cause.UNCERTAIN


def test_cycles_end() -> None:
    one, two = RuntimeError("one"), http(400)
    one.__cause__, two.__context__ = two, one
    assert judge(one, SUBMIT).cause is Cause.REJECTED
    assert judge(chained(one, one), SUBMIT).cause is Cause.UNCERTAIN


def test_long_chains_are_cut() -> None:
    errors = [RuntimeError(str(number)) for number in range(MAX_LINKS)]
    assert judge(chained(*errors, http(400)), SUBMIT).cause is Cause.UNCERTAIN
    assert judge(chained(*errors[1:], http(400)), SUBMIT).cause is Cause.REJECTED


def test_an_error_that_cannot_be_read_is_judged_all_the_same() -> None:
    verdict = judge(Unprintable(), SUBMIT)
    assert (verdict.cause, verdict.message) == (Cause.UNCERTAIN, "Unprintable: (no text)")


ERRORS = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([Transient, Rejected, Uncertain, ProviderError, ValueError, QiskitError, OSError, TimeoutError,
                     RuntimeError, ConnectionResetError, ConnectionRefusedError, KeyError, MemoryError, SystemExit]),
    st.text(max_size=60),
) | st.builds(http, st.integers(0, 700), st.text(max_size=60), Retry_After=st.text(max_size=12))  # fmt: skip
CHAINS = st.lists(ERRORS, min_size=1, max_size=5).flatmap(
    lambda errors: st.booleans().map(lambda explicit: chained(*errors, explicit=explicit))
)


@settings(max_examples=300)
@given(CHAINS, st.sampled_from(Phase), st.booleans())
def test_what_holds_for_every_error(error: BaseException, phase: Phase, process_bound: bool) -> None:
    verdict = judge(error, phase, process_bound=process_bound, now=lambda: NOW)
    if process_bound or phase is not SUBMIT:
        assert verdict.cause is not Cause.UNCERTAIN
    if phase in {STATUS, LOOKUP}:
        assert verdict.cause in {
            Cause.TRANSIENT, Cause.RATE_LIMITED, Cause.BACKEND_DOWN, Cause.DENIED, Cause.LOST_RESULT,
        }  # fmt: skip
    assert len(verdict.message) <= MAX_MESSAGE
    assert verdict.message.isprintable()
    assert verdict.retry_after is None or 0 <= verdict.retry_after < float("inf")


@settings(max_examples=200)
@given(st.lists(ERRORS, max_size=4), st.lists(ERRORS, max_size=4), st.booleans())
def test_a_lost_answer_anywhere_leaves_doubt(
    above: list[BaseException], below: list[BaseException], explicit: bool
) -> None:
    errors = [*above, ConnectionResetError(), *below]
    decided = any(isinstance(error, (Transient, Rejected)) for error in errors)
    found = judge(chained(*errors, explicit=explicit), SUBMIT).cause
    assert found is Cause.UNCERTAIN or decided


# Times to wait


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120.0), ("0.5", 0.5), ("-3", 0.0), (formatdate(NOW + 90, usegmt=True), 90.0), (formatdate(NOW - 90), 0.0),
     ("soon", None), ("", None), ("nan", None), ("inf", None), ("Wed, 99 Foo 2020", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float | None) -> None:
    for error in (
        http(429, RETRY_after=said),
        ApiError(response=SimpleNamespace(status_code=429, headers={"retry-after": said})),
        ApiError(http_response=SimpleNamespace(status=429, headers={"Retry-After": said})),
        ApiError(response={"ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": said}}}),
        ApiError(status=429, retry_after=said),
        chained(RuntimeError("x"), http(429, Retry_After=said)),
    ):
        verdict = judge(error, SUBMIT, now=lambda: NOW)
        assert (verdict.cause, verdict.retry_after) == (Cause.RATE_LIMITED, seconds)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError(111, "refused"), Cause.BACKEND_DOWN),
        (ConnectionResetError(104, "reset"), Cause.TRANSIENT),
        (TimeoutError("timed out"), Cause.TRANSIENT),
        (http(503, "maintenance"), Cause.BACKEND_DOWN),
        (http(502, "bad gateway"), Cause.TRANSIENT),
        (http(429, "slow down"), Cause.RATE_LIMITED),
        (RateLimited("slow down"), Cause.RATE_LIMITED),
        (http(401, "who are you"), Cause.DENIED),
        (http(404, "no such device"), Cause.REJECTED),
        (TypeError("unexpected keyword"), Cause.REJECTED),
        (LookupError("no backend 'x' here"), Cause.REJECTED),
        (RuntimeError("no account"), Cause.REJECTED),
        (FileNotFoundError(2, "key.json"), Cause.REJECTED),
        (PermissionError("token expired"), Cause.REJECTED),
    ],
)
def test_what_keeps_a_backend_from_being_made_passes_or_is_the_configuration(error: Exception, cause: Cause) -> None:
    assert judge(error, BUILD).cause is cause


@pytest.mark.parametrize("skew_s", [-600, 0, 600])
def test_a_date_is_one_of_the_providers_clock(skew_s: int) -> None:
    there = NOW + skew_s
    dates = {"Retry_After": formatdate(there + 90, usegmt=True), "Date": formatdate(there, usegmt=True)}
    assert judge(http(429, **dates), SUBMIT, now=lambda: NOW).retry_after == 90.0
    assert judge(http(429, **dates | {"Date": "nonsense"}), SUBMIT, now=lambda: there).retry_after == 90.0


def test_our_own_rate_limit_keeps_its_time() -> None:
    assert judge(RateLimited("slow down", 3.5), SUBMIT).retry_after == 3.5
    assert judge(RateLimited("slow down", -1), SUBMIT).retry_after == 0.0
    assert judge(RateLimited("slow down"), SUBMIT).retry_after is None


# Sizes


@pytest.mark.parametrize(
    ("text", "limit_of", "limit"),
    [
        ("Number of experiments 901 exceeds maximum 900", "circuits", 900),
        ("maximum number of experiments exceeded: 901 > 900", "circuits", 900),
        ("Too many circuits (120), the maximum is 100.", "circuits", 100),
        ("too many circuits", "circuits", None),
        ("at most 300 circuits with at most 100 shots", "circuits", 300),
        ("120 circuits exceed the limit", "circuits", None),
        ("max_circuits=75, got 80 circuits", "circuits", 75),
        ("shots exceeds 10000", "shots", 10_000),
        ("shots (20000) exceeds the limit of 10,000", "shots", 10_000),
        ("shots must be between 1 and 100_000", "shots", 100_000),
        ("number of shots is limited to 8192 in 5 minutes", "shots", 8192),
        ("payload too large", "payload", None),
        ("Request body too large: limit is 4 MB", "payload", 4_000_000),
        ("payload exceeds maximum of 1.5MiB", "payload", 1_572_864),
        ("payload exceeds 6291456 bytes", "payload", 6_291_456),
    ],
)
def test_the_size_and_its_limit(text: str, limit_of: str, limit: int | None) -> None:
    verdict = judge(http(400, text), SUBMIT)
    assert (verdict.cause, verdict.limit_of, verdict.limit) == (Cause.TOO_LARGE, limit_of, limit)


@pytest.mark.parametrize("text", ["shots must be greater than 0", "bad circuits", "no memory left for circuits: max 3"])
def test_other_texts_name_no_size(text: str) -> None:
    verdict = judge(ValueError(text), SUBMIT)
    assert (verdict.cause, verdict.limit_of, verdict.limit) == (Cause.REJECTED, None, None)


def test_a_413_is_about_the_payload_unless_it_says_else() -> None:
    assert judge(http(413), SUBMIT).limit_of == "payload"
    assert judge(http(413, "too many shots"), SUBMIT).limit_of == "shots"


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_limit_is_found_beside_what_was_sent(limit: int, more: int) -> None:
    assert judge(ValueError(f"{limit + more} shots exceeds maximum {limit}"), SUBMIT).limit == limit


@given(st.text(max_size=300).map(lambda text: "too many circuits, maximum " + text))
def test_no_text_breaks_the_search_for_a_limit(text: str) -> None:
    limit = judge(http(413, text), SUBMIT).limit
    assert limit is None or limit >= 1


# Messages


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example/v1?token=SECRET&n=1", "https://h/v1?key=SECRET", "https://user:SECRET@host/jobs",
        "https://SECRET@host", "Authorization: Bearer SECRET", "Authorization: apiKey SECRET", "bearer SECRET",
        "{'Authorization': 'Basic SECRET'}", '{"api_key": "SECRET"}', r"body={\"token\": \"SECRET\"}",
        "password=SECRET", "password: 'my SECRET'", "X-Api-Key: SECRET", "client_secret=SECRET",
        "AccountKey=SECRET;x=1", "X-Amz-Security-Token=SECRET", "Ocp-Apim-Subscription-Key:SECRET",
        "set-cookie: id=SECRET; Path=/",
        "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_secrets_are_masked(text: str) -> None:
    verdict = judge(ApiError(text, body=f"answer: {text}"), SUBMIT)
    assert "S3cr3tS3cr3t" not in judge(ApiError(text.replace("SECRET", "S3cr3tS3cr3t")), SUBMIT).message
    assert "SECRET" not in verdict.message
    assert "***" in verdict.message


def test_a_message_is_one_line_with_type_text_and_answer() -> None:
    response = SimpleNamespace(status_code=400, headers={}, _content=b'{"message": "bad\n gate"}')
    verdict = judge(ApiError("400\tClient\x00 Error", response=response), SUBMIT)
    assert verdict.message == 'ApiError: 400 Client Error ({"message": "bad gate"})'
    assert judge(TimeoutError(), SUBMIT).message == "TimeoutError"


def test_a_denial_says_what_to_do_at_any_length() -> None:
    message = judge(http(401, "x" * 5_000), SUBMIT).message
    assert len(message) == MAX_MESSAGE
    assert message.endswith("Check the account's credentials, rights and credit.")


def test_words_of_urls_decide_nothing() -> None:
    assert judge(http(429, "Too Many Requests for url: https://h/pending_jobs"), SUBMIT).cause is Cause.RATE_LIMITED


@settings(deadline=None)
@given(st.sampled_from(["max ", "a", "token", "concurrent ", "9", "\\'", "too many ", "https://", "job "]))
def test_hostile_texts_take_no_time(part: str) -> None:
    start = time.process_time()
    judge(http(429, part * 2_000), SUBMIT)
    judge(ValueError(part * 2_000), RESULT, process_bound=True)
    assert time.process_time() - start < 2.0


# Rules


def test_rules_are_asked_first_and_in_order() -> None:
    asked: list[tuple[str, Phase]] = []

    def silent(error: BaseException, phase: Phase) -> None:
        asked.append((str(error), phase))

    verdict = judge(ValueError("x"), SUBMIT, rules=[silent, lambda *_: Cause.DENIED, lambda *_: Cause.REJECTED])
    assert verdict.cause is Cause.DENIED
    assert verdict.message.startswith("ValueError: x")
    assert asked == [("x", SUBMIT)]
    own = Verdict(Cause.TOO_LARGE, "mine", limit_of="shots", limit=7)
    assert judge(ValueError("x"), RESULT, rules=[lambda *_: own]) == own


def test_rules_cannot_make_doubt_where_there_is_none() -> None:
    for answer in (Cause.UNCERTAIN, Verdict(Cause.UNCERTAIN, "mine")):
        assert judge(ValueError("x"), STATUS, rules=[lambda *_, a=answer: a]).cause is Cause.TRANSIENT
        assert (
            judge(ValueError("x"), SUBMIT, process_bound=True, rules=[lambda *_, a=answer: a]).cause is Cause.TRANSIENT
        )


def test_a_rule_that_raises_has_no_answer() -> None:
    def broken(error: BaseException, phase: Phase) -> Cause:
        raise KeyError("mistake")

    assert judge(ValueError("x"), SUBMIT, rules=[broken]).cause is Cause.REJECTED


def test_snoozes_are_no_attempts() -> None:
    assert {cause for cause in Cause if cause.is_snooze} == {
        Cause.RATE_LIMITED, Cause.CONCURRENCY, Cause.BACKEND_DOWN, Cause.DENIED,
    }  # fmt: skip


def test_no_http_library_is_imported() -> None:
    import subprocess

    code = (
        "import sys, pubworks.backends.causes;"
        "print([n for n in ('requests', 'urllib3', 'httpx', 'botocore', 'qiskit') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
