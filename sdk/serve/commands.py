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


def serve(args: argparse.Namespace) -> int:
    """Serve uploads over HTTP until SIGTERM, then end what was begun. Exit code 2 if it cannot start.

    TLS is for a proxy in front of it; so are /healthz, /readyz and /metrics, which need no key.
    """
    settings = _settings(args, anyone=args.anyone or None)
    try:
        from sdk.serve import app, listening
    except ImportError as error:
        raise MissingExtra(str(error.name), extra="serve", purpose="the service", why=str(error)) from error
    if settings.anyone and args.host not in ("127.0.0.1", "::1", "localhost"):
        raise BadSetting(f"anyone on {args.host} would serve strangers", remedy="imdl keys add NAME, or 127.0.0.1")
    application = app.create(settings)
    ended_well = listening.run(application, listening.listen(args.host, args.port))
    return DONE if ended_well else FAILED


def keys(args: argparse.Namespace) -> int:
    """Add, list or revoke API keys. A new key is printed once, with the secret that its webhooks are signed with."""
    settings = _settings(args)
    if args.action != "list" and args.name is None:
        raise BadSetting(f"keys {args.action} needs a name", remedy=f"imdl keys {args.action} NAME")
    with _database(settings, is_new=args.action == "add") as database:
        from sdk.serve.access import Keys
        from sdk.serve.webhooks import master_secret, secret_of

        if args.action == "list":
            for each in Keys(database).all():
                told = {name: getattr(each, name) for name in ("name", "role", "per_minute", "webhook")}
                print(json.dumps(told | {"revoked": each.revoked is not None}))
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
def _database(settings: Settings, *, is_new: bool = False) -> Iterator[Database]:
    """The database of the service, brought to the tables of this version; made if it may be new."""
    try:
        from sdk.serve.database import Database
        from sdk.serve.diagnosis import explained
    except ImportError as error:
        raise MissingExtra(str(error.name), extra="serve", purpose="the service", why=str(error)) from error
    database = Database(settings.database)
    if database.file and not is_new and not database.file.exists():
        raise BadSetting(
            f"there is no database {database.file}",
            remedy="name that of the service: --database sqlite:///FILE; imdl serve and imdl keys add make one",
        )
    try:
        with explained(database):
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
