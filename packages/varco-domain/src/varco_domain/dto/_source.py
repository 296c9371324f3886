"""The text of a module with the DTOs of models."""

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta
from varco_domain.dto._base import AuditedReadDTO
from varco_domain.dto._declared import EXPECTED_VERSION, OP, Part, is_optional
from varco_domain.dto._factory import check_names
from varco_domain.dto._selection import Selection, chosen
from varco_domain.dto._types import bare
from varco_domain.meta import MetaReader, ParsedMeta

_TITLES = {Part.CREATE: "New{}", Part.READ: "{}Read", Part.UPDATE: "Change{}"}
_SAYS = {Part.CREATE: "What makes", Part.READ: "What is seen of", Part.UPDATE: "What changes"}
_DTOS = "varco_domain.dto"
_INDENT = "    "


@dataclass(slots=True)
class _Names:
    """The names that a module uses, and where they come from."""

    homes: dict[str, str] = field(default_factory=dict[str, str])
    modules: set[str] = field(default_factory=set[str])

    def of(self, module: str, qualname: str) -> str:
        """Import what a qualified name begins with, and return how to write it."""
        first = qualname.partition(".")[0]
        if self.homes.setdefault(first, module) == module:
            return qualname
        # Another one has the name already.
        self.modules.add(module)
        return f"{module}.{qualname}"

    def dto(self, name: str) -> str:
        return self.of(_DTOS, name)

    def lines(self, own: str, width: int) -> list[str]:
        """The import statements: the standard library's, those of others, those of `own`."""
        groups: tuple[dict[str, str], ...] = ({}, {}, {})
        for module in self.modules:
            groups[_group(module, own)][f"0{module}"] = f"import {module}"
        for module in set(self.homes.values()):
            names = sorted(
                (name for name, home in self.homes.items() if home == module), key=_import_order
            )
            text = _bracketed(f"from {module} import ", names, "", width)
            groups[_group(module, own)][f"1{module}"] = text
        lines: list[str] = []
        for group in groups:
            if group:
                lines += [*(group[key] for key in sorted(group)), ""]
        return lines


def _group(module: str, own: str) -> int:
    top = module.partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == own.partition(".")[0] else 1


def _import_order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def _bracketed(before: str, items: Sequence[str], after: str, width: int) -> str:
    """A statement whose items may stand in brackets on lines of their own, as formatters do it."""
    imports = before.startswith("from ")
    opening, closing = ("(", ")") if not imports else ("", "")
    line = f"{before}{opening}{', '.join(items)}{closing}{after}"
    if len(line) <= width:
        return line
    inner = f"{_INDENT}{', '.join(items)}"
    if not imports and len(inner) <= width:
        return f"{before}(\n{inner}\n){after}"
    wrapped = "".join(f"{_INDENT}{_wrapped(item, width)},\n" for item in items)
    return f"{before}(\n{wrapped}){after}"


def _wrapped(item: str, width: int) -> str:
    if len(item) + len(_INDENT) < width or "(" not in item:
        return item
    before, _, rest = item.partition("(")
    inner = rest.removesuffix(")")
    two = _INDENT * 2
    names = "".join(f"{two}{name.strip()},\n" for name in inner.split(",") if name.strip())
    return f"{before}(\n{names}{_INDENT})"


def module_source(
    models: Sequence[type],
    *,
    module: str,
    command: str,
    exclude: Collection[tuple[str, str]] = (),
    include: Collection[tuple[str, str]] = (),
    width: int = 88,
) -> str:
    """A module with the DTO classes of models, the same text for the same models.

    Args:
        models: What the classes are for.
        module: Where the models are.
        command: What wrote it.
        exclude: Pairs of a model's name, or `""` for all, and a field; see `generate_dtos`.
        include: The same.
        width: How long a line may be.

    Raises:
        ModelDefinitionError: A name means nothing to a model, or a type cannot be imported.
    """
    names = _Names()
    classes: list[str] = []
    for model in models:
        meta = MetaReader.read(model)
        selection = chosen(meta, _mine(model, meta, exclude), _mine(model, meta, include))
        check_names(meta, selection)
        classes += [_class(names, meta, selection, part, width) for part in Part]
    text = [
        f'"""The DTOs of {module}, written by the command below; edits by hand are lost.',
        "",
        command,
        '"""' if len(command) <= width else '"""  # noqa: E501',
        "",
        *names.lines(module, width),
    ]
    return "\n".join(text) + "".join(f"\n\n{each}" for each in classes)


