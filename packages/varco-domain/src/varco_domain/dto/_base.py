"""The bases of what goes in and out."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict

from varco_domain.dto._declared import Declaration, Part, apply

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

TCreateDTO = TypeVar("TCreateDTO", bound="CreateDTO")
"""A type variable for a `CreateDTO`."""
TReadDTO = TypeVar("TReadDTO", bound="ReadDTO")
"""A type variable for a `ReadDTO`."""
TUpdateDTO = TypeVar("TUpdateDTO", bound="UpdateDTO")
"""A type variable for an `UpdateDTO`."""


class _DTO(BaseModel):
    # Bytes are base64 in JSON: not all of them are text.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64"
    )

    __varco_part__: ClassVar[Part]
    __varco_declaration__: ClassVar[Declaration | None] = None

    def __init_subclass__(
        cls,
        *,
        model: type | None = None,
        exclude: Collection[str] = (),
        adds: Collection[str] = (),
        **kwargs: Unpack[ConfigDict],
    ) -> None:
        super().__init_subclass__(**kwargs)
        inherited = cls.__varco_declaration__
        if model is not None or inherited is not None or exclude or adds:
            cls.__varco_declaration__ = Declaration.of(cls, inherited, model, exclude, adds)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: "GetCoreSchemaHandler", /
    ) -> "CoreSchema":
        # Here the types of all fields are known, and nothing was made of them yet.
        if cls.__varco_declaration__ is not None and cls.__pydantic_fields_complete__:
            apply(cls.__varco_part__, cls.__varco_declaration__, cls.__name__, cls.model_fields)
        return handler(source)


class CreateDTO(_DTO):
    """Base of what creates an entity; unknown fields are refused.

    `class NewPost(CreateDTO, model=Post)` is checked against the model when it is made: a field
    that callers cannot set, a type that the model's field does not take, and a field of the model
    that is missing are errors. The limits of the model's fields are its own. `= unset()` stands
    for the model's default.

    Args of the class:
        model: The model that it creates.
        exclude: Names of fields of the model that it leaves out.
        adds: Names of fields that it has and the model has not.

    Raises:
        ModelDefinitionError: The class does not fit its model; names the field and the remedy.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    __varco_part__: ClassVar[Part] = Part.CREATE


class ReadDTO(_DTO):
    """Base of what a caller gets to see.

    `class PostRead(ReadDTO, model=Post)` is checked against the model when it is made; see
    `CreateDTO`. The tenant may be left out without a word.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(from_attributes=True)
    __varco_part__: ClassVar[Part] = Part.READ

    pk: Any


class AuditedReadDTO(ReadDTO):
    """Base of what a caller gets to see of an audited model."""

    created_at: datetime
    updated_at: datetime


class UpdateDTO(_DTO):
    """Base of what changes an entity: a field that is not set stays as it is.

    `class ChangePost(UpdateDTO, model=Post)` is checked against the model when it is made; see
    `CreateDTO`. `= unset()` stands for "stays as it is". Two names mean something beside the
    fields of the model, where a class has them:

    - `op: UpdateOperation = UpdateOperation.REPLACE`, how the values meet the stored ones;
    - `expected_version: int | None = None`, the version that the caller saw; another one stored
      is a conflict. Without the default, every caller has to say it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    __varco_part__: ClassVar[Part] = Part.UPDATE
