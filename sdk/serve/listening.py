"""Where the server listens: taken before anything else is touched, so that one that cannot start disturbs nobody."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import cv2
import uvicorn

from sdk.errors import BadSetting
from sdk.serve import logs

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sdk.serve.service import Service

DRAIN_SECONDS = 60
"""Time for requests under way when the service is asked to end."""
BACKLOG = 2048
"""Connections that wait to be taken, as many as uvicorn lets."""
_HOST = "give --host an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them"
_REMEDIES = {errno.EADDRINUSE: "end what listens there, or give another --port", errno.EADDRNOTAVAIL: _HOST}


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets at every address of ``host`` that this machine has; of ``port`` 0, at a free one.

    Raises:
        BadSetting: there is no such address or port here, or another program has it.
    """
    if not 0 <= port <= 0xFFFF:
        raise BadSetting(f"there is no port {port}", remedy="give --port 1 to 65535, or 0 for a free one")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BadSetting(f"{host!r} is no address: {error}", remedy=_HOST) from error
    listening: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, _, _, _, address in found:
            try:
                listening.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # localhost stands for ::1, too, which not every machine has
        if absent and not listening:
            raise absent
    except OSError as error:
        for each in listening:
            each.close()
        code = error.errno or 0
        raise BadSetting(
            f"nobody can listen at {host}, port {port}: {os.strerror(code)}",
            remedy=_REMEDIES.get(code, "give another --host or --port"),
        ) from error
    return listening


def run(application: FastAPI, sockets: list[socket.socket]) -> bool:
    """Serve at ``sockets`` until SIGTERM; whether it could.

    Raises:
        BadSetting: the database cannot be used, or is another server's.
    """
    service: Service = application.state.service
    config = uvicorn.Config(
        application,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nobody asks who is connected
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=1 << 16,
    )
    server = uvicorn.Server(config)
    application.state.give_up = lambda: setattr(server, "should_exit", True)
    try:
        service.prepare()
        logs.configure()
        cv2.setNumThreads(1)  # examinations take turns on the cores; sharing out labels and small pictures costs double
        for each in sockets:
            logs.say("listening", address=each.getsockname()[0], port=each.getsockname()[1])
        server.run(sockets=sockets)
    finally:  # threads that were begun would keep the process alive
        service.stop()
        for each in sockets:
            each.close()
    return not service.failure
