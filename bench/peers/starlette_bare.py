"""The doors with nothing behind them, on a free port that is printed: starlette_bare.py UPSTREAM.

`/bot<token>/<method>` is forwarded and nothing is kept; `/v1/messages` parses the JSON and answers 202.
"""

import socket
import sys

import aiohttp
import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def main(upstream: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def forward(request: Request) -> Response:
            headers = {"Content-Type": request.headers["content-type"]}
            url = f"{upstream}{request.url.path}"
            async with session.post(url, data=await request.body(), headers=headers) as answer:
                return Response(await answer.read(), answer.status, media_type="application/json")

        async def accept(request: Request) -> Response:
            given = orjson.loads(await request.body())
            several = given if isinstance(given, list) else [given]
            answers = [{"id": "0" * 26, "state": "waiting", "duplicate": False} for _ in several]
            body = orjson.dumps(answers if isinstance(given, list) else answers[0])
            return Response(body, 202, media_type="application/json")

        routes = [
            Route("/bot{token}/{method}", forward, methods=["POST"]),
            Route("/v1/messages", accept, methods=["POST"]),
        ]
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(Starlette(routes=routes), http="httptools", log_config=None, access_log=False)
        await uvicorn.Server(config).serve(sockets=[listener])


uvloop.run(main(sys.argv[1]))
