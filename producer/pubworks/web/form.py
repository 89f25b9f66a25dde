"""The parts of an upload of ``multipart/form-data``, one after another in a file."""

from __future__ import annotations

from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from pubworks.ledger.parcels import Span
from pubworks.web.requests import LONGEST_NAME, MOST_PUBS

#: A circuit and values for each PUB, and the job.
_MOST_PARTS = 2 * MOST_PUBS + 1


def boundary_of(content_type: str | None) -> bytes | None:
    """Return what is between the parts of an upload, or None where it has no parts.

    Raises:
        HTTPException: It does not say.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    if not options.get(b"boundary"):
        raise _unreadable("it names no boundary")
    return options[b"boundary"]


class Form:
    """Takes an upload as it comes; of its bytes it keeps none.

    Args:
        boundary: What is between its parts.
        file: Where they go.

    Raises:
        HTTPException: There can be no such boundary.
    """

    def __init__(self, boundary: bytes, file: IO[bytes]) -> None:
        #: Those that are whole, by name.
        self.parts: dict[str, Span] = {}
        self._file, self._size = file, 0
        self._name, self._start, self._begun = "", 0, 0
        self._header, self._value, self._disposition = bytearray(), bytearray(), ""
        try:
            self._parser = MultipartParser(boundary, {
                "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end,
                "on_header_field": self._on_header, "on_header_value": self._on_value,
                "on_header_end": self._end_header, "on_headers_finished": self._end_headers,
            })  # fmt: skip
        except FormParserError as error:
            raise _unreadable(error) from None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            HTTPException: They are not such an upload, or it has too many parts.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from None

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > _MOST_PARTS:
            raise _unreadable(f"it has more than {_MOST_PARTS} parts")
        self._start, self._disposition = self._size, ""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name")
        if name is None or len(name) > LONGEST_NAME:
            raise _unreadable(f"a part has no name in Content-Disposition, or one of more than {LONGEST_NAME} bytes")
        self._name = name.decode(errors="replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._file.write(memoryview(data)[start:end])
        self._size += end - start

    def _end(self) -> None:
        self.parts[self._name] = Span(self._file, self._start, self._size - self._start)


def _unreadable(why: object) -> HTTPException:
    return HTTPException(400, f"The upload cannot be read: {why}. Send multipart/form-data.")
