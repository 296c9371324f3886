"""What varco-core 1.0.6 stored: its tables, its rows, and the events that wait in its outbox."""

import enum
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from varco_domain import (
    DomainModel,
    FieldHint,
    ForeignKey,
    PKStrategy,
    PrimaryKey,
    VersionedDomainModel,
    pk_field,
)
from varco_domain.exception import RepositoryException
from varco_events import Event, InboxPoller, InMemoryEventBus, OutboxRelay
from varco_sa import (
    bootstrap,
    make_engine,
    metadata_for,
    migration_source,
    schema_drift,
    upgrade_from_1_0_6,
)

EVENT = (
    b'{"__event_type__": "former.placed", "event_id": "5ac29a97-3d98-4966-b33f-c55cf817a6a2", '
    b'"timestamp": "2026-11-28T00:41:53.831980Z", "order_id": 3}'
)


class FormerPlaced(Event):
    __event_type__ = "former.placed"
    order_id: int


class FormerKind(enum.Enum):
    LONG = "l"
    SHORT = "s"


class BlogPost(VersionedDomainModel):
    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=200)]
    n: int = 0
    kind: FormerKind = FormerKind.SHORT
    tags: list[str] | None = None


class BlogNote(VersionedDomainModel):
    class Meta:
        table = "blognote"

    pk: Annotated[UUID, PrimaryKey(PKStrategy.UUID_AUTO)] = pk_field()
    post: Annotated[int, ForeignKey(BlogPost)]


class Unrelated(DomainModel):
    """A table of somebody else's is called like this class, and stays out of it."""

    name: str


def _former_tables() -> sa.MetaData:
    """The tables as 1.0.6 made them."""
    metadata = sa.MetaData()
    entry = [
        ("event_type", sa.String(255)),
        ("channel", sa.String(255)),
        ("payload", sa.LargeBinary),
    ]
    moment = sa.DateTime(timezone=True)
    for name, moments in (
        ("varco_outbox", [sa.Column("created_at", moment, nullable=False)]),
        (
            "varco_inbox",
            [sa.Column("received_at", moment, nullable=False), sa.Column("processed_at", moment)],
        ),
    ):
        sa.Table(
            name,
            metadata,
            sa.Column("entry_id", sa.Uuid(), primary_key=True),
            *(sa.Column(column, kind, nullable=False) for column, kind in entry),
            *moments,
        )

    def versioned() -> list[Any]:
        return [
            sa.Column("created_at", moment),
            sa.Column("updated_at", moment),
            sa.Column("definition_version", sa.Integer, nullable=False),
            sa.Column("row_version", sa.Integer, nullable=False),
        ]

    sa.Table(
        "blogpost",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *versioned(),
        sa.Column("title", sa.String(200)),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("kind", sa.Enum(FormerKind)),
        sa.Column("tags", sa.JSON),
    )
    sa.Table(
        "blognote",
        metadata,
        sa.Column("id", sa.Uuid(), primary_key=True),
        *versioned(),
        sa.Column("post", sa.ForeignKey("blogpost.id"), nullable=False),
    )
    sa.Table(
        "unrelated",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("more", sa.String(10)),
    )
    return metadata


