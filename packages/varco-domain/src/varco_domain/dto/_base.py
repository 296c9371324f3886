"""The bases of what goes in and out."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

TCreateDTO = TypeVar("TCreateDTO", bound="CreateDTO")
TReadDTO = TypeVar("TReadDTO", bound="ReadDTO")
TUpdateDTO = TypeVar("TUpdateDTO", bound="UpdateDTO")


class UpdateOperation(StrEnum):
    """How an update's values meet the stored ones.

    REPLACE puts them in their place. EXTEND appends to lists and adds keys to dicts. REMOVE takes
    items out of lists and keys out of dicts, and refuses other fields. MERGE adds to lists what
    they do not hold yet and merges dicts to the bottom. EXTEND and MERGE replace other fields.
    """

    REPLACE = "REPLACE"
    EXTEND = "EXTEND"
    REMOVE = "REMOVE"
    MERGE = "MERGE"


class _DTO(BaseModel):
    # Bytes are base64 in JSON: not all of them are text.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64"
    )


class CreateDTO(_DTO):
    """Base of what creates an entity; unknown fields are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class ReadDTO(_DTO):
    """Base of what a caller gets to see."""

    model_config: ClassVar[ConfigDict] = ConfigDict(from_attributes=True)

    pk: Any


class AuditedReadDTO(ReadDTO):
    """Base for audited models."""

    created_at: datetime
    updated_at: datetime


class UpdateDTO(_DTO):
    """Base of what changes an entity: a field that is not set stays as it is.

    Attributes:
        op: How the values meet the stored ones.
        expected_version: The version that the caller saw; another one stored is a conflict.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    op: UpdateOperation = UpdateOperation.REPLACE
    expected_version: int | None = None
