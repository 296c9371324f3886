"""What a backend needs besides the classes it derives from.

Applications need nothing of it: a model's metadata as it was read, the values that go to and come
from a store, and whose rows a unit of work may touch.
"""

from varco_domain._compared import as_key, stored_as, value_class
from varco_domain._conditions import check_condition
from varco_domain._opening import Closable, Opening
from varco_domain._parsed import unique_fields
from varco_domain._tenancy import Tenancy
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.mapper import (
    AbstractMapper,
    changed_values,
    check_distinct,
    children_first,
    insert_values,
    json_codec,
    keep_values,
    load_entity,
    load_rows,
    no_more_keys,
    plain_decimal,
    row_key,
    update_values,
    upsert_rows,
    utc_now,
    uuid7,
)
from varco_domain.meta import FieldKind, FieldMeta, MetaReader, ParsedMeta

__all__ = (
    "AbstractMapper",
    "Closable",
    "FieldKind",
    "FieldMeta",
    "MetaReader",
    "Opening",
    "ParsedMeta",
    "RepositoryClassCreationFailed",
    "Tenancy",
    "as_key",
    "changed_values",
    "check_condition",
    "check_distinct",
    "children_first",
    "insert_values",
    "json_codec",
    "keep_values",
    "load_entity",
    "load_rows",
    "no_more_keys",
    "plain_decimal",
    "row_key",
    "stored_as",
    "unique_fields",
    "update_values",
    "upsert_rows",
    "utc_now",
    "uuid7",
    "value_class",
)
