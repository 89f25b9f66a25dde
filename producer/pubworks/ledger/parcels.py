"""What goes between the server, its confined processes and its clients: JSON and blobs, never pickle."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, Any

from pubworks.store.records import BatchDraft, JobDraft, PubDraft, Slice, StoredPub

#: How many parts follow, and how long each of them is.
_COUNT, _SIZE = struct.Struct("!I"), struct.Struct("!Q")

#: Most bytes of a file that are in memory while they are copied.
_CHUNK = 1 << 18

_BLOBS_OF_PUB = ("parameter_values", "measurement")


@dataclass(frozen=True)
class Span:
    """A blob that stays in a file until it is written."""

    file: IO[bytes]
    #: Where it begins, and how many bytes it has.
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes, not many at once.

        Raises:
            EOFError: The file ends too early.
        """
        self.file.seek(self.start)
        for done in range(0, self.size, _CHUNK):
            yield _exactly(self.file, min(_CHUNK, self.size - done))


def write(file: IO[bytes], head: Any, blobs: Sequence[bytes | Span]) -> None:
    """Write one parcel.

    Raises:
        EOFError: The file of a blob ends too early.
    """
    parts = [json.dumps(head).encode(), *blobs]
    file.write(_COUNT.pack(len(parts)))
    for part in parts:
        file.write(_SIZE.pack(len(part)))
        for chunk in part.chunks() if isinstance(part, Span) else (part,):
            file.write(chunk)
    file.flush()


def read(file: IO[bytes], limit: int) -> tuple[Any, list[bytes]]:
    """Return one parcel: its JSON and its blobs.

    Raises:
        EOFError: It ends too early, or holds more than ``limit`` bytes.
    """
    parts = []
    for _ in range(*_COUNT.unpack(_exactly(file, _COUNT.size))):
        (size,) = _SIZE.unpack(_exactly(file, _SIZE.size))
        limit -= size
        if limit < 0:
            raise EOFError("it is too large")
        parts.append(_exactly(file, size))
    return json.loads(parts[0]), parts[1:]


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    return data


def pack_draft(draft: JobDraft) -> tuple[dict[str, Any], list[bytes]]:
    """Return a job as JSON values and blobs; the JSON has the places of the blobs."""
    blobs: list[bytes] = []

    def put(blob: bytes | None) -> int | None:
        if blob is not None:
            blobs.append(blob)
        return None if blob is None else len(blobs) - 1

    head = asdict(draft)
    head["circuits"] = {key: put(blob) for key, blob in draft.circuits.items()}
    for pub in head["pubs"]:
        pub.update({name: put(pub[name]) for name in _BLOBS_OF_PUB})
    return head, blobs


def unpack_draft(head: dict[str, Any], blobs: list[bytes]) -> JobDraft:
    """Return what was given to :func:`pack_draft`."""

    def pub(values: dict[str, Any]) -> PubDraft:
        found = {name: None if values[name] is None else blobs[values[name]] for name in _BLOBS_OF_PUB}
        return PubDraft(**{**values, **found, "shape": tuple(values["shape"])})

    circuits = {key: blobs[place] for key, place in head["circuits"].items()}
    pubs, batches = tuple(map(pub, head["pubs"])), tuple(map(_batch, head["batches"]))
    return JobDraft(**{**head, "circuits": circuits, "pubs": pubs, "batches": batches, "tags": tuple(head["tags"])})


def _batch(values: dict[str, Any]) -> BatchDraft:
    return BatchDraft(**{**values, "slices": tuple(Slice(*piece) for piece in values["slices"])})


def pack_inputs(file: IO[bytes], pubs: Sequence[StoredPub], circuits: Mapping[str, bytes]) -> None:
    """Write PUBs and circuits as one parcel."""
    blobs = list(circuits.values())
    head = []
    for pub in pubs:
        held = {name: data for name in _BLOBS_OF_PUB if (data := getattr(pub, name)) is not None}
        places = {name: len(blobs) + number for number, name in enumerate(held)}
        head.append({**asdict(replace(pub, parameter_values=None, measurement=None)), **places})
        blobs.extend(held.values())
    write(file, {"circuits": list(circuits), "pubs": head}, blobs)


def unpack_inputs(parcel: bytes) -> tuple[list[StoredPub], dict[str, bytes]]:
    """Return what was given to :func:`pack_inputs`."""
    head, blobs = read(io.BytesIO(parcel), len(parcel))

    def pub(values: dict[str, Any]) -> StoredPub:
        found = {name: blobs[place] for name in _BLOBS_OF_PUB if (place := values[name]) is not None}
        return StoredPub(**{**values, **found, "shape": tuple(values["shape"])})

    return [pub(values) for values in head["pubs"]], dict(zip(head["circuits"], blobs, strict=False))
