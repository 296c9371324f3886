"""What goes in and out of a service, as pydantic models."""

from varco_domain.dto._base import (
    AuditedReadDTO,
    CreateDTO,
    ReadDTO,
    TCreateDTO,
    TReadDTO,
    TUpdateDTO,
    UpdateDTO,
)
from varco_domain.dto._declared import unset
from varco_domain.dto._factory import DTOSet, generate_dtos
from varco_domain.dto._operation import UpdateOperation
from varco_domain.dto._pagination import (
    PageCursor,
    PagedReadDTO,
    SortCursorField,
    paged_response,
)

__all__ = (
    "AuditedReadDTO",
    "CreateDTO",
    "DTOSet",
    "PageCursor",
    "PagedReadDTO",
    "ReadDTO",
    "SortCursorField",
    "TCreateDTO",
    "TReadDTO",
    "TUpdateDTO",
    "UpdateDTO",
    "UpdateOperation",
    "generate_dtos",
    "paged_response",
    "unset",
)
