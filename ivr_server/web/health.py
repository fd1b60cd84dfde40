"""`GET /health`: whether the service can take calls, as JSON for load balancers and people.

200 while Asterisk is connected, 503 while it is not. Postgres being away is reported but is no
reason for 503, because calls do not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from aiohttp import web

from ivr_server.errors import SetupError


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of the service at one moment."""

    asterisk_connected: bool
    calls: int  # in progress
    waiting: int  # callers in queues
    agents_ready: int
    journal_lag: int  # facts not yet in Postgres
    postgres_connected: bool
    events: dict[str, int]  # from Asterisk: unknown, late, duplicate, failed; lost connections
    trouble: str  # one sentence, empty when all is well


async def serve(host: str, port: int, look: Callable[[], Health]) -> web.AppRunner:
    """Listen; the caller cleans the runner up. Raises SetupError when the port is taken."""

    async def health(request: web.Request) -> web.Response:
        state = look()
        return web.json_response(asdict(state), status=200 if state.asterisk_connected else 503)

    application = web.Application()
    application.router.add_get("/health", health)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SetupError(
            f"Port {port} on {host} is taken or not ours: stop what uses it, or set IVR_WEB_PORT "
            f"({error.strerror})."
        ) from None
    return runner
