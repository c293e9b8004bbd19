"""Previews while a job is followed: files, and pictures in terminals that can show them."""

from __future__ import annotations

import base64
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from loramill import v1
from loramill.cli.inline import Graphics, graphics_of, rows_of
from loramill.cli.live import follow
from loramill.cli.previews import Looking
from loramill.client import Client
from loramill.errors import DownloadError
from loramill.previews import Picture
from tests.client.conftest import Loramill
from tests.client.fake_service import FakeService

JOB = "trainingJobs/job1"


def png(color: str, size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def preview(step: int, place: int, content: bytes, strength: float = 1.0) -> tuple[v1.TrainingPreview, bytes]:
    told = v1.TrainingPreview(
        step=step,
        place=place,
        prompt=f"prompt {place}",
        strength=strength if step else 0.0,
        size_bytes=len(content),
    )
    return told, content


def at(step: int | None, state: v1.TrainingJobState.ValueType = v1.TRAINING_JOB_STATE_RUNNING) -> v1.TrainingJob:
    return v1.TrainingJob(name=JOB, state=state, progress=v1.Progress(preview_step=step))


@pytest.fixture
def followed(service: FakeService) -> FakeService:
    """A job that draws two prompts before training, after step 10 and at its end."""
    service.state.jobs[JOB] = at(20)
    service.state.previews = [
        preview(step, place, png(color))
        for step, color in ((0, "white"), (10, "blue"), (20, "red"))
        for place in range(2)
    ]
    service.state.scripts = [[at(None), at(0), at(0), at(10), at(20, v1.TRAINING_JOB_STATE_SUCCEEDED)]]
    return service


def test_previews_are_saved_while_the_job_is_followed(
    followed: FakeService, loramill: Loramill, tmp_path: Path
) -> None:
    followed.state.fail_first["GetTrainingPreviews"] = 100
    told = loramill("job", "watch", "job1", "--previews", str(tmp_path / "none"))
    assert told.code == 0, "a job is followed though its pictures cannot be had"
    assert told.out.count("Its previews cannot be had now") == 1
    assert not (tmp_path / "none").exists()

    followed.state.fail_first.clear()
    followed.state.requests.clear()
    result = loramill("job", "watch", "job1", "--previews", str(tmp_path / "drawn"))
    assert result.code == 0
    names = [f"{step:07d}-{place:02d}.png" for step in (0, 10, 20) for place in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == names
    assert (tmp_path / "drawn" / "0000020-01.png").read_bytes() == png("red")
    assert "Saved 2 previews without the adapter in" in result.out
    assert "\x1b" not in result.out, "what is no terminal gets no pictures"
    asked = [request for request in followed.state.requests if isinstance(request, v1.GetTrainingPreviewsRequest)]
    assert all(request.plain for request in asked)
    assert not asked[0].HasField("after_step")


def test_nothing_is_fetched_that_nobody_looks_at(followed: FakeService, loramill: Loramill) -> None:
    assert loramill("job", "watch", "job1").code == 0
    assert not [one for one in followed.state.requests if isinstance(one, v1.GetTrainingPreviewsRequest)]


def test_all_pictures_of_a_job_are_saved_by_name(followed: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    followed.state.previews.append(preview(20, 0, png("green"), 1.5))
    result = loramill("job", "previews", "job1", "-o", str(tmp_path), "--step", "20")
    assert result.out.split() == [
        str(tmp_path / name) for name in ("0000020-00.png", "0000020-01.png", "0000020-00-1.5.png")
    ]


def test_a_picture_that_did_not_come_whole_is_refused(followed: FakeService, client: Client) -> None:
    told, content = preview(20, 0, png("red"))
    for damaged in (content[:-1], b"GIF89a" + content[6:]):
        followed.state.previews = [(told, damaged)]
        with pytest.raises(DownloadError, match="prompt 0 after step 20"):
            list(client.get_previews("job1"))


SIXEL_ANSWER, PLAIN_ANSWER = "\x1b[?62;4;22c", "\x1b[?62;22c"


@pytest.mark.parametrize(
    ("environment", "answer", "graphics"),
    [
        ({"TERM": "xterm-kitty"}, "", Graphics.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "", Graphics.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "", Graphics.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "", Graphics.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "", Graphics.ITERM2),
        ({"TERM": "xterm-256color"}, SIXEL_ANSWER, Graphics.SIXEL),
        ({"TERM": "xterm-256color"}, PLAIN_ANSWER, Graphics.NONE),
        ({"TERM": "xterm-256color"}, "\x1b[?4;22c", Graphics.NONE),
        ({"TERM": "xterm-256color"}, "", Graphics.NONE),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, PLAIN_ANSWER, Graphics.NONE),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, SIXEL_ANSWER, Graphics.SIXEL),
        ({"TERM": "screen"}, "", Graphics.NONE),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, SIXEL_ANSWER, Graphics.NONE),
        ({}, SIXEL_ANSWER, Graphics.NONE),
    ],
)
def test_what_a_terminal_speaks(environment: dict[str, str], answer: str, graphics: Graphics) -> None:
    assert graphics_of(environment, lambda: answer) is graphics


