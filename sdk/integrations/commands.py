"""The verbs ``consume`` and ``backfill``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from sdk import options
from sdk.errors import BadSetting, MissingExtra, RunFailed

if TYPE_CHECKING:
    from sdk.integrations.backfill import Job, Part

    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

DONE = 0
VIDEO_SECONDS = 60.0
"""For one video: those behind it wait for their records, and the broker (300 s) for its end when a group changes."""


def consume(args: argparse.Namespace) -> int:
    """Examine the files that come as messages of a Kafka topic, until SIGTERM; one record of evidence for each.

    Records go to another topic or to a file, and offsets are committed after that: at least once. A message without a
    file goes to the dead-letter topic with the reason. At the end the numbers of messages are printed, as JSON.

    Exit code: 2 if it had to stop, else 0.
    """
    from sdk.evidence.chain import Signer
    from sdk.examiner import opened
    from sdk.integrations import brokers, kafka
    from sdk.integrations.outputs import Lines, Topic

    if not args.video_seconds > 0:
        raise BadSetting(f"--video-seconds is {args.video_seconds}", remedy="give more than 0")
    if args.idle is not None and not 0 < args.idle < float("inf"):
        raise BadSetting(f"--idle is {args.idle}", remedy="give more than 0, or leave it out")
    signer = Signer.read(args.sign) if args.sign else None
    bounds = kafka.Bounds(**{field.name: getattr(args, field.name) for field in dataclasses.fields(kafka.Bounds)})
    given = brokers.properties(args.properties) if args.properties else {}
    with contextlib.ExitStack() as held:
        judged = {"policy": args.policy, "shadow": args.shadow, "video_seconds": args.video_seconds}
        examiner = held.enter_context(opened(args.model or [None], **judged))
        consumer, sender = brokers.clients(args.brokers, group=args.group, properties=given)
        output = Lines(args.out, signer=signer) if args.out else Topic(sender, args.to, signer=signer)
        held.callback(output.close)
        examiner.warmup()
        consumption = kafka.Consumption(
            examiner,
            output,
            consumer=consumer,
            dead_letters=(sender, args.dead_letters or f"{args.topic}-dead"),
            content=args.content,
            bounds=bounds,
        )
        tally = consumption.run(args.topic, stop=held.enter_context(_asked_to_stop()).is_set, idle_s=args.idle)
    print(json.dumps(dataclasses.asdict(tally)))
    return DONE


def backfill(args: argparse.Namespace) -> int:
    """Analyse a folder of photographs, or Parquet files with a column of files' bytes, into Parquet files of results.

    What is done already is not done again: run it anew after whatever stopped it, or when the source has grown. A file
    that cannot be analysed is a row with an error. At the end the numbers of rows of this run are printed, as JSON.

    Exit code: 2 if it had to stop, else 0.
    """
    from sdk.integrations.backfill import planned, run

    settings = options.settings(args) | _named(args)
    if args.ray:
        _ray()  # before a plan is left behind
    if args.ray and args.threads is None:
        settings["threads"] = 1  # a process for each CPU of the cluster
    job, parts = planned(args.source, args.out, column=args.column, settings=settings)
    tally = {"parts": 0, "rows": 0, "failed": 0}
    for each in _on_ray(job, parts, address=args.ray) if parts and args.ray else run(job, parts):
        tally = {"parts": tally["parts"] + 1, **{name: tally[name] + each[name] for name in each}}
        print(f"{tally['parts']}/{len(parts)} parts, {tally['rows']:,} rows", file=sys.stderr)
    print(json.dumps(tally))
    return DONE


def _on_ray(job: Job, parts: Sequence[Part], *, address: str) -> Iterator[dict[str, int]]:
    ray = _ray()
    from sdk.integrations import ray as cluster

    # A machine that dies, or a worker, is told of by Ray on stdout, from a thread of its own.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            joined = ray.init(address=address, log_to_driver=False, logging_level="warning")
        except ConnectionError as error:
            raise RunFailed(
                f"no Ray cluster is reached at {address}: {' '.join(str(error).split())}",
                remedy="start one, ray start --head, or name its address: --ray HOST:PORT",
            ) from error
        with joined:
            yield from cluster.run(job, parts)


def _ray() -> Any:  # noqa: ANN401  it has no types
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", extra="ray", purpose="work on a Ray cluster", why=str(error)) from error
    return ray


def _named(args: argparse.Namespace) -> dict[str, Any]:
    return {"model": args.model, "backend": args.backend}


def add(verbs: Verbs, verb: Callable[[Verbs, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]) -> None:
    """Add the verb; ``verb`` makes one of a function."""
    consuming = verb(verbs, consume)
    consuming.add_argument("--brokers", required=True, metavar="HOST:PORT", help="of the cluster; several with commas")
    consuming.add_argument("--topic", required=True, help="whose messages are files; a header content names the type")
    output = consuming.add_mutually_exclusive_group(required=True)
    output.add_argument("--to", metavar="TOPIC", help="topic for the records")
    output.add_argument("--out", type=Path, metavar="FILE", help="file for the records, one on each line, chained")
    consuming.add_argument("--dead-letters", metavar="TOPIC", help="for messages without a file (default: TOPIC-dead)")
    consuming.add_argument("--group", default="imdl", help="consumers with one name share the messages (default: imdl)")
    consuming.add_argument("--properties", type=Path, metavar="FILE", help="NAME=VALUE lines for librdkafka: security")
    consuming.add_argument("--model", action="append", help="name or path of an artifact; may be given several times")
    consuming.add_argument("--policy", help="name or path of a policy (default: default)")
    consuming.add_argument("--shadow", help="a second policy, whose decisions are recorded and have no effect")
    consuming.add_argument("--content", default="default", help="content type where no header names one")
    consuming.add_argument("--sign", type=Path, metavar="KEY", help="PEM file of an Ed25519 private key")
    consuming.add_argument("--workers", type=int, default=1, help="examinations side by side (default: 1)")
    consuming.add_argument("--max-inflight", type=int, default=16, metavar="N", help="messages in hand (default: 16)")
    consuming.add_argument("--max-bytes-inflight", type=int, default=256 << 20, metavar="N", help="bytes in hand")
    consuming.add_argument("--attempts", type=int, default=2, metavar="N", help="at one message (default: 2)")
    consuming.add_argument(
        "--video-seconds", type=float, default=VIDEO_SECONDS, metavar="N",
        help=f"for one video, after which what was found until then counts (default: {VIDEO_SECONDS:g})",
    )  # fmt: skip
    consuming.add_argument("--idle", type=float, metavar="SECONDS", help="end when nothing came for so long")
    filling = verb(verbs, backfill)
    filling.add_argument(
        "source", type=Path, metavar="SOURCE", help="folder of photographs; Parquet file, or folder of"
    )
    filling.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    filling.add_argument("--column", default="bytes", help="of a Parquet source, with files' bytes (default: bytes)")
    filling.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, or auto; all see SOURCE and OUT")
    options.add(filling)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM and Ctrl-C; a second one ends the process as it would without us."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(number, former[signal.Signals(number)])

    former = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
