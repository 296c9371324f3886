"""How an update's values meet the stored ones."""

from enum import StrEnum


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
