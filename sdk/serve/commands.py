"""The verbs ``serve``, ``keys`` and ``webhooks``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sdk.errors import BadSetting, MissingExtra

if TYPE_CHECKING:
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

    from sdk.serve.database import Database
    from sdk.serve.settings import Settings

FAILED, DONE = 2, 0
DRAIN_SECONDS = 60
"""Time for requests under way when the service is asked to end."""


def serve(args: argparse.Namespace) -> int:
    """Serve uploads over HTTP until SIGTERM, then end what was begun. Exit code 2 if it cannot start.

    TLS is for a proxy in front of it; so are /healthz, /readyz and /metrics, which need no key.
    """
    settings = _settings(args, anyone=args.anyone or None)
    try:
        import uvicorn

        from sdk.serve import app, logs
    except ImportError as error:
        raise MissingExtra(str(error.name), extra="serve", purpose="the service", why=str(error)) from error
    if settings.anyone and args.host not in ("127.0.0.1", "::1", "localhost"):
        raise BadSetting(f"anyone on {args.host} would serve strangers", remedy="imdl keys add NAME, or 127.0.0.1")
    logs.configure()
    application = app.create(settings)
    config = uvicorn.Config(
        application,
        host=args.host,
        port=args.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=1 << 16,
    )
    server = uvicorn.Server(config)
    application.state.give_up = lambda: setattr(server, "should_exit", True)
    server.run()
    return FAILED if getattr(application.state, "service", None) is None or application.state.service.failure else DONE


def keys(args: argparse.Namespace) -> int:
    """Add, list or revoke API keys. A new key is printed once, with the secret that its webhooks are signed with."""
    settings = _settings(args)
    with _database(settings) as database:
        from sdk.serve.access import Keys
        from sdk.serve.webhooks import master_secret, secret_of

        if args.action == "list":
            for each in Keys(database).all():
                print(json.dumps({"name": each.name, "role": each.role, "revoked": each.revoked is not None}))
        elif args.name is None:
            raise BadSetting(f"keys {args.action} needs a name", remedy=f"imdl keys {args.action} NAME")
        elif args.action == "revoke":
            Keys(database).revoke(args.name)
        else:
            secret = secret_of(master_secret(Path(settings.secret)), args.name) if args.webhook else None
            key = Keys(database).add(args.name, role=args.role, per_minute=args.per_minute, webhook=args.webhook)
            print(json.dumps({"name": args.name, "key": key, "webhook_secret": secret}))
    return DONE


def webhooks(args: argparse.Namespace) -> int:
    """List the webhooks that were given up, or let all of them be tried again by the service."""
    with _database(_settings(args)) as database:
        from sdk.serve import dead_letters

        if args.action == "list":
            for each in dead_letters.listed(database):
                print(json.dumps(dataclasses.asdict(each)))
        else:
            print(json.dumps({"retried": dead_letters.retry(database)}))
    return DONE


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    """The database of the service, brought to the tables of this version."""
    try:
        from sdk.serve.database import Database
    except ImportError as error:
        raise MissingExtra(str(error.name), extra="serve", purpose="the service", why=str(error)) from error
    database = Database(settings.database)
    try:
        database.migrate()
        yield database
    finally:
        database.close()


def add(verbs: Verbs, verb: Callable[[Verbs, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]) -> None:
    """Add the verbs; ``verb`` makes one of a function."""
    serving, keeping, telling = (verb(verbs, run) for run in (serve, keys, webhooks))
    telling.add_argument("action", choices=["list", "retry"])
    for options in (serving, keeping, telling):
        options.add_argument("--config", type=Path, help="TOML file of settings: sdk/serve/settings.py lists them")
        options.add_argument("--database", help="sqlite:///FILE or postgresql://USER@HOST/NAME")
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=8000)
    serving.add_argument("--model", action="append", dest="models", help="name or path of an artifact; may be repeated")
    serving.add_argument("--policy", help="name or path of the policy (default: default)")
    serving.add_argument("--anyone", action="store_true", help="serve requests without a key, to this machine alone")
    keeping.add_argument("action", choices=["add", "list", "revoke"])
    keeping.add_argument("name", nargs="?")
    keeping.add_argument("--role", choices=["submit", "review"], default="submit")
    keeping.add_argument("--per-minute", type=int, metavar="N", help="uploads a minute (default: the service's)")
    keeping.add_argument("--webhook", metavar="URL", help="where answers to this key's jobs are sent")


def _settings(args: argparse.Namespace, **changes: object) -> Settings:
    from sdk.serve.settings import read

    models = getattr(args, "models", None)
    named = {"database": args.database, "policy": getattr(args, "policy", None), "models": models}
    return read(args.config, **named, **changes)
