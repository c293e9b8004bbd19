from __future__ import annotations

import importlib.util
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.trainer.data import corpus
from trainer.data.decoding_protocol import Limits
from trainer.data.images import Decoder, PictureInfo, UnreadablePicture
from trainer.data.rules import MaskSource
from trainer.errors import TrainerError, UserError


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        path = tmp_path / "picture"
        path.write_bytes(content)
        return path

    return save


Save = Callable[[bytes], Path]


def whole(decoder: Decoder, path: Path) -> np.ndarray:
    """The picture as it is, without resizing."""
    found = decoder.probe(path)
    size = (found.width, found.height)
    return decoder.pixels(path, size, (0, 0, *size))


@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"lossless": True, "exact": True})],
)
def test_lossless_formats_come_back_exactly(
    decoder: Decoder, saved: Save, format: str, options: dict[str, bool]
) -> None:
    picture = corpus.noise(50, 40)
    path = saved(corpus.encoded(picture, format, **options))
    assert decoder.probe(path) == PictureInfo(50, 40, format, "RGB")
    np.testing.assert_array_equal(whole(decoder, path), np.asarray(picture))


def test_resize_and_crop_are_those_of_pillow(decoder: Decoder, saved: Save) -> None:
    picture = corpus.noise(90, 60).resize((900, 600), Image.Resampling.BICUBIC)
    pixels = decoder.pixels(saved(corpus.encoded(picture)), (384, 256), (64, 0, 320, 256))
    expected = picture.resize((384, 256), Image.Resampling.LANCZOS, reducing_gap=3.0).crop((64, 0, 320, 256))
    assert pixels.shape == (256, 256, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_a_crop_outside_is_a_mistake_of_the_caller(decoder: Decoder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not lie inside"):
        decoder.pixels(tmp_path, (64, 64), (0, 0, 65, 64))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 128, (128, 128, 128)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (0, 0), (255, 255, 255)),
    ],
)
def test_modes_become_rgb_on_white(
    decoder: Decoder, saved: Save, mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    path = saved(corpus.encoded(Image.new(mode, (16, 16), colour)))
    assert decoder.probe(path).mode == mode
    assert set(map(tuple, whole(decoder, path).reshape(-1, 3))) == {expected}


def test_palettes_and_their_transparency(decoder: Decoder, saved: Save) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    path = saved(corpus.encoded(picture))
    assert decoder.probe(path).notes == ()
    assert whole(decoder, path).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    path = saved(corpus.encoded(picture, transparency=1))
    assert decoder.probe(path).notes == ("transparent",)
    assert whole(decoder, path).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_sixteen_bits_keep_their_greys(decoder: Decoder, saved: Save) -> None:
    path = saved(corpus.sixteen_bit())
    assert decoder.probe(path).mode == "I;16"
    row = whole(decoder, path)[0, :, 0].astype(int)
    np.testing.assert_allclose(row, np.linspace(0, 255, 64), atol=1)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_scaled_and_not_clipped(
    decoder: Decoder, saved: Save, colour_type: int, channels: int
) -> None:
    ramp = np.linspace(0, 65535, 32).astype(np.uint16)
    samples = np.repeat(np.tile(ramp, (8, 1))[..., None], channels, axis=2)
    if colour_type >= 4:
        samples[..., -1] = 65535
    pixels = whole(decoder, saved(corpus.png_of_16_bits(colour_type, samples))).astype(int)
    for channel in range(3):
        np.testing.assert_allclose(pixels[0, :, channel], np.linspace(0, 255, 32), atol=1)


def test_grey_profiles_are_followed(decoder: Decoder, saved: Save) -> None:
    path = saved(corpus.encoded(Image.new("L", (8, 8), 128), icc_profile=corpus.linear_grey_profile()))
    assert decoder.probe(path).notes == ()
    assert whole(decoder, path)[0, 0] == pytest.approx([188, 188, 188], abs=2)


def test_cmyk_profiles_are_followed(decoder: Decoder, saved: Save) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    path = saved(corpus.encoded(cyan, "JPEG", quality=100, icc_profile=corpus.grey_ink_profile()))
    assert decoder.probe(path).notes == ()
    assert whole(decoder, path)[8, 8] == pytest.approx([119, 119, 119], abs=4)


def test_avif_comes_back_upright_and_on_its_background(decoder: Decoder, saved: Save) -> None:
    picture = corpus.left_red_right_blue(64, 32).convert("RGBA")
    picture.putalpha(Image.new("L", (64, 32), 255))
    picture.paste((0, 0, 0, 0), (0, 0, 64, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(corpus.encoded(picture, "AVIF", quality=100, subsampling="4:4:4", exif=exif))
    found = decoder.probe(path)
    assert (found.format, found.width, found.height, found.notes) == ("AVIF", 32, 64, ("transparent",))
    pixels = decoder.pixels(path, (32, 64), (0, 0, 32, 64), background="#00ff00")
    assert pixels[8, 8] == pytest.approx([255, 0, 0], abs=6)
    assert pixels[56, 8] == pytest.approx([0, 0, 255], abs=6)
    assert pixels[8, 30] == pytest.approx([0, 255, 0], abs=6)


@pytest.mark.parametrize("background", ["#ffffff", "#000000", "#1080f0"])
def test_what_is_transparent_shows_the_background(decoder: Decoder, saved: Save, background: str) -> None:
    path = saved(corpus.encoded(Image.new("RGBA", (16, 16), (9, 9, 9, 0))))
    pixels = decoder.pixels(path, (16, 16), (0, 0, 16, 16), background=background)
    assert "#" + bytes(pixels[3, 3]).hex() == background


def test_masks_are_read_from_transparency_and_from_files(decoder: Decoder, saved: Save) -> None:
    def mask(picture: Image.Image, source: MaskSource) -> list[int]:
        path = saved(corpus.encoded(picture))
        return decoder.mask(path, picture.size, (0, 0, *picture.size), source=source)[0, :, 0].tolist()

    picture = Image.new("RGBA", (3, 1), (255, 255, 255, 255))
    picture.putpixel((1, 0), (255, 255, 255, 0))
    picture.putpixel((2, 0), (0, 0, 0, 100))
    assert mask(picture, "alpha") == [255, 0, 100]
    assert mask(picture, "file") == [255, 0, 0], "what is transparent in a mask file is black"
    assert mask(picture.convert("RGB"), "alpha") == [255, 255, 255]
    assert mask(Image.new("L", (2, 1), 60), "file") == [60, 60]
    assert mask(Image.new("1", (2, 1), 1), "file") == [255, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.putpixel((1, 0), 1)
    assert mask(palette, "file") == [0, 255]


def test_cmyk_is_converted(decoder: Decoder, saved: Save) -> None:
    path = saved(corpus.encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert decoder.probe(path).mode == "CMYK"
    assert whole(decoder, path)[8, 8] == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(decoder: Decoder, saved: Save, orientation: int) -> None:
    path = saved(corpus.rotated(orientation, width=64, height=32))
    found = decoder.probe(path)
    assert (found.width, found.height) == ((64, 32) if orientation < 5 else (32, 64))
    pixels = whole(decoder, path)
    red = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}[orientation]
    place = {"left": pixels[16, :8], "right": pixels[16, -8:], "top": pixels[:8, 16], "bottom": pixels[-8:, 16]}
    if orientation >= 5:
        assert pixels.shape == (64, 32, 3)
    assert place[red].mean(axis=0) == pytest.approx([254, 0, 0], abs=3)


def test_damaged_exif_leaves_a_good_picture(decoder: Decoder, saved: Save) -> None:
    found = decoder.probe(saved(corpus.damaged_exif()))
    assert (found.width, found.height, found.notes) == (64, 32, ("exif",))


def test_colour_profiles_are_followed(decoder: Decoder, saved: Save) -> None:
    path = saved(corpus.encoded(Image.new("RGB", (8, 8), corpus.RED), icc_profile=corpus.swapped_profile()))
    assert whole(decoder, path)[0, 0] == pytest.approx([0, 0, 255], abs=3)


def test_a_profile_of_srgb_changes_nothing_to_speak_of(decoder: Decoder, saved: Save) -> None:
    picture = corpus.noise(32, 32)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = whole(decoder, saved(corpus.encoded(picture, icc_profile=profile)))
    np.testing.assert_allclose(pixels.astype(int), np.asarray(picture).astype(int), atol=1)


@pytest.mark.parametrize(("profile", "notes"), [(b"no profile", ("profile",)), (corpus.lab_profile(), ())])
def test_profiles_that_do_not_fit_are_left_out(
    decoder: Decoder, saved: Save, profile: bytes, notes: tuple[str, ...]
) -> None:
    picture = corpus.noise(16, 16)
    path = saved(corpus.encoded(picture, icc_profile=profile))
    assert decoder.probe(path).notes == notes
    np.testing.assert_array_equal(whole(decoder, path), np.asarray(picture))


def test_phone_pictures_with_a_second_picture_inside(decoder: Decoder, saved: Save) -> None:
    path = saved(corpus.phone_picture())
    assert decoder.probe(path).format == "MPO"
    assert whole(decoder, path).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (corpus.bomb(), "claims more than 64 million pixels"),
        (corpus.bomb(9000, 9000), "claims more than 64 million pixels"),
        (corpus.truncated_jpeg(), "is truncated (its JPEG data ends early)"),
        (corpus.png(200, 200)[:5000], "is truncated (its PNG data ends early)"),
        (corpus.encoded(corpus.noise(99, 99), "BMP")[:9000], "is truncated (its BMP data ends early)"),
        (corpus.encoded(corpus.noise(99, 99), "WEBP")[:900], "is damaged WEBP"),
        (corpus.damaged_png(), "is damaged PNG"),
        (corpus.animated("GIF"), "is a GIF, not a JPEG, PNG, WebP, AVIF or BMP picture; convert it"),
        (corpus.animated("PNG"), "is animated (3 frames)"),
        (corpus.animated("WEBP"), "is animated (3 frames)"),
        (corpus.animated("AVIF"), "is animated (3 frames)"),
        (corpus.encoded(corpus.noise(99, 99), "AVIF")[:900], "is damaged AVIF"),
        (corpus.encoded(corpus.noise(99, 99), "AVIF")[:60], "is damaged AVIF (its header cannot be read)"),
        (corpus.encoded(corpus.noise(8, 8), "TIFF"), "is a TIFF, not"),
        (b"\x00\x00\x00\x20ftypheic" + bytes(64), "is a HEIC, not"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page, not"),
        (bytes(1000), "is nothing but zero bytes, not"),
        (b"hello", "is of an unknown kind, not"),
    ],
)
def test_bad_pictures_are_named_with_a_remedy(decoder: Decoder, saved: Save, content: bytes, reason: str) -> None:
    path = saved(content)
    pid = decoder.child_pid
    with pytest.raises(UnreadablePicture) as raised:
        decoder.probe(path, name="'cats/1.png'")
    assert str(raised.value).startswith(f"Picture 'cats/1.png' {reason}")
    assert any(remedy in str(raised.value) for remedy in ("upload it again", "convert it", "make it smaller", "save"))
    assert isinstance(raised.value, UserError)
    with pytest.raises(UnreadablePicture):
        decoder.pixels(path, (8, 8), (0, 0, 8, 8))
    assert pid in (None, decoder.child_pid), "a bad picture that Pillow itself refuses costs no child"


def test_memory_is_limited(saved: Save) -> None:
    # 64 megapixels, just allowed, are 256 MB when decoded.
    path = saved(corpus.bomb(8000, 8000))
    with Decoder(Limits(memory_mib=200)) as decoder:
        with pytest.raises(UnreadablePicture, match="needs more than 200 MiB of memory"):
            decoder.probe(path)
        assert decoder.probe(saved(corpus.png())).width == 64


def test_a_child_may_write_no_file_and_ignores_signals_to_the_group() -> None:
    with Decoder(Limits(memory_mib=512, cpu_seconds=30)) as decoder:
        with pytest.raises(UnreadablePicture):
            decoder.probe(Path("/dev/null"))
        assert decoder.child_pid is not None
        limits = {
            resource.RLIMIT_AS: 512 * 1024 * 1024,
            resource.RLIMIT_CPU: 30,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 16,
            resource.RLIMIT_CORE: 0,
        }
        for limit, value in limits.items():
            assert resource.prlimit(decoder.child_pid, limit)[0] == value
        pid = decoder.child_pid
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        with pytest.raises(UnreadablePicture):
            decoder.probe(Path("/dev/null"))
        assert decoder.child_pid == pid


def test_credentials_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch, saved: Save) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with Decoder() as decoder:
        decoder.probe(saved(corpus.png()))
        assert b"canary" not in Path(f"/proc/{decoder.child_pid}/environ").read_bytes()


@contextmanager
def trap(path: Path, decoder: Decoder, signals: list[signal.Signals], then: bytes | None = None) -> Iterator[None]:
    """A file at which children hang when they open it, and then get a signal each: death inside a picture.

    `then` is what the file holds for the child after them.
    """

    def kill() -> None:
        for number, last in zip(signals, [False] * (len(signals) - 1) + [True], strict=True):
            with path.open("wb"):  # returns when a child has opened the other end
                pid = decoder.child_pid
                assert pid is not None
                ended = select.poll()
                ended.register(os.pidfd_open(pid), select.POLLIN)
                if last and then is not None:
                    path.unlink()
                    path.write_bytes(then)
                os.kill(pid, number)
                assert ended.poll(10_000)

    os.mkfifo(path)
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        ([signal.SIGSEGV], r"crashed its decoder \(SIGSEGV\); save it anew or remove it"),
        ([signal.SIGXCPU], "takes more than 60 seconds of processor time to decode"),
        ([signal.SIGKILL, signal.SIGKILL], "got its decoder killed, probably for want of memory on this machine"),
    ],
)
def test_a_child_that_dies_names_its_picture_and_is_replaced(
    tmp_path: Path, saved: Save, signals: list[signal.Signals], reason: str
) -> None:
    with Decoder() as decoder:
        decoder.probe(saved(corpus.png()))
        first = decoder.child_pid
        with trap(tmp_path / "trap", decoder, signals), pytest.raises(UnreadablePicture, match=reason):
            decoder.probe(tmp_path / "trap", name="'trap.png'")
        assert decoder.probe(saved(corpus.png(48))).width == 48
        assert decoder.child_pid not in (None, first)


