"""Tables that varco-core 1.0.6 made: whether there are some that nobody has taken over."""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from varco_domain.exception import RepositoryException
from varco_domain.meta import MetaReader, ParsedMeta
from varco_domain.model import DomainModel

_SYSTEM: Final = ("varco_outbox", "varco_inbox")
ASIDE: Final = "_1_0_6"
"""What an old table has behind its name when its rows are taken over."""
WAITING: Final = "_1_0_6_waits"
"""What it has behind its name until then, where a new table is to have the name."""


class Former:
    """The tables of 1.0.6 that are there under the names that it gave them.

    Attributes:
        system: Those of the outbox and the inbox.
        models: Those of models.
    """

    def __init__(
        self,
        connection: sa.Connection,
        models: Mapping[str, type[DomainModel]],
        schema: str | None = None,
    ) -> None:
        inspector = sa.inspect(connection)
        there = set(inspector.get_table_names(schema=schema))

        def columns(table: str) -> set[str]:
            return {column["name"] for column in inspector.get_columns(table, schema=schema)}

        self.system: list[str] = [
            place
            for name in _SYSTEM
            for place in (name, f"{name}{WAITING}")
            if place in there and "attempts" not in columns(place)
        ]
        self.models: dict[type[DomainModel], str] = {}
        for table, model in models.items():
            meta = MetaReader.read(model)
            # 1.0.6 called a table like the class.
            for place in (table, f"{table}{WAITING}", model.__name__.lower()):
                if place in there and _made_it(meta, columns(place)):
                    self.models[model] = place

    def refuse(self) -> None:
        """Refuse to work beside them.

        Raises:
            RepositoryException: There are some.
        """
        old = sorted([*self.system, *self.models.values()])
        if old:
            names = ", ".join(["engine", *sorted(model.__name__ for model in self.models)])
            raise RepositoryException(
                f"varco-core 1.0.6 made {', '.join(old)}; have what is in them taken over: "
                f"await varco_sa.upgrade_from_1_0_6({names})"
            )


def former_names(meta: ParsedMeta) -> dict[str, str]:
    """What the key and the version were called in 1.0.6, by what they are called now."""
    names: dict[str, str] = {}
    if not meta.is_composite_pk:
        names[meta.pk_fields[0]] = "id"
    if meta.version_field is not None:
        names[meta.version_field] = "row_version"
    return names


def _made_it(meta: ParsedMeta, columns: set[str]) -> bool:
    """Tell it by what only its tables have, or by what it called the key where ours is not."""
    names = former_names(meta)
    if any(name in columns for name in names):
        return False
    return {"row_version", "definition_version"} <= columns or (
        "id" in columns and columns <= {*meta.fields, "id"}
    )
