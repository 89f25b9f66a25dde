"""Uploads come in part by part to a file, and no more at once than there is room for."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from pubworks.errors import ConfigError, TooManyRequests
from pubworks.web import form, intake
from pubworks.web.form import Form, boundary_of
from pubworks.web.intake import IN_MEMORY, OF_ONE, ON_DISK, Intake

#: Bytes of a part that makes an upload wait on disk.
LARGE = IN_MEMORY + 1

letters = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"\\')
names = st.text(letters, min_size=1, max_size=40)


def sent(parts: list[tuple[str, bytes]], *, as_files: bool = True) -> tuple[bytes, str]:
    """Return an upload, and its content type."""
    files = [(name, (name if as_files else None, data)) for name, data in parts]
    request = httpx.Request("POST", "http://lab", files=files)
    return request.read(), request.headers["content-type"]


def taken(body: bytes, kind: str, cuts: list[int]) -> dict[str, bytes]:
    """Return the parts of an upload that comes in pieces."""
    boundary, file = boundary_of(kind), io.BytesIO()
    assert boundary is not None
    found = Form(boundary, file)
    places = [0, *sorted(cuts), len(body)]
    for start, end in zip(places, places[1:], strict=False):
        found.write(body[start:end])
    return {name: b"".join(span.chunks()) for name, span in found.parts.items()}


@given(st.dictionaries(names, st.binary() | st.just(b"\r\n--")), st.booleans(), st.data())
def test_parts_are_found_however_the_upload_is_cut(parts: dict[str, bytes], as_files: bool, data: Any) -> None:
    if parts:
        body, kind = sent(list(parts.items()), as_files=as_files)
        cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=20))
        assert taken(body, kind, cuts) == parts


@given(st.dictionaries(names, st.binary(), min_size=1), st.data())
def test_half_an_upload_has_the_parts_that_are_whole(parts: dict[str, bytes], data: Any) -> None:
    body, kind = sent(list(parts.items()))
    found = taken(body[: data.draw(st.integers(0, len(body) - 1))], kind, [])
    assert found.items() <= parts.items()


@given(st.binary())
def test_any_bytes_are_an_upload_or_refused(body: bytes) -> None:
    with contextlib.suppress(HTTPException):
        taken(b"--x\r\n" + body, "multipart/form-data; boundary=x", [])


def test_of_two_parts_with_one_name_the_last_counts() -> None:
    assert taken(*sent([("a", b"1"), ("b", b"2"), ("a", b"3")]), []) == {"a": b"3", "b": b"2"}


@pytest.mark.parametrize(("kind", "body"), [
    ("multipart/form-data", b""),
    (f"multipart/form-data; boundary={'x' * 300}", b""),
    ("multipart/form-data; boundary=x", b"nonsense"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\n1\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", sent([("n" * 201, b"")])[0]),
])  # fmt: skip
def test_what_is_no_upload_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(HTTPException, match="cannot be read: .* Send multipart/form-data"):
        taken(body, kind, [])


def test_a_name_that_is_too_long_and_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(*sent([("n" * 200, b"")]), []) == {"n" * 200: b""}
    with pytest.raises(HTTPException, match="more than 200 bytes"):
        taken(*sent([("n" * 201, b"")]), [])
    monkeypatch.setattr(form, "_MOST_PARTS", 2)
    assert len(taken(*sent([("a", b""), ("b", b"")]), [])) == 2
    with pytest.raises(HTTPException, match="more than 2 parts"):
        taken(*sent([("a", b""), ("b", b""), ("c", b"")]), [])


class Upload:
    """A request whose body is one part of so many bytes."""

    def __init__(self, size: int, kind: str = "multipart/form-data; boundary=x") -> None:
        self.headers = {"content-type": kind}
        self._chunks = [b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n', bytes(size), b"\r\n--x--\r\n"]

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def enter(stack: AsyncExitStack, desk: Intake, owner: str, size: int = LARGE) -> Any:
    return await stack.enter_async_context(desk.parts(Upload(size), owner))  # type: ignore[arg-type]


def test_what_is_no_multipart_has_no_parts(tmp_path: Path) -> None:
    async def parts() -> Any:
        async with Intake(tmp_path).parts(Upload(5, "application/json"), "ann") as parts:  # type: ignore[arg-type]
            return parts

    assert asyncio.run(parts()) == {}


def test_a_large_upload_is_on_disk_as_long_as_it_is_needed(tmp_path: Path) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            small, large = [await enter(stack, Intake(tmp_path), "ann", size) for size in (500_000, LARGE)]
            assert [parts["a"].file._rolled for parts in (small, large)] == [False, True]
            assert [len(parts["a"]) for parts in (small, large)] == [500_000, LARGE]
        assert [parts["a"].file.closed for parts in (small, large)] == [True, True]

    asyncio.run(test())
    assert list(tmp_path.iterdir()) == []


def test_one_user_has_so_many_places_and_waits_for_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        desk = Intake(tmp_path)
        async with AsyncExitStack() as stack, AsyncExitStack() as first:
            await enter(first, desk, "ann")
            for _ in range(OF_ONE - 1):
                await enter(stack, desk, "ann")
            waiting = asyncio.create_task(enter(stack, desk, "ann"))
            await enter(stack, desk, "ann", 500_000)
            await enter(stack, desk, "ben")
            assert not waiting.done()
            await first.aclose()
            assert len((await waiting)["a"]) == LARGE
        assert desk._places._value == ON_DISK
        assert dict(desk._places_of) == {}

    asyncio.run(test())


def test_who_has_no_place_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        desk = Intake(tmp_path)
        async with AsyncExitStack() as stack:
            for number in range(ON_DISK):
                await enter(stack, desk, f"user{number // OF_ONE}")
            monkeypatch.setattr(intake, "_PATIENCE_S", 0.0)
            with pytest.raises(TooManyRequests, match="Try again later"):
                await enter(stack, desk, "zoe")
            await enter(stack, desk, "zoe", 500_000)
        monkeypatch.undo()
        async with AsyncExitStack() as stack:
            await enter(stack, desk, "zoe")

    asyncio.run(test())


def test_an_upload_that_breaks_off_gives_its_place_back(tmp_path: Path) -> None:
    class Broken(Upload):
        async def stream(self) -> AsyncIterator[bytes]:
            async for chunk in super().stream():
                if chunk.startswith(b"\r\n"):
                    raise ConnectionError
                yield chunk

    async def test() -> None:
        desk = Intake(tmp_path)
        with pytest.raises(ConnectionError):
            async with desk.parts(Broken(LARGE), "ann"):  # type: ignore[arg-type]
                raise AssertionError
        assert desk._places._value == ON_DISK

    asyncio.run(test())


def test_who_has_no_turn_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_PATIENCE_S", 0.0)

    async def test() -> None:
        desk = Intake(tmp_path)
        async with AsyncExitStack() as stack:
            for _ in range(intake._IN_HAND):
                await stack.enter_async_context(desk.turn())
            with pytest.raises(TooManyRequests):
                await stack.enter_async_context(desk.turn())
        async with desk.turn():
            pass

    asyncio.run(test())


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Set PUBWORKS_DATA_DIR"):
        Intake(tmp_path / "file" / "folder")
