"""Which fields the DTOs of a model have, by what was asked for."""

from collections.abc import Collection
from typing import NamedTuple

from varco_domain._errors import ModelDefinitionError
from varco_domain.dto._declared import ASKED_FOR, EXPECTED_VERSION, Part, fields_of, meant
from varco_domain.meta import ParsedMeta


class Selection(NamedTuple):
    """The names of the fields of each class, in the model's order."""

    create: tuple[str, ...]
    read: tuple[str, ...]
    update: tuple[str, ...]
    asked_for: tuple[str, ...]
    audited: bool

    def left_out(self, meta: ParsedMeta, part: Part) -> tuple[str, ...]:
        """The fields that a class could have and does not, but for the tenant of a read."""
        has: tuple[str, ...] = getattr(self, part.value)
        silent = {meta.tenant_field} if part is Part.READ else set[str | None]()
        return tuple(n for n in fields_of(part, meta) if n not in has and n not in silent)


def chosen(meta: ParsedMeta, exclude: Collection[str], include: Collection[str]) -> Selection:
    """Choose the fields; see `generate_dtos`.

    Raises:
        ModelDefinitionError: A name means nothing to the model.
    """
    for keyword, names in (("exclude", exclude), ("include", include)):
        _check(meta, keyword, names)
    only = {name for name in include if name in meta.fields and name != meta.tenant_field}
    if only:
        only.update(meta.pk_fields)

    def of(part: Part) -> tuple[str, ...]:
        return tuple(
            name
            for name in fields_of(part, meta)
            if name not in exclude
            and (name in include if name == meta.tenant_field else not only or name in only)
        )

    read = of(Part.READ)
    audit = (meta.created_at_field, meta.updated_at_field)
    return Selection(
        create=of(Part.CREATE),
        read=read,
        update=of(Part.UPDATE),
        asked_for=tuple(name for name in ASKED_FOR if name in include),
        audited=audit == ("created_at", "updated_at") and set(audit) <= set(read),
    )


def _check(meta: ParsedMeta, keyword: str, names: Collection[str]) -> None:
    model = meta.entity_cls.__name__
    if isinstance(names, str):
        raise ModelDefinitionError(model, None, f"write {keyword}=({names!r},)")
    for name in sorted(names):
        if name in meta.fields:
            continue
        if keyword == "exclude" or name not in ASKED_FOR:
            reason = f"there is no such field for {keyword}={meant(name, meta.fields)}"
            raise ModelDefinitionError(model, name, reason)
        if name == EXPECTED_VERSION and meta.version_field is None:
            raise ModelDefinitionError(
                model, name, "it has no version; derive it from VersionedDomainModel"
            )
