"""The review page in a browser: by keyboard, on a telephone's width, without colour."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import uvicorn  # noqa: E402
from sqlalchemy import delete  # noqa: E402

from sdk.serve import app  # noqa: E402
from sdk.serve.access import ANYONE, Keys  # noqa: E402
from sdk.serve.service import Service  # noqa: E402
from sdk.serve.tables import decisions  # noqa: E402
from tests.sdk import toy  # noqa: E402
from tests.sdk.serve.conftest import BRIGHT, DIM, WHITE, picture  # noqa: E402

OFF = ("gpu", "quic", "background-networking", "component-update", "sync")
FLAGS = ["--no-sandbox", "--no-first-run", *(f"--disable-{part}" for part in OFF)]
NO_CHROMIUM = "no browser: apt-get install chromium"
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
UPLOADS = [BRIGHT, WHITE, picture(81, low=100, high=250), picture(82, low=110, high=250), DIM]
"""One that is blocked, three to be reviewed, one that passes."""


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip(NO_CHROMIUM)
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


@contextmanager
def running(settings) -> Iterator[tuple[str, Service]]:
    """The address of the page, and the service behind it, which is ready."""
    server = uvicorn.Server(uvicorn.Config(app.create(settings), access_log=False, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 60
        while not (server.started and server.config.app.state.service.is_ready):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/review", server.config.app.state.service
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def started(make_settings, toy_path, tmp_path_factory) -> Iterator[dict]:
    """A service on a port with two models, its uploads, and a key that reviews."""
    second = toy.build(tmp_path_factory.mktemp("artifacts") / "second", name="second")
    with running(make_settings(models=(str(toy_path), str(second)))) as (url, service):
        keys = Keys(service.database)
        tenant = keys.tenant(keys.add("alice", role="submit"))
        for data in UPLOADS:
            service.desk.at_once(service.desk.job(tenant, "default", data), data).result(20)
        yield {"url": url, "key": keys.add("carol", role="review"), "service": service}


@pytest.fixture
def site(started) -> dict:
    """The same, with nothing decided."""
    with started["service"].database.write() as connection:
        connection.execute(delete(decisions))
    return started


@pytest.fixture
def page(browser, site) -> Iterator[sync_api.Page]:
    """The page, with the queue open; whatever it complained of fails the test."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    opened.on("request", lambda asked: complaints.append(asked.url) if not own(asked.url, site["url"]) else None)
    opened.goto(site["url"])
    opened.fill("#key", site["key"])
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#case[data-id] .model canvas")
    yield opened
    context.close()
    assert [each for each in complaints if "401" not in each] == []  # the queue was asked for before there was a key


def own(url: str, site: str) -> bool:
    return url.startswith((site.removesuffix("/review"), "blob:", "data:"))


def case(page) -> str:
    return page.get_attribute("#case", "data-id")


def next_case(page, before: str) -> str:
    page.locator(f"#case:not([data-id='{before}'])").wait_for(state="attached")
    return case(page)


def back_to(page, one: str) -> None:
    page.locator(f"#case[data-id='{one}']").wait_for(state="attached")


def test_an_upload_is_shown_with_every_model_and_its_record(page):
    assert page.inner_text("#status") == "4 waiting"
    assert page.inner_text("#action").lower() == "block"
    first, second = (page.locator(".model").nth(number).bounding_box() for number in range(2))
    assert (page.locator(".model").count(), first["y"]) == (2, second["y"])
    assert first["x"] + first["width"] <= second["x"]
    assert [name.split(" ")[0] for name in page.locator(".model h3").all_inner_texts()] == ["toy", "second"]
    assert "0.0.0" not in page.inner_text("#reasons")
    page.keyboard.press("m")
    assert page.inner_text("#facts").split("\n")[:2] == ["Metadata", "no EXIF"]
    page.keyboard.press("e")
    record = json.loads(page.inner_text("#record"))
    assert record["decision"]["action"] == "block"
    assert len(record["results"]) == 2


def test_everything_is_decided_with_the_keyboard(page, site):
    seen = [case(page)]
    for key in ("c", "d", "u"):
        page.keyboard.press("n")
        page.keyboard.type(f"{key} because")  # letters in a note decide nothing
        page.keyboard.press("Escape")
        page.keyboard.press(key)
        seen.append(next_case(page, seen[-1]))
    page.keyboard.press("d")
    page.wait_for_selector("#empty:not([hidden])")
    decided = list(site["service"].reviews.all())
    assert [each.job_id for each in decided] == seen
    assert [each.decision for each in decided] == ["confirm", "dismiss", "unsure", "dismiss"]
    assert [each.note for each in decided] == ["c because", "d because", "u because", ""]
    assert {each.reviewer for each in decided} == {"carol"}


def test_one_can_go_back_and_decide_anew(page, site):
    first = case(page)
    page.keyboard.press("d")
    next_case(page, first)
    page.keyboard.press("k")
    back_to(page, first)
    assert page.inner_text("#decisions") == "dismissed by carol"
    page.keyboard.press("c")
    next_case(page, first)
    assert [each.decision for each in site["service"].reviews.of(first)] == ["dismiss", "confirm"]


