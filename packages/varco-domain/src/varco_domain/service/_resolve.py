"""Work out a service's type arguments, so that subclasses need no constructor of their own."""

from typing import Annotated, Any

from providify import Inject, InjectMeta

from varco_domain.assembler import AbstractDTOAssembler
from varco_domain.auth import AbstractAuthorizer
from varco_domain.providers import IUoWProvider


def make_injectable(cls: Any, root: Any, arguments: tuple[Any, ...]) -> None:
    """Give the class a constructor whose annotations name its own types, unless it wrote one."""
    definer = next(base for base in cls.__mro__ if "__init__" in base.__dict__)
    if definer is not root and not getattr(definer.__init__, "__varco_generated__", False):
        return
    model, _, create, read, update = arguments

    def __init__(  # noqa: N807 - it becomes one
        self: Any, uow_provider: Any, authorizer: Any, assembler: Any = None, producer: Any = None
    ) -> None:
        root.__init__(self, uow_provider, authorizer, assembler, producer)

    generic: Any = AbstractDTOAssembler
    __init__.__annotations__ = {
        "uow_provider": Inject[IUoWProvider],
        "authorizer": Inject[AbstractAuthorizer],
        "assembler": Annotated[generic[model, create, read, update], InjectMeta(optional=True)],
        "return": None,
    }
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__module__ = cls.__module__
    __init__.__varco_generated__ = True  # type: ignore[attr-defined] # the mark of ours
    cls.__init__ = __init__
