"""Settings: flag > ``PUBWORKS_*`` environment > ``pubworks.toml`` > ``pubworks up`` > default.

The file is looked for at ``PUBWORKS_CONFIG``, then ``./pubworks.toml``, then in the user's configuration folder.
A worked example::

    database = "postgresql+psycopg://lab@db.lab/pubworks"
    broker = "redis://queue.lab:6379/0"

    [backends.aria]
    factory = "our_lab.backends:ionq"     # module:callable that returns a BackendV2
    arguments = { name = "qpu.aria-1" }   # keyword arguments of the factory
    secrets = { token = "IONQ_API_KEY" }  # argument = name of the environment variable that holds it
    max_shots = 10000
    limits = { submit = "5/min", in_flight = 3 }     # over the whole fleet
    policy = { max_attempts = 4, poll_longest_s = 60 }
    price = { per_circuit = 0.3, per_shot = 0.01, currency = "USD" }
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pubworks.behaviour import Behaviour
from pubworks.errors import ConfigError
from pubworks.policy import Policy, Price, Quota, Rate

CONFIG_NAME = "pubworks.toml"

#: Where, in the data directory, ``pubworks up`` says how what it runs is reached; there while it is up.
STACK_CONNECTION = Path("stack") / "connection.json"

#: Names of arguments whose values are secrets.
SECRET_NAME = re.compile(r"token|secret|passw|credential|key", re.IGNORECASE)

#: The broker that needs no server: an in-memory transport of this process.
EMBEDDED_BROKER = "embedded://"


class BackendEntry(BaseModel):
    """One ``[backends.NAME]`` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: ``module:callable``; called with ``arguments`` and the values of ``secrets``, it returns a ``BackendV2``.
    factory: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    arguments: dict[str, Any] = {}
    #: Keyword argument -> name of the environment variable that holds its value.
    secrets: dict[str, str] = {}
    #: Most circuits in one ``backend.run``; the smaller of this and the backend's own counts.
    max_circuits: int | None = Field(None, gt=0)
    #: Most shots in one ``backend.run``; more are split over several runs and merged.
    max_shots: int | None = Field(None, gt=0)
    #: Most bytes of QPY in one ``backend.run`` (before compression, parameters unbound).
    max_payload_bytes: int | None = Field(None, gt=0)
    #: How much of it the whole fleet may use.
    limits: Quota = Quota()
    #: How its runs are watched and tried again.
    policy: Policy = Policy()
    #: How it differs from others, where that cannot be found out.
    behaviour: Behaviour = Behaviour()
    #: ``module:class`` of its adapter; without, that of the provider's package, or the generic one.
    adapter: str | None = Field(None, pattern=r"^[\w.]+:[\w.]+$")
    #: What its runs cost: a table, or ``module:callable`` that says it of a run.
    price: Price | None = None