def test_the_heatmap_is_faded_and_hidden(page):
    def opacity() -> str:
        return page.eval_on_selector(".model canvas", "canvas => canvas.style.opacity")

    assert opacity() == "0.6"
    page.keyboard.press("ArrowLeft")
    assert opacity() == "0.5"
    page.keyboard.press("h")
    assert (opacity(), page.inner_text("#share")) == ("0", "0 %")
    page.keyboard.press("h")
    assert opacity() == "0.5"
    page.locator("#opacity").fill("100")
    assert opacity() == "1"
    page.keyboard.press("r")
    assert page.eval_on_selector(".model svg", "svg => getComputedStyle(svg).display") == "none"


def test_a_region_lies_over_the_pixels_that_it_names(page):
    """The box of the first region is where the heatmap's canvas says that the mask is."""
    record = json.loads(page.text_content("#record"))
    box = page.eval_on_selector(".model svg rect", "rect => { const b = rect.getBoundingClientRect(); "
                                "return [b.left, b.top, b.right, b.bottom]; }")  # fmt: skip
    laid = page.eval_on_selector(".model .laid", "laid => { const b = laid.getBoundingClientRect(); "
                                 "return [b.left, b.top, b.right, b.bottom]; }")  # fmt: skip
    region, size = record["results"][0]["regions"][0], record["input"]
    scale = (laid[2] - laid[0]) / size["width"]
    wanted = [laid[0] + scale * region["x0"], laid[1] + scale * region["y0"],
              laid[0] + scale * region["x1"], laid[1] + scale * region["y1"]]  # fmt: skip
    assert np.abs(np.subtract(box, wanted)).max() < 1.5


def test_decisions_are_saved_as_files(page):
    first = case(page)
    page.keyboard.press("c")
    next_case(page, first)
    for button, name in (("#csv", "decisions.csv"), ("#jsonl", "decisions.jsonl")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename == name
        assert first in Path(download.value.path()).read_text()


def test_it_fits_a_telephone(page):
    page.set_viewport_size(PHONE)
    for key in ("", "m", "e"):  # as it comes, then with the facts, then with the record, too
        if key:
            page.keyboard.press(key)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    buttons = page.locator("#decide button")
    boxes = [buttons.nth(number).bounding_box() for number in range(3)]
    assert all(box["height"] >= 40 and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in boxes)
    assert all(box["y"] + box["height"] <= PHONE["height"] for box in boxes)  # they stay in sight
    first = case(page)
    buttons.nth(1).click()
    next_case(page, first)


def test_it_is_readable_without_colour(page):
    """Actions are words, and the edge of the mask is white on black: in grey it stands out, whatever lies below."""
    assert page.locator("#entries button").first.inner_text().startswith("block")
    page.locator("#opacity").fill("100")
    page.keyboard.press("r")  # boxes and numbers of regions are black and white, too
    assert {0, 255} <= greys(page)
    page.eval_on_selector(".model canvas", "canvas => { canvas.width = canvas.width; }")  # which empties it
    assert not {0, 255} <= greys(page)


def greys(page) -> set[int]:
    """Levels of grey on the first model's picture, in a screenshot without colour."""
    shot = page.locator(".model .laid").first.screenshot()
    return set(np.unique(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_GRAYSCALE)).tolist())


def test_a_video_is_shown_with_its_worst_frames_and_what_was_said_when(browser, make_settings, tmp_path):
    from tests.sdk.clips import grey, toy_of_video
    from tests.sdk.videos import make

    clip = make(tmp_path / "a.mp4", [grey(20)] * 3 + [grey(240)] * 2 + [grey(20)] * 3).read_bytes()
    with running(make_settings(models=(str(toy_of_video(tmp_path)),), anyone=True)) as (url, service):
        service.desk.hand_in(service.desk.job(ANYONE, "default", clip), clip)
        deadline = time.monotonic() + 30
        while not service.reviews.queue(limit=1)[1]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        context = browser.new_context(viewport=WIDE)
        opened = context.new_page()
        opened.goto(url)
        opened.wait_for_selector("#case[data-id] .model canvas")
        assert opened.inner_text("#frames p").startswith("8 frames, of which by themselves 2 lead to block")
        assert opened.locator("#frames li").first.inner_text().startswith("0.12 s, frame 3: score 0.90")
        cells = opened.locator("#frames tr").nth(2).locator("td").all_inner_texts()
        assert cells[:4] == ["0.12 s", "0.16 s", "manipulated", "2"]
        opened.keyboard.press("v")
        assert opened.get_attribute("#video", "open") is None
        opened.set_viewport_size(PHONE)
        assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        context.close()


def test_words_of_others_stay_words(page, site):
    first = case(page)
    site["service"].reviews.decide(first, "unsure", reviewer="<img src=x onerror=alert(1)>", note="<b>bold</b>")
    page.keyboard.press("j")
    next_case(page, first)
    page.keyboard.press("k")
    back_to(page, first)
    assert page.inner_text("#decisions") == "unsure by <img src=x onerror=alert(1)>: <b>bold</b>"


def test_a_wrong_key_is_told(browser, site):
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(site["url"])
    opened.fill("#key", "imdl_wrong")
    opened.keyboard.press("Enter")
    opened.locator("#status", has_text="no valid key").wait_for()
    assert opened.is_visible("#login")
    context.close()
