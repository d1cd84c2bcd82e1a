"""The two global tables of data sets: name -> function that lists the records; name -> facts such as class names."""

from collections import UserDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class _DatasetCatalog(UserDict):
    """Name -> function without arguments that returns the records, a list of dicts, the same at every call."""

    def register(self, name: str, func: Callable[[], list[dict]]) -> None:
        """Raises ValueError for a name that is taken and TypeError for something that cannot be called."""
        if not callable(func):
            raise TypeError(f"data set {name!r}: register a function that returns the records, not {func!r}")
        if name in self:
            raise ValueError(f"data set {name!r} is registered already; remove it first or take another name")
        self[name] = func

    def get(self, name: str) -> list[dict]:  # type: ignore[override]
        """Return the records of a data set; KeyError lists the registered names."""
        if name not in self:
            raise KeyError(f"data set {name!r} is not registered; registered: {', '.join(sorted(self)) or 'none'}")
        return self[name]()

    def list(self) -> list[str]:
        """Registered names, in order of registration."""
        return [*self]

    def remove(self, name: str) -> None:
        self.pop(name)


class Metadata(SimpleNamespace):
    """Facts of one data set as attributes. A fact is set once: setting it again to another value is a ValueError."""

    name: str

    def __getattr__(self, key: str) -> Any:
        known = ", ".join(sorted(self.__dict__))
        raise AttributeError(f"the metadata of data set {self.__dict__.get('name')!r} has no {key!r}; it has: {known}")

    def __setattr__(self, key: str, value: Any) -> None:
        if key in self.__dict__ and self.__dict__[key] != value:
            raise ValueError(
                f"metadata {key!r} of data set {self.name!r} is {self.__dict__[key]!r} and cannot become {value!r}"
            )
        super().__setattr__(key, value)

    def set(self, **facts: Any) -> "Metadata":
        for key, value in facts.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self.__dict__.get(key, default)

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class _MetadataCatalog(UserDict):
    """Name -> Metadata, made empty at the first `get`."""

    def get(self, name: str) -> Metadata:  # type: ignore[override]
        return self.setdefault(name, Metadata(name=name))

    def list(self) -> list[str]:
        """Names that have metadata."""
        return [*self]

    def remove(self, name: str) -> None:
        self.pop(name)


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
