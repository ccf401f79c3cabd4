"""Whether the database has a place for the size that a provider states: one that waits for its migration has none.

Workers of this version run before that migration too. Without it, no image is compared with its stated size.
"""

from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text

_HAVE_PLACE: Final = text("""
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('image') AND attname = 'stated_width')
""")
_known: Final[WeakKeyDictionary[Engine, bool]] = WeakKeyDictionary()


def have_place(connection: Connection) -> bool:
    """Tell whether an image's row takes its stated size; asked once in the life of an engine."""
    engine = connection.engine
    if engine not in _known:
        _known[engine] = bool(connection.execute(_HAVE_PLACE).scalar_one())
    return _known[engine]
