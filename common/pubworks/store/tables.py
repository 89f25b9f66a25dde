"""The tables. The database is the truth; every message is only a doorbell.

Times are seconds since 1970 in UTC by the database's clock, as floats.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_ID = String(64)
_NAME = String(200)
_EVENT_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements INTEGER keys only


def _of_rows(condition: str) -> dict[str, Any]:
    """Return what makes an index one of some rows only."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


#: One ``run(pubs)`` call.
jobs = Table(
    "jobs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", _NAME),
    Column("primitive", String(16), nullable=False),
    Column("backend", _NAME, nullable=False),
    Column("state", String(16), nullable=False),
    Column("options", JSON, nullable=False),
    Column("num_pubs", Integer, nullable=False),
    Column("num_batches", Integer, nullable=False),
    #: Batches that are not final yet; the transaction that ends a batch lowers it.
    Column("batches_left", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    #: Who submitted it through the server: the owner of the token; empty: straight to the database.
    Column("owner", _NAME, nullable=False, server_default=text("''")),
    #: Whether every user of the server may see it.
    Column("shared", Boolean, nullable=False, server_default=false()),
    #: Two submissions of one owner with one key are one job.
    Column("idempotency_key", _NAME),
    #: Hash of what was submitted with the key.
    Column("content", String(64)),
    #: The session, or batch of jobs, that it was submitted to.
    Column("session", _ID),
    #: Each filter of a listing, in the order of the listing.
    Index("ix_jobs_created_at", "created_at", "id"),
    Index("ix_jobs_backend", "backend", "created_at", "id"),
    Index("ix_jobs_state", "state", "created_at", "id"),
    Index("ix_jobs_primitive", "primitive", "created_at", "id"),
    Index("ix_jobs_name", "name", "created_at", "id"),
    Index("ix_jobs_idempotency_key", "owner", "idempotency_key", unique=True),
    Index("ix_jobs_owner", "owner", "created_at", "id"),
    Index("ix_jobs_shared", "created_at", "id", **_of_rows("shared")),
    Index("ix_jobs_session", "session", "created_at", "id", **_of_rows("session IS NOT NULL")),
    #: Which of a session are open, and which ended last.
    Index("ix_jobs_session_finished", "session", "finished_at", **_of_rows("session IS NOT NULL")),
)

