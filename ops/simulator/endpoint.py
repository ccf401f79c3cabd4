"""The road of a request: read it whole, admit it, choose its fault, do the work, record it, deliver."""

import hashlib
import json
import logging

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from ops.simulator.delivery import Channel
from ops.simulator.documents import long_id, renamed
from ops.simulator.exchange import Exchange, Operation, SimulatedWire
from ops.simulator.faults import UNDELIVERED, StagedFault
from ops.simulator.journal import JournalEntry
from ops.simulator.marks import marks_in
from ops.simulator.replies import RefusalError, SimulatedReply
from ops.simulator.world import World

_log = logging.getLogger("ops.simulator")
_CREDENTIALS = {"authorization", "x-api-key"}
_REASON_MARKS = {"content_safety": "moderated", "rate_limited": "rate_limited"}


class Endpoint:
    """One operation of one wire as an ASGI application."""

    def __init__(self, world: World, wire: SimulatedWire, operation: Operation) -> None:
        self._world = world
        self._wire = wire
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the log and the bill are written before the first byte of the reply.

        Only what is charged on delivery is written before the last byte instead.
        """
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            exchange = self._exchange(request, b"")
            self._record(exchange, 0, "body_incomplete", whole=False)
            return
        exchange = self._exchange(request, body)
        reply = await self._answer(exchange)
        if exchange.account is not None:
            self._wire.decorate(exchange, reply)
        outcome = exchange.fault.kind if exchange.fault else str(reply.status)
        skew = self._world.skew(self._wire.name)
        if exchange.sale is None:
            self._record(exchange, reply.status, outcome)
            await Channel(scope, receive, send, self._world.clock, skew=skew).deliver(reply, exchange.fault)
            return

        def sold() -> None:
            self._world.settle(exchange)
            self._record(exchange, reply.status, outcome)

        try:
            await Channel(scope, receive, send, self._world.clock, sold, skew=skew).deliver(reply, exchange.fault)
        finally:
            if exchange.line is None:
                self._world.release(exchange)
                self._record(exchange, reply.status, exchange.fault.kind if exchange.fault else "undelivered")

    def _exchange(self, request: Request, body: bytes) -> Exchange:
        host = request.headers.get("host", "127.0.0.1")
        exchange = Exchange(
            id=self._world.journal.next_id(),
            base_url=self._world.config.public_url or f"http://{host}",
            method=request.method,
            path=request.url.path,
            path_params=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=body,
            body_sha256=hashlib.sha256(body).hexdigest(),
            time=self._world.clock.now(),
        )
        exchange.route = self._wire.route_of(self._operation, exchange)
        self._look_into(exchange)
        return exchange

    def _look_into(self, exchange: Exchange) -> None:
        """Find the prompt, for the marks and faults that go by it."""
        if self._operation.pays:
            exchange.prompt = _prompt_in(exchange.body)
            exchange.subject = exchange.body_sha256
        elif self._operation.public:
            exchange.subject = self._wire.picture_of(exchange) or exchange.path
            picture = self._world.gallery.get(exchange.subject)
            exchange.prompt = picture.sketch.prompt if picture else ""
        else:
            exchange.subject = exchange.query.get("ids", exchange.path)
        exchange.marks = marks_in(exchange.prompt)

    async def _answer(self, exchange: Exchange) -> SimulatedReply:
        try:
            if not self._operation.public:
                self._wire.admit(exchange)
            self._meet_fault(exchange)
            fault = exchange.fault
            if fault is not None and not fault.accepted:
                return self._refused(exchange, fault)
            reply = await self._operation.handler(exchange)
        except RefusalError as refusal:
            return refusal.reply
        except Exception:
            # Nothing else would say so: the server's own log is off, since faults would fill it.
            _log.exception("request %d failed inside the simulator", exchange.id)
            raise
        if fault is None:
            return reply
        if exchange.sale is not None and fault.kind in UNDELIVERED:
            self._world.release(exchange)
        if fault.kind in {"error_5xx", "error_in_2xx"}:
            return self._refused(exchange, fault)
        return self._renamed(exchange, fault, reply) if fault.kind in {"repeated_id", "long_id"} else reply

    def _meet_fault(self, exchange: Exchange) -> None:
        key = exchange.account.key if exchange.account else None
        plan = self._world.faults
        prompt = exchange.prompt or self._prompts_asked_for(exchange)
        fault = plan.choose(self._wire.name, exchange.route, exchange.subject, prompt, key)
        if fault is None and self._operation.pays and self._loses_reply(exchange):
            fault = StagedFault.parse("reply_lost")
        exchange.fault = fault
        if fault is not None and fault.kind == "failed_generation":
            exchange.marks |= {_REASON_MARKS.get(fault.reason or "", "failed")}
        if fault is not None and fault.kind == "early_expiry":
            exchange.marks |= {"expired"}

    def _prompts_asked_for(self, exchange: Exchange) -> str:
        ids = exchange.query.get("ids", "").split(",") if exchange.query.get("ids") else []
        pictures = (self._world.gallery.get(name) for name in ids or [self._wire.picture_of(exchange) or ""])
        return "\n".join(picture.sketch.prompt for picture in pictures if picture)

    def _loses_reply(self, exchange: Exchange) -> bool:
        if "lost_once" in exchange.marks:
            return self._world.occurrence("lost_once", exchange.body_sha256) == 0
        return "lost" in exchange.marks

    def _renamed(self, exchange: Exchange, fault: StagedFault, reply: SimulatedReply) -> SimulatedReply:
        success, key = self._operation.success, exchange.require_account().key
        submission = exchange.submission_id
        if submission is None or reply.status != success.status:
            return reply
        if fault.kind == "long_id":
            return renamed(reply, success.ids, success.header, long_id(submission, fault.size))
        earlier = self._world.bill.latest(self._wire.name, key, but=submission)
        return reply if earlier is None else renamed(reply, success.ids, success.header, self._wire.id_of(earlier))

    def _refused(self, exchange: Exchange, fault: StagedFault) -> SimulatedReply:
        inside = fault.kind == "error_in_2xx"
        usual = 0 if inside and fault.code else 500
        reply = self._wire.refusal(fault.status or usual, exchange, fault.code)
        if inside:
            reply.status = self._operation.success.status
        if fault.retry_after is not None:
            reply.headers["retry-after"] = str(fault.retry_after)
        return reply

    def _record(self, exchange: Exchange, status: int, outcome: str, *, whole: bool = True) -> None:
        if self._world.has_forgotten(exchange):
            return
        account, line, operation = exchange.account, exchange.line, self._operation
        leaked = operation.public and any(name in exchange.headers for name in _CREDENTIALS)
        entry = JournalEntry(
            id=exchange.id,
            time=exchange.time,
            provider=self._wire.name,
            route=exchange.route,
            method=exchange.method,
            path=exchange.path,
            status=status,
            outcome=outcome,
            fault=exchange.fault.kind if exchange.fault else None,
            paid=line is not None,
            key=account.key if account else None,
            submission_id=line.submission_id if line else None,
            body_sha256=exchange.body_sha256,
            hint=(exchange.prompt or exchange.subject)[:60],
            credential_on_result_url=leaked,
        )
        self._world.journal.add(entry, paying_route=operation.pays, whole=whole)


def _prompt_in(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    prompt = document.get("prompt") if isinstance(document, dict) else None
    return prompt if isinstance(prompt, str) else ""
