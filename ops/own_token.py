"""The token that `genqueue up` leaves in a home, for programs of the person whose home it is."""

from pathlib import Path
from typing import Final

from ops.stack import Home, StackError
from producer import Actor, Client
from shared.db.tokens import TokenTerms
from shared.settings import load
from shared.tokens import BACKEND

_NAME: Final = "up"


def own_token(home: Home) -> Path:
    """Return the file with a living token, 0600; made anew where it is missing or dead.

    It has no cap: whoever reads the home also reads the database's password there. Raises `StackError`.
    """
    file = home.path / "api-token"
    with Client(settings=load(), actor=Actor.of_process("up")) as client:
        found = client.find_token(_read(file))
        if found is None or not found.alive:
            secret = client.create_token(TokenTerms(_NAME, frozenset(BACKEND), caps=None))[1]
            home.write(file.name, secret.get_secret_value() + "\n")
    return file


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"cannot read {file}: {error}") from None