#: Jobs that belong together: a batch of them, or a session, whose batches go before those of others.
sessions = Table(
    "sessions",
    metadata,
    Column("id", _ID, primary_key=True),
    #: ``session`` or ``batch``.
    Column("mode", String(16), nullable=False),
    Column("backend", _NAME, nullable=False),
    #: Seconds from ``started_at`` to ``ends_at``; NULL: it never ends by itself.
    Column("max_time_s", Float),
    #: Seconds without a job after which it waits in the queue again like others.
    Column("idle_s", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    #: When the first of its batches was claimed.
    Column("started_at", Float),
    Column("ends_at", Float),
    #: Sessions only: since when its batches go first; NULL until its next one is claimed in the order of all.
    Column("active_since", Float),
    #: When it was closed: it takes no more jobs.
    Column("closed_at", Float),
    #: When the keeper found that nothing is left to do for it.
    Column("ended_at", Float),
    #: Who opened it through the server; empty: straight in the database.
    Column("owner", _NAME, nullable=False, server_default=text("''")),
    Index("ix_sessions_created_at", "created_at", "id"),
    Index("ix_sessions_active", "backend", "active_since", "id", **_of_rows("active_since IS NOT NULL")),
    Index("ix_sessions_open", "ends_at", **_of_rows("ended_at IS NULL")),
)

#: Words by which people find jobs again.
job_tags = Table(
    "job_tags",
    metadata,
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", _NAME, primary_key=True),
    Index("ix_job_tags_tag", "tag", "job_id"),
)

#: A circuit, once per content, with its parameters unbound.
circuits = Table(
    "circuits",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("qpy", LargeBinary, nullable=False),
)

pubs = Table(
    "pubs",
    metadata,
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("circuit", String(64), ForeignKey("circuits.hash"), nullable=False),
    Column("shape", JSON, nullable=False),
    #: Bound circuits: the product of the shape, or as many as measure the observables.
    Column("size", Integer, nullable=False),
    Column("shots", BigInteger, nullable=False),
    #: Parameter values, one row per element of their shape, in the order of ``circuit.parameters``; NULL without
    #: parameters.
    Column("parameter_values", LargeBinary),
    #: ``{"num_clbits": n, "measures": bool, "registers": [[name, [bit, …]], …]}``
    Column("readout", JSON, nullable=False),
    Column("circuit_metadata", JSON),
    #: Estimator only: bases, terms and coefficients; the arrays of ``pubworks.estimation.measurement``.
    Column("measurement", LargeBinary),
    #: Circuit runs whose chunks are not stored yet; 0 makes the PUB ready to be merged.
    Column("missing", BigInteger, nullable=False),
    #: When ``missing`` became 0.
    Column("ready_at", Float),
    #: When the result was stored.
    Column("collected_at", Float),
    Index("ix_pubs_ready", "ready_at", **_of_rows("collected_at IS NULL AND missing = 0")),
)

#: Slices that together are one ``backend.run``.
batches = Table(
    "batches",
    metadata,
    #: ``<job id>-<position>``; also the tag of every provider job made from it.
    Column("id", _ID, primary_key=True),
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("backend", _NAME, nullable=False),
    #: That of its job.
    Column("session", _ID),
    Column("state", String(16), nullable=False),
    Column("shots", BigInteger, nullable=False),
    Column("seed", BigInteger),
    #: ``[[pub, first, end, first shot], …]``
    Column("slices", JSON, nullable=False),
    Column("num_circuits", Integer, nullable=False),
    #: Options of ``backend.run``, the same for all of its circuits.
    Column("run_options", JSON, nullable=False),
    #: When a worker should act on it; NULL while one does, and when nothing is left to do.
    Column("due_at", Float),
    Column("lease_owner", _ID),
    Column("lease_until", Float),
    #: Counts claims; a worker whose fence is old has lost the batch.
    Column("fence", Integer, nullable=False),
    #: Runs that failed in a way that counts, and when the first trouble came; both bound how long it is tried.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("failing_since", Float),
    #: The run that is in flight: by which id the provider knows it, and since when; in doubt: since when.
    Column("provider_job_id", Text),
    Column("accepted_at", Float),
    #: Why the batch is where it is, for people.
    Column("reason", Text),
    Column("finished_at", Float),
    Index("ix_batches_job", "job_id", "position"),
    Index("ix_batches_open", "backend", "state", "due_at", "job_id", "position",
          **_of_rows("finished_at IS NULL")),
    Index("ix_batches_session", "session", "state", "due_at", "job_id", "position", "id",
          **_of_rows("session IS NOT NULL AND finished_at IS NULL")),
    Index("ix_batches_leased", "lease_until", **_of_rows("lease_until IS NOT NULL")),
)  # fmt: skip

#: One attempt at a batch; the row is committed before ``backend.run`` is called.
provider_jobs = Table(
    "provider_jobs",
    metadata,
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    #: The fence of the claim that made it.
    Column("attempt", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("worker", _ID, nullable=False),
    #: The id by which the provider knows the job.
    Column("provider_job_id", Text),
    #: Whether a person gave this id.
    Column("by_hand", Boolean, nullable=False, server_default=false()),
    Column("error", Text),
    Column("claimed_at", Float, nullable=False),
    Column("accepted_at", Float),
    Column("finished_at", Float),
)

#: The stored outcome of one slice; never changed.
chunks = Table(
    "chunks",
    metadata,
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("job_id", _ID, nullable=False),
    Column("pub", Integer, nullable=False),
    Column("first", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("first_shot", BigInteger, nullable=False),
    Column("shots", BigInteger, nullable=False),
    Column("outcomes", LargeBinary, nullable=False),
    Index("ix_chunks_pub", "job_id", "pub"),
)

#: The merged result of one PUB.
results = Table(
    "results",
    metadata,
    Column("job_id", _ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("pub", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: What workers found out about a backend by building it.
backends = Table(
    "backends",
    metadata,
    Column("name", _NAME, primary_key=True),
    #: Hash of factory and arguments; another hash makes the row out of date.
    Column("spec", String(64), nullable=False),
    Column("num_qubits", Integer),
    Column("max_circuits", Integer),
    #: Why it could not be built, if it could not.
    Column("error", Text),
    Column("described_at", Float, nullable=False),
    #: Limits that the provider taught by refusing a run: ``{"max_circuits": n, …}``.
    Column("learned", JSON),
)

#: How much of a backend the whole fleet may use, and how it stands; a backend without a row is not limited.
limits = Table(
    "limits",
    metadata,
    Column("backend", _NAME, primary_key=True),
    #: What the configuration said when these were last taken from it; what is set live stays until that changes.
    Column("configured", JSON),
    #: Seconds per submission and per request of any kind, and how many may come at once; NULL is no limit.
    Column("submit_interval", Float),
    Column("submit_burst", Integer),
    Column("request_interval", Float),
    Column("request_burst", Integer),
    #: Most provider jobs at once.
    Column("max_in_flight", Integer),
    #: Theoretical arrival times of the next submission and request (GCRA).
    Column("submit_at", Float, nullable=False, server_default=text("0")),
    Column("request_at", Float, nullable=False, server_default=text("0")),
    #: Provider jobs at once that the provider seems to bear; NULL until it refused one (AIMD).
    Column("window", Float),
    #: The provider asked to be left alone until then, how often in a row, and in which words.
    Column("snoozed_until", Float, nullable=False, server_default=text("0")),
    Column("snoozes", Integer, nullable=False, server_default=text("0")),
    Column("snooze_reason", Text),
    #: Failures in a row; from a number on the breaker is open until ``probe_at``, then one run may try.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("probe_at", Float),
    Column("failure_reason", Text),
)

workers = Table(
    "workers",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("host", _NAME, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("backends", JSON, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    #: Whether it lives in a client's process, and ends with it.
    Column("embedded", Boolean, nullable=False, server_default=false()),
    #: Whether it was asked to take nothing more, finish and end; its keeper reads that.
    Column("draining", Boolean, nullable=False, server_default=false()),
)

#: Append-only: what happened, for timelines and audits.
events = Table(
    "events",
    metadata,
    Column("id", _EVENT_ID, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("job_id", _ID, nullable=False),
    Column("batch_id", _ID),
    Column("what", String(32), nullable=False),
    Column("detail", JSON),
    Index("ix_events_job", "job_id", "id"),
)

#: Who may use the server; the secret itself is nowhere.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    #: SHA-256 of the secret, in hex.
    Column("hash", String(64), nullable=False),
    #: The user, or program, that uses it.
    Column("owner", _NAME, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

#: Who is logged in at the page; the secret of the cookie is nowhere.
logins = Table(
    "logins",
    metadata,
    #: SHA-256 of the secret, in hex.
    Column("hash", String(64), primary_key=True),
    Column("token", String(16), ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("ends_at", Float, nullable=False),
    Index("ix_logins_ends_at", "ends_at"),
)

#: Append-only, and kept so by triggers: who changed what, and why.
audit = Table(
    "audit",
    metadata,
    Column("id", _EVENT_ID, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", _NAME, nullable=False),
    #: Id of the token that was used; NULL on the command line.
    Column("token", String(16)),
    Column("what", Text, nullable=False),
    #: Ids of the jobs that it was about, as far as they have an event of it.
    Column("jobs", JSON, nullable=False),
    Column("why", Text),
)
