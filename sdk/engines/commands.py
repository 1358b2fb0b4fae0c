"""``imdl cache``: the engines that are kept on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from sdk.engines.cache import Cache, Entry

Verb = Callable[
    ["argparse._SubParsersAction[argparse.ArgumentParser]", Callable[[argparse.Namespace], int]],
    argparse.ArgumentParser,
]


def cache(args: argparse.Namespace) -> int:
    """List the engines that are kept, check their bytes, or remove them.

    Exit code: 2 if verify finds a damaged one, rm nothing to remove, or none has the digest that is given; else 0.
    """
    kept = Cache()
    chosen = [entry for entry in kept.entries() if entry.key.digest.startswith(args.engine or "")]
    if args.engine and not chosen:
        print(f"no engine is kept whose digest begins with {args.engine}\n  -> imdl cache ls", file=sys.stderr)
        return 2
    if args.action == "rm" and not args.all and (not args.engine or len(chosen) > 1):
        which = f"{len(chosen)} digests begin with {args.engine}" if args.engine else f"{len(chosen)} are kept"
        print(f"name one engine by the start of its digest, or give --all: {which}", file=sys.stderr)
        return 2
    damaged = 0
    for entry in chosen:
        fields = [line(entry)]
        if args.action == "verify":
            problem = entry.problem()
            damaged += problem is not None
            fields.append(problem or "verified")
        elif args.action == "rm":
            kept.remove(entry)
            fields.append("removed")
        print("\t".join(fields))
    others = kept.forget() if args.action == "rm" and args.all else []
    for path in others:
        print(f"{path.relative_to(kept.folder)}\tremoved")
    if not chosen and not others and args.action != "ls":
        print(f"no engine is kept in {kept.folder}", file=sys.stderr)
    if args.action == "ls":
        total = sum(entry.size for entry in chosen) / 2**20
        print(f"{len(chosen)} engines, {total:.1f} MiB of at most {kept.cap >> 20} in {kept.folder}", file=sys.stderr)
        if kept.besides:
            print(f"{kept.besides / 2**20:.1f} MiB besides: graphs, and what building taught", file=sys.stderr)
    return 2 if damaged or (args.action == "rm" and not chosen and not others) else 0


def line(entry: Entry) -> str:
    """One engine in fields between tabs."""
    key = entry.key
    model = entry.facts.get("model", "?")
    builder = f"{key.module} {key.version}"
    if entry.plugins:
        builder += f" with plugins of {entry.plugins}"
    size = f"{entry.size / 2**20:.1f} MiB"
    fields = (key.digest[:12], model, key.graph, builder, key.precision, key.target, key.profile.text(), size)
    return "\t".join(map(str, fields))


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser], verb: Verb) -> None:
    """Add the verb to the command line."""
    options = verb(verbs, cache)
    options.add_argument("action", choices=["ls", "verify", "rm"], nargs="?", default="ls")
    options.add_argument("engine", nargs="?", metavar="DIGEST", help="the start of one's digest (default: all)")
    options.add_argument("--all", action="store_true", help="rm: every engine, and all else that is kept for them")