class Settings(BaseSettings):
    """All settings of a process; see the module's text for the sources."""

    model_config = SettingsConfigDict(env_prefix="PUBWORKS_", extra="forbid", frozen=True)

    url: str = Field(
        "",
        pattern=r"^(local|https?://[^\s/?#@]+[^\s?#@]*)?$",
        description="https://… of a server; local: all in the memory of this process; empty: a database and a broker.",
    )
    token: SecretStr | None = Field(None, description="The token for the server at url.")
    plain_http: bool = Field(False, description="Whether the token may go unencrypted to another machine.")
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("pubworks")),
        description="Where the default database and spool files live.",
    )
    database: str = Field("", description="SQLAlchemy URL; empty: pubworks.db in data_dir.")
    broker: str = Field(
        EMBEDDED_BROKER,
        pattern=r"^(embedded|rediss?|redis\+socket|sentinel|amqps?)://",
        description="embedded:// (nothing to start), redis://… or amqp://…",
    )
    lease_s: float = Field(60.0, gt=1, description="Seconds after which a silent worker's batch is taken over.")
    keeper_interval_s: float = Field(1.0, gt=0, description="Seconds between two looks of the keeper.")
    shutdown_grace_s: float = Field(30.0, ge=0, description="Seconds a stopping worker may use to finish what it runs.")
    metrics_port: int | None = Field(
        None, gt=0, lt=65536, description="Port at which a worker answers Prometheus at /metrics; none: it does not."
    )
    metrics_host: str = Field("127.0.0.1", description="Address that it listens on; 0.0.0.0 in a container.")
    log_format: Literal["text", "json"] = Field("text", description="How a worker writes its log.")
    api_rate: str = Field("50/s burst 200", description="Requests of one token to one server process.")
    api_max_upload_bytes: int = Field(
        256 << 20, gt=0, le=1 << 30, description="Most bytes of one submission to the server; up to 1 GiB."
    )
    backends: dict[str, BackendEntry] = Field({}, description="Backends by name.")

    @field_validator("api_rate")
    @classmethod
    def _is_a_rate(cls, text: str) -> str:
        Rate.parse(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _in_memory(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give what is local a database of its own, whatever else names one."""
        if values.get("url") != "local":
            return values
        memory = f"sqlite:///file:/pubworks-{uuid.uuid4().hex}?vfs=memdb&uri=true"
        return {**values, "database": memory, "broker": EMBEDDED_BROKER}

    @property
    def is_local(self) -> bool:
        """Whether everything is in the memory of this process."""
        return self.url == "local"

    @property
    def is_remote(self) -> bool:
        """Whether a server keeps the jobs."""
        return self.url.startswith("http")

    @property
    def database_url(self) -> str:
        """The URL of the database in use."""
        return self.database or f"sqlite:///{self.data_dir / 'pubworks.db'}"

    @property
    def embedded(self) -> bool:
        """Whether the broker lives inside each process."""
        return self.broker.startswith("embedded:") and not self.is_remote

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank flags over environment over file over what ``pubworks up`` runs."""
        return (init_settings, env_settings, _FileSource(settings_cls), _StackSource(settings_cls))


class _Backends(BaseModel):
    """Backends alone, to be checked as those of the settings are."""

    backends: dict[str, BackendEntry]


class _FileSource(PydanticBaseSettingsSource):
    """The values of ``pubworks.toml``."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_file(config_path())


class _StackSource(PydanticBaseSettingsSource):
    """Database and broker of ``pubworks up``; both or, where something else names one of them, neither."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return _stack(self.current_state)


def _stack(chosen: dict[str, Any]) -> dict[str, str]:
    """Return the URLs of the database and the broker that ``pubworks up`` runs.

    Args:
        chosen: Settings from elsewhere; where they name one of the two, or another place, nothing is returned.
    """
    if chosen.keys() & {"database", "broker"} or chosen.get("url"):
        return {}
    folder = Path(chosen.get("data_dir") or platformdirs.user_data_dir("pubworks"))
    try:
        return dict(json.loads((folder / STACK_CONNECTION).read_text()))
    except OSError:  # it is not up, or another user's
        return {}


def config_path() -> Path | None:
    """Return the configuration file in use, or None.

    Raises:
        ConfigError: ``PUBWORKS_CONFIG`` names a file that is not there.
    """
    if named := os.environ.get("PUBWORKS_CONFIG"):
        if not Path(named).is_file():
            raise ConfigError(f"PUBWORKS_CONFIG names {named}, which is not a file. Create it or unset the variable.")
        return Path(named)
    places = (Path(CONFIG_NAME), Path(platformdirs.user_config_dir("pubworks")) / CONFIG_NAME)
    return next((place for place in places if place.is_file()), None)


def read_file(path: Path | None) -> dict[str, Any]:
    """Return the tables of a configuration file.

    Raises:
        ConfigError: It is not TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}. Mend that line.") from error


def load_settings(**flags: Any) -> Settings:
    """Return the settings of this process.

    Args:
        flags: Values that win over every other source; ``None`` counts as not given.

    Raises:
        ConfigError: Names the setting, what is wrong with it and where it came from.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error, given)) from None
    except SettingsError as error:  # a variable that should hold JSON
        raise ConfigError(f"The environment cannot be read: {error}: {error.__cause__}. Mend that variable.") from error