def _mine(model: type, meta: ParsedMeta, pairs: Collection[tuple[str, str]]) -> list[str]:
    # What is said of all models is said of those that have it.
    everywhere = {OP, *([EXPECTED_VERSION] if meta.version_field else []), *meta.fields}
    return [
        name
        for owner, name in pairs
        if owner == model.__name__ or (not owner and name in everywhere)
    ]


def _class(names: _Names, meta: ParsedMeta, selection: Selection, part: Part, width: int) -> str:
    model = meta.entity_cls
    base = f"{part.value.title()}DTO"
    fields: tuple[str, ...] = getattr(selection, part.value)
    body: list[str] = []
    if part is Part.READ:
        if selection.audited:
            base = AuditedReadDTO.__name__
            fields = tuple(
                name for name in fields if name not in AuditedReadDTO.model_fields or name == "pk"
            )
        if meta.is_composite_pk:
            body.append(f"pk: {_text(names, meta, 'pk', meta.pk_type)}")
    body += [_field(names, meta, meta.fields[name], part) for name in fields]
    if part is Part.UPDATE:
        if OP in selection.asked_for:
            operation = names.dto("UpdateOperation")
            body.append(f"{OP}: {operation} = {operation}.REPLACE")
        if EXPECTED_VERSION in selection.asked_for:
            body.append(f"{EXPECTED_VERSION}: int | None = None")
    bases = [names.dto(base), f"model={names.of(model.__module__, model.__qualname__)}"]
    left_out = selection.left_out(meta, part)
    if left_out:
        bases.append(f"exclude=({', '.join(_quoted(left_out))}{',' if len(left_out) == 1 else ''})")
    title = _TITLES[part].format(model.__name__)
    head = _bracketed(f"class {title}", bases, ":", width)
    lines = (
        [f'"""{_SAYS[part]} a {model.__name__}."""', "", *body]
        if body
        else [f'"""{_SAYS[part]} a {model.__name__}."""']
    )
    return f"{head}\n" + "".join(f"{_indented(line, width)}\n" for line in lines)


def _indented(line: str, width: int) -> str:
    text = f"{_INDENT}{line}" if line else ""
    # What a formatter would break in ways of its own stays as it is.
    return text if len(text) <= width else f"{text}  # fmt: skip # noqa: E501"


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _field(names: _Names, meta: ParsedMeta, source: FieldMeta, part: Part) -> str:
    text = f"{source.name}: {_text(names, meta, source.name, source.annotation)}"
    if source.nullable:
        text += " | None"
    if part is Part.UPDATE or (part is Part.CREATE and is_optional(source)):
        text += f" = {names.dto('unset')}()"
    return text


def _text(names: _Names, meta: ParsedMeta, name: str, annotation: Any) -> str:
    """Write a type down."""
    annotation = bare(annotation)
    origin: Any = get_origin(annotation)
    args: tuple[Any, ...] = get_args(annotation)
    if annotation is Any:
        return names.of("typing", "Any")
    if annotation in {None, NoneType}:
        return "None"
    if isinstance(annotation, EllipsisType):
        return "..."
    if origin is Literal:
        choices = (f'"{arg}"' if _simple(arg) else repr(arg) for arg in args)
        return f"{names.of('typing', 'Literal')}[{', '.join(choices)}]"
    inner = [_text(names, meta, name, arg) for arg in args]
    if origin in {Union, UnionType}:
        return " | ".join(inner)
    cls: Any = origin or annotation
    if not isinstance(cls, type) or "<locals>" in cls.__qualname__:
        raise ModelDefinitionError(
            meta.entity_cls.__name__,
            name,
            f"its type {cls!r} cannot be imported; define it at the top of a module",
        )
    text = (
        cls.__name__ if cls.__module__ == "builtins" else names.of(cls.__module__, cls.__qualname__)
    )
    return f"{text}[{', '.join(inner)}]" if inner else text


def _simple(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and '"' not in value and "\\" not in value
