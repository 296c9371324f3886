"""What a model's annotations and its inner `Meta` may say."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, overload


class PKStrategy(StrEnum):
    """Who makes the primary key."""

    INT_AUTO = "int_auto"
    """The store counts."""
    UUID_AUTO = "uuid_auto"
    """A time-ordered UUID (version 7), made before the insert."""
    STR_ASSIGNED = "str_assigned"
    """The caller gives a string."""
    CUSTOM = "custom"
    """The caller, or the field's own default factory, gives a value."""

    @property
    def is_generated(self) -> bool:
        """Whether callers may leave the key out."""
        return self in {PKStrategy.INT_AUTO, PKStrategy.UUID_AUTO}


class FieldRole(StrEnum):
    """What the library itself keeps in a field; callers never write such a field through a DTO."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    VERSION = "version"
    TENANT = "tenant"
    DELETED_AT = "deleted_at"


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """Marks a primary key field; on two or more fields, a composite key.

    Without a strategy the type decides: int counts, UUID is generated, str is assigned.
    """

    strategy: PKStrategy | None = None


@dataclass(frozen=True, slots=True)
class FieldHint:
    """Storage details and limits of a field.

    `nullable` follows the annotation (`T | None`); when it is given, it has to agree with it.
    `precision` and `scale` are those of a decimal. Tools that show values to people, such as
    varco-console, hide those of a `sensitive` field, in events as well.
    """

    unique: bool = False
    nullable: bool | None = None
    index: bool = False
    max_length: int | None = None
    precision: int | None = None
    scale: int | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """The field refers to another model, given as the class or as the name of its table.

    `on_delete` and `on_update` are "CASCADE", "SET NULL" or "RESTRICT" (the default).
    `on_soft_delete` is what a deletion mark of the other row does here, as `on_delete` unless
    given: "CASCADE" marks (and restores) this row with it, and "KEEP" leaves it as it is.
    Services refuse references to rows that the caller may not read; with `check_read=False`, to
    rows that are not there or deleted only.
    """

    reference: str | type
    field: str = "pk"
    on_delete: str | None = None
    on_update: str | None = None
    on_soft_delete: str | None = None
    check_read: bool = True

    def resolve(self) -> str:
        """The target as `table.field`."""
        return f"{self.table}.{self.field}"

    @property
    def table(self) -> str:
        """The name of the referenced table."""
        if isinstance(self.reference, str):
            return self.reference
        return table_name(self.reference)


@dataclass(frozen=True, slots=True, init=False)
class UniqueConstraint:
    """The fields together are unique."""

    fields: tuple[str, ...]
    name: str | None

    def __init__(self, *fields: str, name: str | None = None) -> None:
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "name", name)


@dataclass(frozen=True, slots=True)
class CheckConstraint:
    """A condition on one row, in the words that SQL and the query language share: `price > 0`."""

    condition: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Relationship:
    """Rows of another model that belong to this one; read by backends that can join."""

    attr_name: str
    target: str | type
    foreign_keys: tuple[str, ...] = ()
    back_populates: str | None = None
    lazy: str = "select"
    uselist: bool = True


@dataclass(frozen=True, slots=True)
class ManyToMany:
    """Rows of another model, tied to this one through a table of pairs."""

    attr_name: str
    target: str | type
    through: str
    source_fk: str | None = None
    target_fk: str | None = None
    back_populates: str | None = None


@overload
def pk_field(*, init: Literal[False] = False) -> Any: ...
@overload
def pk_field(*, init: Literal[True]) -> Any: ...
def pk_field(*, init: bool = False) -> Any:
    """Declare a primary key field that is None until the entity is saved.

    Args:
        init: Whether the constructor takes the key; give True where the caller assigns it.
    """
    return dataclasses.field(default=None, init=init, kw_only=True)


def system_field(*, init: Literal[False] = False) -> Any:
    """Declare a field that the store fills in: None until then, and no constructor argument."""
    return dataclasses.field(default=None, init=init, kw_only=True)


def plural(name: str) -> str:
    """Turn a class name into a table name: `BlogPost` into `blog_posts`."""
    out: list[str] = []
    for i, char in enumerate(name):
        if char.isupper() and i:
            after_lower = not name[i - 1].isupper()
            before_lower = i + 1 < len(name) and name[i + 1].islower()
            if (after_lower or before_lower) and name[i - 1] != "_":
                out.append("_")
        out.append(char.lower())
    snake = "".join(out)
    if snake.endswith("y") and snake[-2:-1] not in set("aeiou"):
        return f"{snake[:-1]}ies"
    if snake.endswith(("s", "x", "z", "ch", "sh")):
        return f"{snake}es"
    return f"{snake}s"


def table_name(cls: type) -> str:
    """The table of a model: its own `Meta.table`, or the plural of its name."""
    own = cls.__dict__.get("Meta")
    table = getattr(own, "table", None)
    return table if isinstance(table, str) else plural(cls.__name__)