ASKING = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from loramill.cli.inline import ask_terminal
before = termios.tcgetattr(0)
print(repr(ask_terminal()), termios.tcgetattr(0) == before)
"""


@pytest.mark.parametrize("answer", [SIXEL_ANSWER, ""])
def test_a_real_terminal_is_asked_and_left_as_it_was(answer: str) -> None:
    mine, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", ASKING], stdin=theirs, stdout=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b"\x1b[c" not in seen:
        seen += os.read(mine, 100)
    os.write(mine, answer.encode())
    assert process.wait(30) == 0
    while b"True" not in seen and b"False" not in seen:
        seen += os.read(mine, 1000)
    os.close(mine)
    assert seen.decode().split("\x1b[c")[-1].split() == [repr(answer), "True"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("followed")
def test_pictures_stand_between_the_lines_of_a_terminal(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    job = follow(client, "job1", stream, Looking(None, Graphics.KITTY))
    assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED
    shown = kitty_pictures(stream.getvalue())
    # Each prompt without the adapter beside the same with it; of steps that came at once the last.
    assert shown == [png("white"), png("red")] * 2
    assert "without and with the adapter after step 20: prompt 0, prompt 1" in stream.getvalue()


def kitty_pictures(letters: str) -> list[bytes]:
    found: list[str] = []
    for options, data in re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", letters):
        if "a=T" in options:
            assert "c=16,r=8" in options
            found.append("")
        found[-1] += data
    return [base64.b64decode(data) for data in found]


def picture(content: bytes) -> Picture:
    return Picture(v1.TrainingPreview(step=1), content)


def test_large_pictures_come_to_kitty_in_pieces_and_rows_end_at_the_edge() -> None:
    noise = io.BytesIO()
    Image.effect_noise((200, 100), 90).convert("RGB").save(noise, "PNG")
    letters = rows_of(Graphics.KITTY, [picture(noise.getvalue())] * 3, columns=70)
    assert letters.count("c=32,r=8") == 3
    assert letters.count("\n" * 8) == 2, "two fit beside each other, the third has a row of its own"
    assert max(len(data) for data in re.findall(";([^\x1b]*)\x1b\\\\", letters)) <= 4096


def test_iterm2_gets_the_file_as_it_is() -> None:
    letters = rows_of(Graphics.ITERM2, [picture(png("red"))], columns=80)
    (options, data) = re.findall("\x1b]1337;File=([^:]*):([^\x07]*)\x07", letters)[0]
    assert base64.b64decode(data) == png("red")
    assert "inline=1" in options
    assert "height=8" in options


def test_sixels_have_the_picture_s_pixels() -> None:
    two = Image.new("RGB", (80, 160), "#ff0000")
    two.paste("#0000ff", (0, 80, 80, 160))
    buffer = io.BytesIO()
    two.save(buffer, "PNG")
    drawn = sixel_pixels(rows_of(Graphics.SIXEL, [picture(buffer.getvalue())], columns=80))
    assert drawn.size == (80, 160)
    assert drawn.getpixel((40, 20)) == (255, 0, 0)
    assert drawn.getpixel((79, 159)) == (0, 0, 255)


def sixel_pixels(letters: str) -> Image.Image:
    """What a terminal makes of them."""
    size, body = re.findall('\x1bPq"1;1;([0-9]+;[0-9]+)(.*?)\x1b\\\\', letters, re.DOTALL)[0]
    width, height = map(int, size.split(";"))
    drawn, colors, x, y = Image.new("RGB", (width, height)), {}, 0, 0
    color = (0, 0, 0)
    for define, select, times, letter, end in re.findall(
        r"#([0-9]+;2;[0-9;]+)|#([0-9]+)|(?:!([0-9]+))?([?-~])|([$-])", body
    ):
        if define:
            number, _, *rgb = map(int, define.split(";"))
            colors[number] = tuple(round(value * 255 / 100) for value in rgb)
        elif select:
            color = colors[int(select)]
        elif end:
            x, y = 0, y + 6 * (end == "-")
        else:
            run = int(times or 1)
            for column, bit in itertools.product(range(x, x + run), range(6)):
                if (ord(letter) - 63) >> bit & 1:
                    drawn.putpixel((column, y + bit), color)
            x += run
    return drawn
