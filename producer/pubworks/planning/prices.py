"""The price models of the backends that a client knows."""

from __future__ import annotations

from pubworks.backends import live, price, registry
from pubworks.backends.adapter import adapt
from pubworks.backends.price import PriceModel
from pubworks.errors import ConfigError
from pubworks.settings import Settings


class Prices:
    """Price models by backend: of the settings, else of the backend's adapter.

    Args:
        settings: Settings of the client.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._of_adapters: dict[str, PriceModel | None] = {}

    def of(self, backend: str, *, build: bool = False) -> PriceModel | None:
        """Return what a run costs; None: nobody says.

        Args:
            backend: Its name; a name that is not registered here has no price.
            build: Whether to build a backend of the embedded mode, which may ask its provider, to learn its price.

        Raises:
            ConfigError: The settings name a model that cannot be loaded.
        """
        if live.is_live(backend):
            return adapt(live.get(backend)).price if backend in live.names() else None
        spec = registry.registered(self._settings).get(backend)
        if spec is None:
            return None
        model = price.configured(spec)
        if model is None and build and self._settings.embedded and backend not in self._of_adapters:
            try:
                self._of_adapters[backend] = adapt(spec.build(), spec.adapter, spec.behaviour).price
            except ConfigError:  # another process may be able to build it
                self._of_adapters[backend] = None
        return model or self._of_adapters.get(backend)
