"""Tags as cells: invalidating a tag kills its cell, whoever holds the cell sees it. O(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varco_cache._errors import CacheConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


class TagCell:
    """One generation of a tag, shared by everything stored under it since its last invalidation."""

    __slots__ = ("dead", "name", "refs")

    def __init__(self, name: str) -> None:
        self.name = name
        self.refs = 0
        self.dead = False


type Cells = tuple[TagCell, ...]

NO_CELLS: Cells = ()


class TagBook:
    """The living cell of every tag that something refers to; nothing else is kept.

    State is protected by never awaiting: one event loop owns it.
    """

    __slots__ = ("_cells", "_last", "generation")

    def __init__(self) -> None:
        self._cells: dict[str, TagCell] = {}
        # Entries that were stored with the same tags one after the other share one tuple.
        self._last: Cells = NO_CELLS
        self.generation: int = 0
        """How many invalidations there were, of any tag."""

    def __len__(self) -> int:
        return len(self._cells)

    def acquire(self, tags: Iterable[str]) -> Cells:
        """The living cells of these tags, each referred to once more.

        Raises:
            CacheConfigError: A lone string, or something in the collection that is no string.
        """
        cells = self._cells
        held: list[TagCell] = []
        if tags.__class__ is str:
            checked_tags(tags)
        try:
            for tag in tags:
                cell = cells.get(tag)
                if cell is None:
                    checked_tags((tag,))
                    cell = cells[tag] = TagCell(tag)
                cell.refs += 1
                held.append(cell)
        except CacheConfigError:
            self.release(tuple(held))
            raise
        if (found := tuple(held)) != self._last:
            self._last = found
        return self._last

    def release(self, held: Cells) -> None:
        """Give up what `acquire` gave; a tag nobody refers to is forgotten."""
        for cell in held:
            cell.refs -= 1
            if not cell.refs and not cell.dead:
                del self._cells[cell.name]

    def invalidate(self, tag: str) -> bool:
        """Kill everything that holds this tag now; whether there was anything."""
        self.generation += 1
        cell = self._cells.pop(tag, None)
        if cell is None:
            return False
        cell.dead = True
        return True

    def invalidate_all(self) -> None:
        """Kill every cell."""
        for cell in self._cells.values():
            cell.dead = True
        self._cells.clear()


def any_dead(held: Cells) -> bool:
    """Whether one of these tags was invalidated since it was acquired."""
    return any(cell.dead for cell in held)


def checked_tags(tags: Iterable[str] | None) -> frozenset[str]:
    """The tags as a set of strings; None is none.

    Raises:
        CacheConfigError: A lone string, no collection, or one of something else than strings.
    """
    if isinstance(tags, str):
        raise CacheConfigError("tags", tags, f"give a collection of strings, such as {{{tags!r}}}")
    try:
        found = frozenset(tags or ())
    except TypeError:
        raise CacheConfigError("tags", tags, "give a collection of strings") from None
    for tag in found:
        if not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance] # untyped callers
            raise CacheConfigError("tags", tag, "every tag must be a string")
    return found