def test_a_picture_is_not_blamed_for_one_kill(tmp_path: Path) -> None:
    path = tmp_path / "trap"
    with Decoder() as decoder, trap(path, decoder, [signal.SIGKILL], then=corpus.png(48)):
        assert decoder.probe(path).width == 48


def test_a_child_killed_between_pictures_is_replaced(saved: Save) -> None:
    path = saved(corpus.png())
    with Decoder() as decoder:
        decoder.probe(path)
        pid = decoder.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert decoder.probe(path).width == 64
        assert decoder.child_pid != pid


def test_a_picture_that_takes_too_long_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")
    with Decoder(Limits(wall_seconds=0.3)) as decoder:
        with pytest.raises(UnreadablePicture, match=r"endless takes longer than 0\.3 seconds to decode"):
            decoder.probe(tmp_path / "endless")
        assert decoder.child_pid is None


def test_a_child_is_replaced_before_its_time_is_up(saved: Save) -> None:
    path = saved(corpus.png())
    with Decoder(Limits(cpu_seconds=1)) as decoder:
        pids = set()
        for _ in range(400):
            decoder.pixels(path, (1024, 1024), (0, 0, 1024, 1024))
            pids.add(decoder.child_pid)
            if len(pids - {None}) > 1:
                break
        assert len(pids - {None}) > 1


def test_a_child_that_does_not_start_is_no_fault_of_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoder() as decoder, pytest.raises(TrainerError, match="decodes pictures does not start") as raised:
        decoder.probe(tmp_path / "1.png")
    assert not isinstance(raised.value, UserError)


def test_no_child_is_left_behind(saved: Save) -> None:
    with Decoder() as decoder:
        decoder.probe(saved(corpus.png()))
        pid = decoder.child_pid
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("sklearn", "datasets/images/china.jpg"),
        ("sklearn", "datasets/images/flower.jpg"),
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/camera.png"),
    ],
)
def test_real_photographs(decoder: Decoder, package: str, file: str) -> None:
    # Found, not imported: importing scikit-learn takes seconds.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / file
    with Image.open(path) as picture:
        found = decoder.probe(path)
        assert (found.width, found.height) == picture.size
        # The same picture, by the mean colours of coarse cells.
        expected = np.asarray(picture.convert("RGB").resize((16, 16), Image.Resampling.BOX)).astype(float)
    pixels = decoder.pixels(path, (256, 256), (0, 0, 256, 256)).astype(float)
    np.testing.assert_allclose(pixels.reshape(16, 16, 16, 16, 3).mean(axis=(1, 3)), expected, atol=4)
