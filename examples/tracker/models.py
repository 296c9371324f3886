"""What the tracker is about: projects, their tickets, and what is said of them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from varco_domain import (
    FieldHint,
    ForeignKey,
    TenantSoftDeleteVersionedDomainModel,
    TenantVersionedDomainModel,
    UniqueConstraint,
)
from varco_domain.dto import AuditedReadDTO, CreateDTO, UpdateDTO, unset


class State(StrEnum):
    """Where a ticket stands."""

    OPEN = "open"
    CLOSED = "closed"


class Project(TenantVersionedDomainModel):
    """What tickets belong to."""

    class Meta:
        """Keys are unique within a tenant."""

        constraints = (UniqueConstraint("tenant_id", "key"),)

    key: Annotated[str, FieldHint(max_length=12)]
    name: Annotated[str, FieldHint(max_length=200)]


class Ticket(TenantSoftDeleteVersionedDomainModel):
    """Something to do."""

    project_id: Annotated[int, ForeignKey(Project, on_delete="CASCADE")]
    title: Annotated[str, FieldHint(max_length=200)]
    body: str = ""
    state: State = State.OPEN
    owner_id: Annotated[str, FieldHint(max_length=100, index=True)] = ""


class Comment(TenantSoftDeleteVersionedDomainModel):
    """Something said of a ticket."""

    ticket_id: Annotated[int, ForeignKey(Ticket, on_delete="CASCADE")]
    text: Annotated[str, FieldHint(max_length=10_000)]
    owner_id: Annotated[str, FieldHint(max_length=100)] = ""


class NewTicket(CreateDTO, model=Ticket, exclude=("owner_id",)):
    """What makes a ticket; its owner is who makes it."""

    project_id: int
    title: str
    body: str = unset()
    state: State = unset()


class TicketRead(AuditedReadDTO, model=Ticket):
    """What is seen of a ticket."""

    pk: int
    project_id: int
    title: str
    body: str
    state: State
    owner_id: str
    version: int
    deleted_at: datetime | None


class ChangeTicket(UpdateDTO, model=Ticket, exclude=("owner_id",)):
    """What changes a ticket."""

    project_id: int = unset()
    title: str = unset()
    body: str = unset()
    state: State = unset()


class NewComment(CreateDTO, model=Comment, exclude=("owner_id",)):
    """What makes a comment."""

    ticket_id: int
    text: str


class CommentRead(AuditedReadDTO, model=Comment):
    """What is seen of a comment."""

    pk: int
    ticket_id: int
    text: str
    owner_id: str
    version: int
    deleted_at: datetime | None


class ChangeComment(UpdateDTO, model=Comment, exclude=("owner_id", "ticket_id")):
    """What changes a comment."""

    text: str = unset()
