"""The models of an application, collected as their modules are imported."""

from threading import Lock
from typing import ClassVar

from varco_domain._errors import ModelDefinitionError
from varco_domain._parse import is_abstract
from varco_domain.model import DomainModel

__all__ = ("DomainModelRegistry", "register")


class DomainModelRegistry:
    """The registered models, in order of registration.

    Safe to use from several threads.
    """

    # Protected by _lock; readers get a copy.
    _models: ClassVar[dict[type[DomainModel], None]] = {}
    _lock: ClassVar[Lock] = Lock()

    @classmethod
    def add[D: DomainModel](cls, domain_cls: type[D]) -> None:
        """Register a concrete model; doing it again changes nothing.

        Raises:
            ModelDefinitionError: The class is abstract and has no table.
        """
        if is_abstract(domain_cls):
            raise ModelDefinitionError(domain_cls.__name__, None, "an abstract base has no table")
        with cls._lock:
            cls._models[domain_cls] = None

    @classmethod
    def all(cls) -> list[type[DomainModel]]:
        """The registered models."""
        with cls._lock:
            return list(cls._models)

    @classmethod
    def clear(cls) -> None:
        """Forget all models."""
        with cls._lock:
            cls._models.clear()


def register[D: DomainModel](domain_cls: type[D]) -> type[D]:
    """Register a model; use as a decorator."""
    DomainModelRegistry.add(domain_cls)
    return domain_cls
