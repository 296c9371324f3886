"""What aiokafka would write into its log."""

from __future__ import annotations

import logging

_AUTHENTICATION = "SaslAuthenticateRequest"


class _WithoutPasswords(logging.Filter):
    """Puts stars where a request that authenticates is written down, as all are at DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                f"{_AUTHENTICATION}(***)" if type(one).__name__.startswith(_AUTHENTICATION) else one
                for one in record.args
            )
        return True


_without_passwords = _WithoutPasswords()


def hide_passwords() -> None:
    """Keep passwords out of the log of aiokafka; more than once is as good as once."""
    logging.getLogger("aiokafka.conn").addFilter(_without_passwords)
