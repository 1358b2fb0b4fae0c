"""Video, camera, folder or iterable to analyses: in order, in bounded memory, while the next frame is being decoded.

A frame is decoded in a process of its own or by the iterable, and analysed on a thread, of which there are as many as
the sessions compute frames side by side: on a GPU the next frame then goes up, and the one before comes down, while one
is computed. No frame is started before there is room for its result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, TypeAlias

from sdk import sources
from sdk.analyzer import Analyzer, load
from sdk.batches import OF_THE_CALL
from sdk.errors import BadSetting, SdkError, UnknownName
from sdk.frames import Color
from sdk.inputs import Input
from sdk.source import Captured, Matrix, Settings
from sdk.streaming.latest import Latest
from sdk.streaming.results import Moment, Summary
from sdk.streaming.tally import Tally
from sdk.verdict import Verdict
from sdk.video.limits import VideoLimits

if TYPE_CHECKING:
    from types import TracebackType

    from sdk.results import Analysis

Keep: TypeAlias = Literal["all", "latest"]


def stream(
    source: object,
    analyzer: Analyzer | None = None,
    *,
    keep: Keep = "all",
    color: Color = "rgb",
    decoder: str | None = None,
    matrix: Matrix = "bt601",
    limits: VideoLimits | None = None,
) -> Stream:
    """Analyse a video file or its bytes, RTSP address, camera (its number), folder of images, or iterable of frames.

    They are analysed in order.

    Args:
        source: an iterable gives what ``analyze`` takes, or pairs (seconds from the start, frame).
        analyzer: what to analyse with; None loads the default model for the time of the stream.
        keep: "all" waits for every frame, and gives what was found in one when the next was read; "latest" passes over
            those that come while another is analysed, so that the answer is about now. A file's frames then come at
            their times.
        color: channel order of arrays in an iterable.
        decoder: name and version of what made these arrays, for results to name.
        matrix: colour matrix of a video that names none; "bt601" is what training's video went through.
        limits: what a video may cost before it is refused.

    A damaged source is an error here, after every frame that can be read was given. Of a folder, or an iterable of
    paths or bytes, every file is a source of its own: one that cannot be analysed is a moment with its error, and the
    stream goes on.
    """
    for kind, name, known in (
        ("way to keep frames", keep, ("all", "latest")),
        ("colour matrix", matrix, ("bt601", "bt709")),
        ("colour order", color, ("rgb", "bgr")),
    ):
        if name not in known:
            raise UnknownName(kind, name, known)
    if not isinstance(analyzer, Analyzer | None):
        raise BadSetting(f"a stream cannot be analysed with {analyzer!r:.80}", remedy="give what sdk.load returns")
    if not isinstance(limits, VideoLimits | None):
        raise BadSetting(f"limits is {limits!r}", remedy="give sdk.VideoLimits(...), or None")
    sources.kind(source)
    settings = Settings(color=color, decoder=decoder, matrix=matrix, limits=limits)
    return Stream(source, analyzer, keep=keep, settings=settings)


class Stream:
    """Iterator over moments, for one thread. What was found so far is in :attr:`summary` at any time."""

    def __init__(self, source: object, analyzer: Analyzer | None, *, keep: Keep, settings: Settings) -> None:
        self._tally = Tally()
        # The generator does not hold this object: when a loop is left and nobody keeps the stream, both are closed.
        self._moments = _moments(source, analyzer, self._tally, keep=keep, settings=settings)

    def __iter__(self) -> Iterator[Moment]:
        return self

    def __next__(self) -> Moment:
        return next(self._moments)

    @property
    def summary(self) -> Summary:
        """What was found so far, or in all; also after an error and after :meth:`close`."""
        return self._tally.summary()

    def close(self) -> None:
        """Stop, and release the source. Idempotent; the analyzer stays open if it was given."""
        self._moments.close()
        self._tally.end("closed")

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        summary = self.summary
        return f"Stream({summary.ended}, {summary.frames} frames, {summary.fps:.1f} FPS, {summary.dropped} dropped)"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Started:
    """A frame whose analysis was started."""

    index: int
    dropped: int
    captured: Captured
    future: Future[Analysis]

    def moment(self) -> Moment:
        """Wait for the analysis; an error is part of the moment if it is about one file among others."""
        analysis = failure = None
        try:
            analysis = self.future.result()
        except SdkError as error:
            if not _is_a_file(self.captured) or isinstance(error, OF_THE_CALL):
                raise
            failure = error
        return Moment(
            index=self.index, time_s=self.captured.time_s, dropped=self.dropped, analysis=analysis, error=failure
        )


def _moments(
    source: object, analyzer: Analyzer | None, tally: Tally, *, keep: Keep, settings: Settings
) -> Generator[Moment]:
    """The moments in order; everything is released when this ends, however it does."""
    with contextlib.ExitStack() as held:
        held.callback(tally.end, "closed")
        try:
            analyzer = analyzer or held.enter_context(load())
            settings = settings.under(analyzer.recipe)
            for started in _in_order(source, analyzer, held, keep=keep, settings=settings):
                moment = started.moment()
                tally.add(moment, is_damaged=bool(started.captured.damage))
                yield moment
                del started, moment  # while the next is waited for, this frame is the caller's alone
            tally.end("complete")
        except Exception as error:
            tally.end("failed", str(error))
            raise


def _in_order(
    source: object, analyzer: Analyzer, held: contextlib.ExitStack, *, keep: Keep, settings: Settings
) -> Iterator[_Started]:
    """Frames whose analyses were started; as many as there are lanes, and one that waits so that no lane does.

    What ends the source is raised after all that was started.
    """
    captured = _taken(sources.read(source, settings), analyzer, settings)
    numbered: Iterator[tuple[int, Captured]]
    if keep == "latest":
        numbered = newest = Latest(captured)
        held.callback(newest.close)
        lanes = room = 1  # a frame that waits for its turn would be an old one
    else:
        numbered = ((0, one) for one in captured)
        held.callback(captured.close)
        lanes = analyzer.parallel
        room = lanes + 1
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="imdl-stream")
    held.callback(pool.shutdown, cancel_futures=True)
    started: deque[_Started] = deque()
    failure: Exception | None = None
    index, is_open = 0, True
    while is_open or started:
        while is_open and len(started) < room and not (started and started[0].future.done()):
            try:
                dropped, one = next(numbered)
            except StopIteration:
                is_open = False
            except Exception as error:
                failure, is_open = error, False
            else:
                index += dropped
                started.append(_Started(index, dropped, one, pool.submit(_analysis, analyzer, one)))
                index += 1
        if started:
            yield started.popleft()
    if failure is not None:
        raise failure


def _taken(captured: Generator[Captured], analyzer: Analyzer, settings: Settings) -> Generator[Captured]:
    """Frames of a video, copied before the next is asked for: decoders write that one where this one was.

    A file is left for a lane to decode.
    """
    with contextlib.closing(captured):
        for one in captured:
            picture = one.picture
            if isinstance(picture, bytearray | memoryview):
                picture = bytes(picture)
            elif not _is_a_file(one) and not isinstance(picture, Input):
                taken = analyzer.read(picture, color=settings.color, decoder=settings.decoder)
                picture = dataclasses.replace(taken, is_video=True)
            yield dataclasses.replace(one, picture=picture)


def _is_a_file(captured: Captured) -> bool:
    """Whether it is a still image that came as a file, of which the next knows nothing; no frame of a video."""
    if isinstance(captured.picture, Input):
        return not captured.picture.is_video
    return captured.error is not None or isinstance(captured.picture, str | os.PathLike | bytes)


def _analysis(analyzer: Analyzer, captured: Captured) -> Analysis:
    """The analysis of one frame, by the thresholds for what it is."""
    if captured.error is not None:
        raise captured.error
    analysis = analyzer.analyze(captured.picture)
    if captured.damage:
        verdict = Verdict("inconclusive", f"the decoder had to repair this frame: {captured.damage}")
        return dataclasses.replace(analysis, verdict=verdict)
    return analysis
