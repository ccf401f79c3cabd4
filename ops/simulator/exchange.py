"""One request as the wires see it, and the operations that a wire declares."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.datastructures import Headers, QueryParams

from ops.simulator.accounts import Account
from ops.simulator.bill import BillLine
from ops.simulator.faults import Fault
from ops.simulator.replies import Reply
from ops.simulator.sale import Sale


@dataclass(slots=True)
class Exchange:
    """A request that was read to its end, and what was found out about it so far.

    ``prompt`` is the prompt sent, or that of the picture asked for; ``marks`` those in it, plus what a fault
    wants of the wire; ``subject`` identifies the same request sent again; ``sale`` is what its delivered reply costs.
    """

    id: int
    base_url: str
    method: str
    path: str
    path_params: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: bytes
    body_sha256: str
    time: float
    route: str = ""
    prompt: str = ""
    subject: str = ""
    marks: frozenset[str] = frozenset()
    account: Account | None = None
    fault: Fault | None = None
    line: BillLine | None = None
    sale: Sale | None = None

    def require_account(self) -> Account:
        """Return the account that admission has found. Raises ``RuntimeError`` on a public operation."""
        if self.account is None:
            raise RuntimeError(f"{self.path} is public and has no account")
        return self.account


Handler = Callable[[Exchange], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path of a wire.

    ``route`` is the name that faults and the log use. ``pays``: an accepted request makes a line of the bill.
    ``public``: no key is needed, and sending one is a leak worth recording.
    """

    method: str
    path: str
    route: str
    handler: Handler
    pays: bool = False
    public: bool = False


class Wire(Protocol):
    """One provider's HTTP interface. To add one: write it in ``wires/``, list it in ``wires/__init__.py``."""

    name: str

    def operations(self) -> Sequence[Operation]:
        """Return everything that this wire answers, most specific path first."""
        ...

    def credential(self, headers: Headers) -> str | None:
        """Return the API key that the request carries."""
        ...

    def route_of(self, operation: Operation, exchange: Exchange) -> str:
        """Return the route's name for this request, usually that of the operation."""
        ...

    def picture_of(self, exchange: Exchange) -> str | None:
        """Return the id of the picture that a public operation delivers."""
        ...

    def admit(self, exchange: Exchange) -> None:
        """Raise ``RefusalError`` for an unknown or closed account, or one whose window is full."""
        ...

    def refusal(self, status: int, exchange: Exchange, code: str | None = None) -> Reply:
        """Return this provider's error of that status."""
        ...

    def decorate(self, exchange: Exchange, reply: Reply) -> None:
        """Add the headers that this provider puts on every answer to a key."""
        ...

    def dump(self) -> dict[str, Any]:
        """Return the wire's own state as JSON."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...
