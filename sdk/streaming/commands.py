"""The verb ``stream``: frames of a video, camera or folder on the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from sdk import options
from sdk.errors import BadSetting, SdkError
from sdk.video.limits import VideoLimits

if TYPE_CHECKING:
    from sdk.streaming.results import Moment, Summary
    from sdk.streaming.stream import Stream

    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

FAILED, FOUND, CLEAN = 2, 1, 0
WINDOW = 30
"""Frames over which the rate is told."""
REFRESH_S = 0.1


def stream(args: argparse.Namespace) -> int:
    """Analyse a video, rtsp:// address, camera (its number) or folder of images, frame by frame, in order.

    At the end, or after Ctrl-C or SIGTERM, a line for each span of frames with one verdict: verdict, highest score,
    seconds, frames. With --json a line for each frame, and a last one with the summary, as sdk/stream.schema.json
    describes. An image of a folder that cannot be analysed is told on stderr, and the others are analysed.

    Exit code: 2 if the source, an image of a folder or FILE failed, else 1 if a frame is judged manipulated or
    suspicious, else 0. Thresholds are shares of single frames: a flagged frame is a place to look at.
    """
    from sdk.sources.video import without_password
    from sdk.streaming.recording import Recording
    from sdk.streaming.stream import stream as opened

    source = without_password(args.source)
    _check(args.source, args.save)
    recording = Recording(args.save) if args.save else None
    failed = False
    with contextlib.ExitStack() as held:
        held.enter_context(_terminated_as_interrupted())
        analyzer = held.enter_context(args.loaded(args))
        running = held.enter_context(
            opened(args.source, analyzer, keep=args.keep, matrix=args.matrix, limits=_limits(args))
        )
        try:
            with recording or contextlib.nullcontext():
                for moment in told(running, sys.stderr):
                    if moment.error:
                        print("\n  -> ".join(options.in_words(moment.error)), file=sys.stderr)
                    if args.json:
                        print(json.dumps({"source": source, **moment.to_dict()}), flush=True)
                    if recording:
                        recording.add(moment)
        except SdkError as error:
            failed = True
            print("\n  -> ".join(options.in_words(error)), file=sys.stderr)
        except KeyboardInterrupt:  # how a live source is ended; what was found so far is the answer
            pass
        running.close()
    summary = running.summary
    if args.json:
        print(json.dumps({"source": source, "summary": summary.to_dict()}), flush=True)
    else:
        print_spans(summary)
    return FAILED if failed or summary.failed else FOUND if summary.found else CLEAN


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """What ends services and containers ends a stream as Ctrl-C does: with its summary, and its video whole."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def print_spans(summary: Summary) -> None:
    """One line for each span, and what it took, for people."""
    for span in summary.spans:
        when = "-" if span.start_s is None or span.end_s is None else f"{span.start_s:.2f}-{span.end_s:.2f} s"
        print(f"{span.verdict}\t{span.peak_score:.3f}\t{when}\t{span.first}-{span.last}")
    print(
        f"{summary.frames} frames in {summary.seconds:.1f} s ({summary.fps:.1f} FPS), {summary.dropped} dropped, "
        f"{summary.damaged} damaged, {summary.failed} failed",
        file=sys.stderr,
    )


def told(running: Stream, terminal: TextIO) -> Iterator[Moment]:
    """The moments; on a terminal with a line of rate, place and verdict below whatever else is printed."""
    if not terminal.isatty():
        yield from running
        return
    times: deque[float] = deque(maxlen=WINDOW)
    dropped, failed, shown = 0, 0, 0.0
    for moment in running:
        now = time.monotonic()
        times.append(now)
        dropped += moment.dropped
        failed += moment.analysis is None
        if moment.analysis is None:
            terminal.write(f"{'':<90}\r")  # what went wrong is printed here
        elif now - shown >= REFRESH_S and len(times) > 1:
            shown = now
            rate = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
            place = "" if moment.time_s is None else f"{moment.time_s:.2f} s, "
            verdict = f"{moment.analysis.verdict} {moment.analysis.score:.3f}"
            line = f"{rate:.1f} FPS, {place}frame {moment.index}, {verdict}, {dropped} dropped, {failed} failed"
            terminal.write(f"\r{line:<90}\r")
            terminal.flush()
        yield moment
    terminal.write(f"{'':<90}\r")


def add(
    verbs: Verbs,
    verb: Callable[[Verbs, Callable[[argparse.Namespace], int]], argparse.ArgumentParser],
    loaded: Callable[[argparse.Namespace], object],
) -> None:
    """Offer the verb; ``loaded`` opens the Analyzer that the options ask for."""
    one = verb(verbs, stream)
    one.add_argument("source", metavar="SOURCE", help="video file, rtsp:// address, number of a camera, or folder")
    one.add_argument("--json", action="store_true", help="JSON lines, as sdk/stream.schema.json describes")
    one.add_argument("--save", type=Path, metavar="FILE", help="write the overlays as a video: .mp4, .mov or .mkv")
    one.add_argument(
        "--keep", choices=["all", "latest"], default="all", help="latest: pass over what comes meanwhile (default: all)"
    )
    one.add_argument(
        "--matrix", choices=["bt601", "bt709"], default="bt601", help="of a video that names none (default: bt601)"
    )
    options.add(one, limits=VideoLimits)
    one.set_defaults(loaded=loaded)


def _check(source: str, save: Path | None) -> None:
    """Refuse what is no source here, and to write the overlays over the video that they are drawn on."""
    if source == "-":
        raise BadSetting(
            "a stream is not read from standard input", remedy="give a file, or the rtsp:// address of what sends it"
        )
    if save and os.path.exists(source) and save.exists() and save.samefile(source):  # noqa: PTH110  as in sdk.paths
        raise BadSetting(f"{save} is the source itself", remedy="name another file: --save FILE")


def _limits(args: argparse.Namespace) -> VideoLimits:
    """The options ``--max-...`` for the video; each has another default than for stills."""
    given = {field.name: getattr(args, f"max_{field.name}") for field in fields(VideoLimits)}
    return VideoLimits(**{name: limit for name, limit in given.items() if limit is not None})
