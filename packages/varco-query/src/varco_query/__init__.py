"""A filter language, query AST and in-memory evaluator that are safe to feed from a URL."""

__all__: tuple[str, ...] = ()
