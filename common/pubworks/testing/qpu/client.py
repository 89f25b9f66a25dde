"""The HTTP client of the simulated QPU's provider; each call is one request."""

from __future__ import annotations

from typing import Any

import requests
from qiskit.exceptions import QiskitError


class QpuError(QiskitError):  # type: ignore[misc]
    """The service refused a request, or a job failed.

    Errors of the connection are not wrapped: they are ``requests.ConnectionError`` and ``requests.Timeout``.

    Args:
        message: What the service said.
        response: The HTTP answer.
    """

    def __init__(self, message: str, response: requests.Response) -> None:
        super().__init__(message)
        self.response = response
        #: The HTTP status, 200 for a job that failed.
        self.status_code: int = response.status_code
        #: The service's own word for the error, empty if it gave none.
        self.code: str = str(_body(response).get("code", ""))


class QpuClient:
    """A connection that is kept open.

    Args:
        url: Where the service listens.
        token: Sent with every request.
        timeout_s: Seconds for connecting, and for each wait for an answer.
    """

    def __init__(self, url: str, token: str = "", timeout_s: tuple[float, float] = (3.0, 10.0)) -> None:
        self.url = url.rstrip("/")
        self.timeout_s = (timeout_s[0], timeout_s[1])  # a list in TOML, and requests wants a pair
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy has no way to this machine
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **parts: Any) -> requests.Response:
        """Send one request and return its answer.

        Args:
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
            path: Where to, from the service's URL.
            parts: As in ``requests.Session.request``.

        Raises:
            QpuError: The answer is an HTTP error, which is the cause.
            requests.RequestException: There is no answer.
        """
        response = self.session.request(method, self.url + path, timeout=self.timeout_s, **parts)
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            said = _body(response).get("message") or error
            raise QpuError(f"HTTP {response.status_code}: {said}", response) from error
        return response

    def close(self) -> None:
        """Close the connection."""
        self.session.close()


def _body(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
