"""One registry class for models, probes, tasks, metrics and named surveys.

An entry is a frozen dataclass with all of its facts. A folder is scanned for entries, so that adding one is one new
file and no edited list; heavy code stands in an entry as ``"module:attribute"`` and is imported by `resolve` when it
is needed, so that listing imports no torch.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from benchmark.contracts import GalaxybenchError, HeadCard, MetricCard, ModelCard, SurveyCard, TaskCard, UsageError

__all__ = [
    "HEADS",
    "METRICS",
    "MODELS",
    "PLUGIN_SOURCES",
    "SURVEYS",
    "TASKS",
    "Registry",
    "load_plugin",
    "register_model",
    "resolve",
]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


class Registry(Generic[Entry]):
    """Entries by name, in the order of their names; any case is understood and near misses are suggested.

    Parameters
    ----------
    kind : what an entry is called in messages.
    package : package whose modules are scanned.
    attribute : module-level name that holds the entries (one, or a tuple); modules without it are passed over.
    group : entry-point group through which installed packages add entries, each a card or a callable that gives one.
    """

    def __init__(self, kind: str, package: str, attribute: str, group: str | None = None) -> None:
        self.kind, self._package, self._attribute, self._group = kind, package, attribute, group
        self._entries: dict[str, Entry] | None = None

    def __getitem__(self, name: str) -> Entry:
        entries = self._scanned()
        by_lower = {known.lower(): known for known in entries}
        if name.lower() in by_lower:
            return entries[by_lower[name.lower()]]
        near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(entries))}"
        raise UsageError(f"unknown {self.kind} '{name}': {hint}")

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for _, entry in sorted(self._scanned().items(), key=lambda item: item[0].lower())])

    def add(self, entry: Entry) -> None:
        """Add one entry; a name that is taken by a different entry is refused."""
        entries = self._scanned()
        taken = {name.lower(): known for name, known in entries.items()}.get(entry.name.lower())
        if taken is not None and taken != entry:
            raise UsageError(f"{self.kind} '{entry.name}' is registered already: choose another name")
        entries[entry.name] = entry

    def _scanned(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = {}
            for found in self._found_in_package():
                if found.name in self._entries:
                    raise GalaxybenchError(f"{self.kind} '{found.name}' is defined twice below {self._package}")
                self._entries[found.name] = found
            for point in importlib.metadata.entry_points(group=self._group) if self._group else ():
                loaded = point.load()
                self.add(loaded() if callable(loaded) else loaded)
        return self._entries

    def _found_in_package(self) -> Iterator[Entry]:
        package = importlib.import_module(self._package)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
            found = getattr(importlib.import_module(f"{self._package}.{module.name}"), self._attribute, ())
            yield from found if isinstance(found, tuple) else (found,)


MODELS: Registry[ModelCard] = Registry("model", "benchmark.cards", "CARDS", group="galaxybench.models")
HEADS: Registry[HeadCard] = Registry("probe", "benchmark.heads", "CARD")
TASKS: Registry[TaskCard] = Registry("task", "benchmark.tasks", "TASK")
METRICS: Registry[MetricCard] = Registry("metric", "benchmark.metrics", "METRICS")
SURVEYS: Registry[SurveyCard] = Registry("survey", "benchmark.cards", "SURVEYS")


def register_model(card: ModelCard) -> ModelCard:
    """Put a model on the board of this process; returns the card, so that a plugin may use it further."""
    MODELS.add(card)
    return card


def resolve(address: str) -> Any:
    """Import what ``"module:attribute"`` names.

    Raises
    ------
    GalaxybenchError
        If the module or the attribute does not exist.
    """
    module, _, attribute = address.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise GalaxybenchError(f"cannot import '{address}': {error}; an address reads 'module:attribute'") from error


PLUGIN_SOURCES: dict[str, str] = {}
"""Name of a model that came from a plugin file -> sha256 of the file, which enters its keys."""


def load_plugin(path: Path) -> str:
    """Run a Python file that registers models or tasks; returns the sha256 of the file.

    The file is importable afterwards under its stem, so that a card in ``mine.py`` may name ``"mine:Model"``.
    """
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"--plugin {path}: no such file; give a Python file that calls benchmark.register_model")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if getattr(sys.modules.get(path.stem), "__file__", None) == str(path):
        return digest
    taken = importlib.util.find_spec(path.stem)
    if taken is not None and Path(taken.origin or "").resolve() != path:  # it may well lie in the working folder
        raise UsageError(f"--plugin {path}: a module named '{path.stem}' exists already; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"--plugin {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    before = {card.name for card in MODELS}
    try:
        spec.loader.exec_module(module)
    except GalaxybenchError:
        del sys.modules[path.stem]
        raise
    except Exception as error:
        del sys.modules[path.stem]
        raise GalaxybenchError(f"--plugin {path}: {type(error).__name__}: {error}") from error
    PLUGIN_SOURCES.update({card.name: digest for card in MODELS if card.name not in before})
    return digest
