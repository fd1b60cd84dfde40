"""The floor: a bare aiohttp client that does the same ARI operations as our menu call, and no more.

Answers, plays one prompt, waits as long as the menu waits for a key, hangs up. No flow, no journal,
no typed events, no error handling. Run by the benchmarks as a process of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys

import aiohttp
import uvloop

APP = "bare"
WAIT_S = 0.3


async def serve(url: str, user: str, password: str, media: str) -> None:
    """Serve calls until killed. Operations go over the WebSocket; only the answer is awaited."""
    numbers = itertools.count(1)
    answers: dict[str, asyncio.Future[None]] = {}
    finished: dict[str, asyncio.Future[None]] = {}
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{url}/ari/events", params={"app": APP}) as socket,
    ):
        loop = asyncio.get_running_loop()

        async def ask(method: str, uri: str, **query: str) -> None:
            number = str(next(numbers))
            answered = answers[number] = loop.create_future()
            await socket.send_str(
                json.dumps(
                    {
                        "type": "RESTRequest",
                        "request_id": number,
                        "method": method,
                        "uri": uri,
                        "query_strings": [{"name": k, "value": v} for k, v in query.items()],
                    }
                )
            )
            await answered
            del answers[number]

        async def call(channel: str) -> None:
            await ask("POST", f"channels/{channel}/answer")
            playback = f"pb-{channel}"
            played = finished[playback] = loop.create_future()
            await ask("POST", f"channels/{channel}/play/{playback}", media=media)
            await played
            del finished[playback]
            await asyncio.sleep(WAIT_S)
            await ask("DELETE", f"channels/{channel}")

        tasks = set()
        print("ready", flush=True)
        async for message in socket:
            event = json.loads(message.data)
            kind = event["type"]
            if kind == "RESTResponse":
                if event["request_id"] in answers:
                    answers[event["request_id"]].set_result(None)
            elif kind == "PlaybackFinished":
                if event["playback"]["id"] in finished:
                    finished[event["playback"]["id"]].set_result(None)
            elif kind == "StasisStart":
                task = asyncio.create_task(call(event["channel"]["id"]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    uvloop.run(serve(os.environ["BARE_URL"], "ivr", os.environ["BARE_PASSWORD"], sys.argv[1]))
