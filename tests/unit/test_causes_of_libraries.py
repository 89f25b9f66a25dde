"""Why calls fail, told from the real errors of real libraries; those that are not installed are skipped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest

from pubworks.backends.causes import Cause, Phase, judge

SUBMIT, STATUS, RESULT = Phase.SUBMIT, Phase.STATUS, Phase.RESULT
NOW = 1_800_000_000.0


class Refused(Exception):
    """What a provider makes of an answer that its library only returns."""

    def __init__(self, text: str, response: Any) -> None:
        super().__init__(text)
        self.response = response


@contextmanager
def serving(answer: bytes | None, *, hold: bool = False) -> Iterator[str]:
    """A server that reads a request and answers it; None closes, ``hold`` says nothing until the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                if hold:
                    over.wait(10)
                elif answer:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/jobs"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@contextmanager
def refusing() -> Iterator[str]:
    """An address where nobody listens; the port is kept, so that nobody begins to."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}/jobs"


def answer(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def post_requests(url: str) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        session.post(url, json={}, timeout=(2, 0.3)).raise_for_status()


def post_urllib3(url: str) -> None:
    urllib3 = pytest.importorskip("urllib3")
    timeout = urllib3.Timeout(connect=2, read=0.3)
    with urllib3.PoolManager() as pool:
        response = pool.request("POST", url, body=b"{}", timeout=timeout, retries=False)
    if response.status >= 400:
        raise Refused(f"{response.status} {response.data.decode()}", response)


def post_urllib(url: str) -> None:
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, data=b"{}", timeout=0.3).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise


def post_httpx(url: str) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(trust_env=False, timeout=httpx.Timeout(2, read=0.3)) as client:
        client.post(url, json={}).raise_for_status()


def post_azure(url: str) -> None:
    pytest.importorskip("azure.core")
    from azure.core.exceptions import HttpResponseError
    from azure.core.pipeline.transport import HttpRequest, RequestsTransport

    with RequestsTransport(use_env_settings=False) as transport:
        response = transport.send(HttpRequest("POST", url, data="{}"), connection_timeout=2, read_timeout=0.3)
        if response.status_code >= 400:
            raise HttpResponseError(response=response)


def post_aiohttp(url: str) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    import asyncio

    async def post() -> None:
        timeout = aiohttp.ClientTimeout(sock_connect=2, sock_read=0.3)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            await session.post(url, json={})

    asyncio.run(post())


def post_botocore(url: str) -> None:
    pytest.importorskip("botocore")
    import botocore.session
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=0.3, retries={"total_max_attempts": 1}, proxies={})
    client = botocore.session.get_session().create_client(
        "sqs", "us-east-1", endpoint_url=url, config=config, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.send_message(QueueUrl=url, MessageBody="x")


CLIENTS = [post_requests, post_urllib3, post_urllib, post_httpx, post_azure, post_aiohttp, post_botocore]


def raised(post: Any, url: str) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - every library has its own
        post(url)
    return caught.value


@pytest.mark.parametrize("post", CLIENTS)
class TestRealErrors:
    def test_a_refused_port(self, post: Any) -> None:
        with refusing() as url:
            error = raised(post, url)
        assert judge(error, SUBMIT).cause is Cause.BACKEND_DOWN
        assert judge(error, STATUS).cause is Cause.BACKEND_DOWN
        assert judge(error, RESULT).cause is Cause.TRANSIENT

    def test_a_name_without_an_address(self, post: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*args: object, **options: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert judge(raised(post, "http://qpu.invalid/jobs"), SUBMIT).cause is Cause.BACKEND_DOWN

    def test_a_server_that_closes_after_reading(self, post: Any) -> None:
        with serving(None) as url:
            error = raised(post, url)
        assert judge(error, SUBMIT).cause is Cause.UNCERTAIN
        assert judge(error, SUBMIT, process_bound=True).cause is Cause.TRANSIENT
        assert judge(error, RESULT).cause is Cause.TRANSIENT

    def test_an_answer_that_does_not_come(self, post: Any) -> None:
        with serving(None, hold=True) as url:
            assert judge(raised(post, url), SUBMIT).cause is Cause.UNCERTAIN

    def test_a_reset_and_then_a_refused_port(self, post: Any) -> None:
        with serving(None) as lost, refusing() as refused:
            try:
                post(lost)
            except Exception:
                error = raised(post, refused)
        assert judge(error, SUBMIT).cause is Cause.UNCERTAIN

    @pytest.mark.parametrize(
        ("reply", "cause"),
        [
            (answer("429 Too Many Requests"), Cause.RATE_LIMITED),
            (answer("503 Service Unavailable"), Cause.UNCERTAIN),
            (answer("503 Service Unavailable", "", "Retry-After: 30"), Cause.BACKEND_DOWN),
            (answer("502 Bad Gateway", "<html>"), Cause.UNCERTAIN),
            (answer("400 Bad Request"), Cause.REJECTED),
            (answer("401 Unauthorized"), Cause.DENIED),
            (answer("413 Payload Too Large"), Cause.TOO_LARGE),
        ],
    )
    def test_an_answer(self, post: Any, reply: bytes, cause: Cause) -> None:
        with serving(reply) as url:
            assert judge(raised(post, url), SUBMIT).cause is cause

    @pytest.mark.parametrize("said", ["30", formatdate(NOW + 30, usegmt=True)])
    def test_a_time_to_wait(self, post: Any, said: str) -> None:
        with serving(answer("429 Too Many Requests", "", f"Retry-After: {said}")) as url:
            verdict = judge(raised(post, url), SUBMIT, now=lambda: NOW)
        assert (verdict.cause, verdict.retry_after) == (Cause.RATE_LIMITED, 30.0)


@pytest.mark.parametrize("post", [post_requests, post_urllib3, post_azure])
def test_the_body_of_an_answer_counts(post: Any) -> None:
    with serving(answer("429 Too Many Requests", '{"error": "too_many_jobs"}')) as url:
        assert judge(raised(post, url), SUBMIT).cause is Cause.CONCURRENCY
    with serving(answer("400 Bad Request", '{"error": "maximum number of circuits is 75"}')) as url:
        verdict = judge(raised(post, url), SUBMIT)
    assert (verdict.cause, verdict.limit_of, verdict.limit) == (Cause.TOO_LARGE, "circuits", 75)
    assert "75" in verdict.message


@pytest.mark.parametrize(
    "cut", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n<html>", b"x\r\n"]
)
def test_an_answer_that_cannot_be_read(cut: bytes) -> None:
    requests = pytest.importorskip("requests")
    with serving(cut) as url, requests.Session() as session:
        session.trust_env = False
        error = raised(lambda at: session.post(at, timeout=2).json(), url)
    assert judge(error, SUBMIT).cause is Cause.UNCERTAIN


def test_retries_within_a_provider_that_met_a_503_leave_doubt() -> None:
    requests = pytest.importorskip("requests")
    urllib3 = pytest.importorskip("urllib3")
    retry = urllib3.Retry(1, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    with serving(answer("503 Service Unavailable")) as url, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        error = raised(lambda at: session.post(at, timeout=2), url)
    assert judge(error, SUBMIT).cause is Cause.UNCERTAIN


def test_what_aer_and_qiskit_raise_of_bad_input() -> None:
    aer = pytest.importorskip("qiskit_aer")
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.providers.basic_provider import BasicSimulator

    circuit = QuantumCircuit(1, 1)
    circuit.rx(Parameter("t"), 0)
    circuit.measure(0, 0)
    for run in (lambda: aer.AerSimulator().run([]).result(), lambda: aer.AerSimulator().run(circuit).result(),
                lambda: aer.AerSimulator(method="none"), lambda: BasicSimulator().run(circuit).result()):  # fmt: skip
        with pytest.raises(Exception) as caught:  # noqa: PT011 - Aer's and Qiskit's own
            run()
        assert judge(caught.value, SUBMIT, process_bound=True).cause is Cause.REJECTED
        assert judge(caught.value, RESULT, process_bound=True).cause is Cause.REJECTED
