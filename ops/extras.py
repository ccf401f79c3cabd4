"""Packages that only some commands need. Such a command says what to install; the others work without them."""

from importlib.util import find_spec

from ops.stack.errors import StackError


def require(extra: str, *packages: str) -> None:
    """Raise `StackError`, which says what to install, unless all named packages of `extra` are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise StackError(f"this command needs {' and '.join(missing)}: install the `{extra}` extra of genqueue")