@pytest.fixture
async def engine(databases, kind, tmp_path, anyio_backend):
    own = type(databases)(tmp_path)
    engine = make_engine(own.url(kind))
    former, now = _former_tables(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    versioned = {"created_at": now, "definition_version": 1, "row_version": 4}
    waiting = {"event_type": "former.placed", "channel": "orders", "payload": EVENT}
    async with engine.begin() as connection:
        await connection.run_sync(former.create_all)
        for table, rows in {
            "blogpost": [
                {"id": 7, **versioned, "title": "keep me", "n": 3, "kind": "LONG", "tags": ["a"]}
            ],
            "blognote": [{"id": UUID(int=1), **versioned, "post": 7}],
            "varco_outbox": [{"entry_id": uuid4(), **waiting, "created_at": now}],
            "varco_inbox": [
                {"entry_id": uuid4(), **waiting, "received_at": now, "processed_at": done}
                for done in (None, now)
            ],
        }.items():
            await connection.execute(former.tables[table].insert(), rows)
    yield engine
    await engine.dispose()
    own.drop()


MODELS = (BlogPost, BlogNote, Unrelated)


@pytest.mark.anyio
async def test_rows_are_found_and_waiting_events_are_delivered(engine):
    done = await upgrade_from_1_0_6(engine, *MODELS)
    assert done == [
        "1 rows are in blog_posts, the old table is called blogpost_1_0_6",
        "1 rows are in blognote, the old table is called blognote_1_0_6",
        "1 waiting entries are in varco_outbox, the old table is called varco_outbox_1_0_6",
        "1 waiting entries are in varco_inbox, the old table is called varco_inbox_1_0_6",
    ]
    async with bootstrap(engine, *MODELS) as backend:
        async with backend.uow_provider.make_uow() as uow:
            post = await uow.repository(BlogPost).find_by_id(7)
            assert post is not None
            assert (post.title, post.n, post.kind, post.tags) == (
                "keep me",
                3,
                FormerKind.LONG,
                ["a"],
            )
            assert (post.version, post.created_at.isoformat()) == (4, "2026-01-02T03:04:05+00:00")
            note = await uow.repository(BlogNote).find_by_id(UUID(int=1))
            assert note is not None
            assert note.post == 7
            # Keys go on behind those that were taken over, and a change counts on.
            assert (await uow.repository(BlogPost).save(BlogPost(title="next"))).pk == 8
            post.n = 4
            assert (await uow.repository(BlogPost).save(post)).version == 5
        bus, got = InMemoryEventBus(), []
        bus.subscribe(FormerPlaced, got.append)
        await OutboxRelay(outbox=backend.outbox, bus=bus).run_once()
        assert [event.order_id for event in got] == [3]
        await InboxPoller(inbox=backend.inbox, bus=bus).run_once()
        assert [event.order_id for event in got] == [3, 3]
    assert await upgrade_from_1_0_6(engine, *MODELS) == []


@pytest.mark.anyio
async def test_no_old_table_loses_a_column_or_a_row_of_a_model(engine):
    await upgrade_from_1_0_6(engine, *MODELS)
    async with engine.connect() as connection:
        for table in ("blogpost_1_0_6", "blognote_1_0_6"):
            row = (await connection.execute(sa.text(f"SELECT * FROM {table}"))).mappings().one()
            assert {"id", "row_version", "definition_version"} <= set(row)


@pytest.mark.anyio
async def test_until_then_the_database_is_refused(engine):
    with pytest.raises(RepositoryException) as caught:
        async with bootstrap(engine, *MODELS):
            pass
    assert str(caught.value) == (
        "varco-core 1.0.6 made blognote, blogpost, varco_inbox, varco_outbox; have what is in them "
        "taken over: await varco_sa.upgrade_from_1_0_6(engine, BlogNote, BlogPost)"
    )


@pytest.mark.anyio
async def test_a_row_that_does_not_fit_changes_nothing(engine, kind):
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE blogpost SET title = NULL"))
    with pytest.raises(RepositoryException, match=r"BlogPost\.title is never None, .* id 7"):
        await upgrade_from_1_0_6(engine, *MODELS)
    if kind != "mariadb":  # where renaming a table ends the transaction
        async with engine.connect() as connection:
            count = sa.text("SELECT count(*) FROM varco_outbox")
            assert (await connection.execute(count)).scalar() == 1
    with pytest.raises(RepositoryException, match="upgrade_from_1_0_6"):
        async with bootstrap(engine, *MODELS):
            pass
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE blogpost SET title = 'mended'"))
    await upgrade_from_1_0_6(engine, *MODELS)
    async with bootstrap(engine, *MODELS) as backend, backend.uow_provider.make_uow() as uow:
        assert [post.title for post in await uow.repository(BlogPost).find_all()] == ["mended"]
        assert [note.post for note in await uow.repository(BlogNote).find_all()] == [7]
        assert len(await backend.outbox.get_pending()) == 1


class StoppedError(Exception):
    """The process dies here."""


class Stops:
    """Ends each run at the first statement that changes something and was not one before.

    Of what commits what went before, as a statement that renames a table does on MariaDB, only that
    has happened. Elsewhere all is undone, so there it ends where most was done.
    """

    def __init__(self, kind):
        self.seen = set()
        self._commits = kind == "mariadb"

    def __call__(self, _connection, cursor, statement, _parameters, _context, _many):
        words = statement.split()
        if words[0] in {"SELECT", "SHOW", "PRAGMA", "DESCRIBE", "COMMIT"}:
            return
        if statement in self.seen or not (self._commits or "_1_0_6" in words[-1]):
            return
        self.seen.add(statement)
        if self._commits and words[0] in {"ALTER", "CREATE", "DROP"}:
            cursor.execute("COMMIT")
        raise StoppedError(statement)


@pytest.mark.anyio
async def test_it_goes_on_where_it_was_stopped_at_whichever_statement(engine, kind):
    stops, runs = Stops(kind), 0
    sa.event.listen(engine.sync_engine, "before_cursor_execute", stops)
    while True:
        try:
            await upgrade_from_1_0_6(engine, *MODELS)
        except StoppedError:
            runs += 1
        else:
            break
    sa.event.remove(engine.sync_engine, "before_cursor_execute", stops)
    assert runs == len(stops.seen) > (20 if kind == "mariadb" else 4)
    assert any("blognote_1_0_6" in statement for statement in stops.seen)
    async with bootstrap(engine, *MODELS) as backend:
        async with backend.uow_provider.make_uow() as uow:
            assert [post.pk for post in await uow.repository(BlogPost).find_all()] == [7]
            assert [note.post for note in await uow.repository(BlogNote).find_all()] == [7]
        assert [one.payload for one in await backend.outbox.get_pending()] == [EVENT]
        assert [one.payload for one in await backend.inbox.get_unprocessed()] == [EVENT]
    drift = await schema_drift(engine, metadata_for(*MODELS))
    assert all("_1_0_6" in line for line in drift), drift


@pytest.mark.anyio
async def test_a_migration_drops_nothing(engine):
    class Former(VersionedDomainModel):
        class Meta:
            table = "blogpost"

        title: str

    source = await migration_source(engine, metadata_for(Former))
    code = [line for line in source.splitlines() if not line.lstrip().startswith("#")]
    assert not any("drop_column" in line for line in code)
    assert "    # op.drop_column('blogpost', 'definition_version')" in source
