"""Pillow's own limit on pixels decides nothing, and is what it was after every read."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from sdk.decoding import Decoder, Limits
from sdk.errors import DecodeFailed, LimitExceeded
from sdk.pillow_limit import raised_to
from tests.sdk.files import saved, smooth


@pytest.fixture(params=[100, 2000, None])
def usual(request, monkeypatch):
    """Pillow's limit: of 3072 px it makes an error, a warning (which is an error here too), nothing."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", request.param)
    return request.param


@pytest.mark.parametrize("mode", ["worker", "inline"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "AVIF"])
def test_only_our_limit_decides(kind, mode, usual, rng):
    data = saved(Image.fromarray(smooth(rng)), kind)
    with Decoder(Limits(pixels=3072), mode=mode) as decoder:
        assert decoder.decode(data).frame.shape == (48, 64, 3)
    with Decoder(Limits(pixels=3071), mode=mode) as decoder, pytest.raises(LimitExceeded, match="limit pixels=3,071"):
        decoder.decode(data)
    assert usual == Image.MAX_IMAGE_PIXELS


def test_it_is_put_back_after_an_error(usual, rng):
    with pytest.raises(DecodeFailed, match="cannot be decoded"):
        Decoder(mode="inline").decode(saved(smooth(rng), "PNG")[:200])
    assert usual == Image.MAX_IMAGE_PIXELS


def test_reads_at_once_have_room_for_the_largest(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    barrier = threading.Barrier(4)
    seen = []

    def read(pixels):
        with raised_to(pixels):
            barrier.wait()
            seen.append(Image.MAX_IMAGE_PIXELS)
            barrier.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, [50, 200, 300, 300]))
    assert seen == [300] * 4
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_inherit_the_reads_of_other_threads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    inside, done = threading.Event(), threading.Event()

    def read():
        with raised_to(200):
            inside.set()
            done.wait()

    thread = threading.Thread(target=read)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        os._exit(Image.MAX_IMAGE_PIXELS or 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 100