def with_backends(settings: Settings, tables: dict[str, Any]) -> Settings:
    """Return settings with these ``[backends.NAME]`` tables, and no others.

    Raises:
        ConfigError: A table is wrong.
    """
    try:
        return settings.model_copy(update=dict(_Backends(backends=tables)))
    except ValidationError as error:
        raise ConfigError(_explain(error, {"backends": tables})) from None


def secrets_of(settings: Settings) -> list[str]:
    """Return the values that no log may show: the passwords in URLs, and the secrets of backends."""
    found: list[str | None] = [urlsplit(url).password for url in (settings.database, settings.broker)]
    found.append(settings.token.get_secret_value() if settings.token else None)
    for entry in settings.backends.values():
        found += [*(os.environ.get(name) for name in entry.secrets.values()), *secret_arguments(entry.arguments)]
    return [value for value in found if value]


def secret_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Return the values that stand, however deep, under a name that tells of a secret, though ``secrets`` is for these.

    >>> secret_arguments({"name": "aria", "login": {"user": "ann", "api_key": "k-77"}})
    ['k-77']
    """
    return _secrets_in(arguments, is_secret=False)


def _secrets_in(value: Any, *, is_secret: bool) -> list[str]:
    if isinstance(value, Mapping):
        inner = [(item, is_secret or bool(SECRET_NAME.search(name))) for name, item in value.items()]
    elif isinstance(value, list):
        inner = [(item, is_secret) for item in value]
    else:
        return [str(value)] if is_secret else []
    return [text for item, secret in inner for text in _secrets_in(item, is_secret=secret)]


def origin(name: str) -> str:
    """Return where the value of a setting comes from: environment, file, ``pubworks up`` or default."""
    prefix = "PUBWORKS_"
    environment = {
        key.upper().removeprefix(prefix).lower(): value
        for key, value in os.environ.items()
        if key.upper().startswith(prefix)
    }
    if name in environment:
        return f"environment {prefix}{name.upper()}"
    path = config_path()
    file = read_file(path)
    if name in file:
        return str(path)
    return "pubworks up" if name in _stack({**file, **environment}) else "default"


#: What is expected where a text has not the form of a setting.
_FORMS = {
    "url": "https://… of a server, or local",
    "broker": "embedded://, redis://… or amqp://…",
    "factory": "module:callable",
    "adapter": "module:class",
}


def _explain(error: ValidationError, given: Collection[str]) -> str:
    """Return what is wrong with which setting, and where to mend it.

    Args:
        error: What the settings refused.
        given: Names of those that were arguments.
    """
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    name, is_argument = place.split(".")[0], place.split(".")[0] in given
    if problem["type"] == "extra_forbidden":
        known = _table(place).model_fields
        source = "the arguments" if is_argument else config_path() or "the environment"
        return f"Unknown setting {place!r} in {source}. Known here: {', '.join(sorted(known))}."
    source = "an argument" if is_argument else origin(name)
    form = _FORMS.get(str(problem["loc"][-1])) if problem["type"] == "string_pattern_mismatch" else None
    if form is not None:
        return f"Setting {place!r} ({source}) must be {form}. Change it there."
    return f"Setting {place!r} ({source}): {problem['msg']}. Change it there."


def _table(place: str) -> type[BaseModel]:
    """Return the model of the table that a setting stands in."""
    match place.split("."):
        case ["backends", _, "limits", *_]:
            return Quota
        case ["backends", _, "policy", *_]:
            return Policy
        case ["backends", _, "behaviour", *_]:
            return Behaviour
        case ["backends", _, "price", *_]:
            return Price
        case ["backends", *_]:
            return BackendEntry
    return Settings
