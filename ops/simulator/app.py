"""The simulator as one Starlette application: every wire's operations, and the control API beside them."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from ops.simulator.config import SimulatorConfig
from ops.simulator.control import Control
from ops.simulator.endpoint import Endpoint
from ops.simulator.exchange import Exchange, Handler, Operation, SimulatedWire
from ops.simulator.replies import SimulatedReply
from ops.simulator.wires import wires_of
from ops.simulator.world import World

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(config: SimulatorConfig) -> Starlette:
    """Build the application; ``app.state.world`` and ``app.state.wires`` hold what it knows."""
    world = World.create(config)
    wires = wires_of(world)

    def forget() -> None:
        world.reset()
        for wire in wires:
            wire.reset()

    routes: list[BaseRoute] = list(Control(world, forget).routes())
    for wire in wires:
        routes.extend(_routes(world, wire))
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    app.state.world, app.state.wires, app.state.forget = world, wires, forget
    return app


def world_of(app: Starlette) -> World:
    """Return what the application's wires share."""
    world = app.state.world
    assert isinstance(world, World)
    return world


def wires_in(app: Starlette) -> tuple[SimulatedWire, ...]:
    """Return the application's wires."""
    wires: tuple[SimulatedWire, ...] = app.state.wires
    return wires


def _routes(world: World, wire: SimulatedWire) -> Sequence[Route]:
    routes = [
        Route(operation.path, Endpoint(world, wire, operation), methods=[operation.method])
        for operation in wire.operations()
    ]
    unknown = [Operation(method, f"/{wire.name}/{{rest:path}}", "unknown", _not_found(wire)) for method in _METHODS]
    return routes + [
        Route(operation.path, Endpoint(world, wire, operation), methods=[operation.method]) for operation in unknown
    ]


def _not_found(wire: SimulatedWire) -> Handler:
    async def answer(exchange: Exchange) -> SimulatedReply:
        return wire.refusal(404, exchange)

    return answer
