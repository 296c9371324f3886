"""Issue and verify JSON Web Tokens, keys and key sets, right by default."""

__all__: tuple[str, ...] = ()
