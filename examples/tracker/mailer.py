"""Who hears of closed tickets: a mail is a file in a folder."""

from pathlib import Path

from varco_events import AbstractDeadLetterQueue, EntityEvent, EventConsumer, listen
from varco_resilience import RetryPolicy


class TicketClosed(EntityEvent):
    """A ticket was closed; `pk` is its key."""

    title: str


class Mailer(EventConsumer):
    """Writes a mail for every closed ticket; an event that comes again writes the same file."""

    def __init__(self, folder: Path, dead_letters: AbstractDeadLetterQueue) -> None:
        self.folder = folder
        self.dead_letters = dead_letters

    @listen(
        TicketClosed,
        channel="tickets",
        retry_policy=RetryPolicy(max_attempts=3, base_delay=0.1),
        dlq=lambda mailer: mailer.dead_letters,
    )
    async def send(self, event: TicketClosed) -> None:
        """Write the mail."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{event.event_id}.draft"
        draft.write_text(f"To: {event.tenant_id}\n\nTicket {event.pk} is closed: {event.title}\n")
        draft.rename(self.folder / f"ticket-{event.pk}-{event.event_id}.txt")
