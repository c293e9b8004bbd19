"""How well the data report finds what it looks for: `python -m bench.data_report pictures|captions`, one table each.

`pictures` spoils real photographs (those that scikit-image and scikit-learn ship) and drawings of `builtin://shapes`, and counts
what is found and what is found in vain. `captions` gives pictures of the built-in base wrong captions and counts the same.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from trainer.builtin.shapes import draw
from trainer.data_report.frames import bars
from trainer.data_report.lightness import contrast
from trainer.data_report.likeness import Sketch, difference_hash, near_duplicates, small_colours
from trainer.data_report.limits import LIMITS
from trainer.data_report.marks import carriers, edges_near_border
from trainer.data_report.sharpness import blur, laplacian_variance, light_of

SIDE = 512
SKIMAGE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "retina.jpg",
    "ihc.png",
    "hubble_deep_field.jpg",
    "camera.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "cell.png",
    "moon.png",
)
SKLEARN = ("china.jpg", "flower.jpg")

Spoil = Callable[[Image.Image], Image.Image]


def photographs() -> dict[str, Image.Image]:
    """Squares of SIDE pixels, by name."""
    import skimage
    import sklearn.datasets

    folders = [
        (Path(skimage.__file__).parent / "data", SKIMAGE),
        (Path(sklearn.datasets.__file__).parent / "images", SKLEARN),
    ]
    files = [folder / name for folder, names in folders for name in names]
    return {
        file.name: ImageOps.fit(Image.open(file).convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
        for file in files
    }


def drawings(count: int, seed: int = 0, side: int = draw.SIZE) -> dict[str, Image.Image]:
    """Pictures of the built-in base's world."""
    rng = np.random.default_rng(seed)
    return {f"{number}.png": draw.draw(draw.random_scene(rng), side) for number in range(count)}


def recompressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def slightly_cropped(picture: Image.Image) -> Image.Image:
    margin = picture.width // 40
    return picture.crop((margin, margin, picture.width - margin // 2, picture.height - margin)).resize(picture.size)


SAME: dict[str, Spoil] = {
    "JPEG of quality 40": recompressed,
    "half the size": lambda one: one.resize((one.width // 2, one.height // 2)),
    "cropped by 2 %": slightly_cropped,
    "10 % brighter": lambda one: ImageEnhance.Brightness(one).enhance(1.1),
    "mirrored": ImageOps.mirror,
}


def sketch(picture: Image.Image) -> Sketch:
    pixels = np.asarray(picture.resize((min(192, picture.width), min(192, picture.height)), Image.Resampling.BOX))
    light = light_of(pixels)
    return Sketch(difference_hash(light), difference_hash(light[:, ::-1]), small_colours(pixels))


def watermarked(picture: Image.Image) -> Image.Image:
    out = picture.copy()
    pen = ImageDraw.Draw(out)
    pen.text((out.width * 0.7, out.height * 0.9), "© loramill", fill="white", font_size=out.width // 22)
    return out


def letterboxed(picture: Image.Image) -> Image.Image:
    out = Image.new("RGB", picture.size, "black")
    out.paste(picture.resize((picture.width, picture.height * 3 // 4)), (0, picture.height // 8))
    return out


def about_pictures() -> Iterator[tuple[str, ...]]:
    """(what, found of the spoilt, found in vain of the others)."""
    photos, drawn = photographs(), drawings(60)
    for name, pictures in (("photographs", photos), ("drawings", drawn)):
        plain = [light_of(np.asarray(one)) for one in pictures.values()]
        for share in (0.004, 0.008, 0.016):
            radius = share * plain[0].shape[1]
            soft = [light_of(np.asarray(one.filter(ImageFilter.GaussianBlur(radius)))) for one in pictures.values()]
            yield (
                f"blurred {name} (Gaussian of {share:.1%} of the side)",
                rate([blur(one) > LIMITS.blur for one in soft]),
                rate([blur(one) > LIMITS.blur for one in plain]),
                f"{np.median([blur(one) for one in plain]):.2f} → {np.median([blur(one) for one in soft]):.2f}",
                f"{separated([blur(one) for one in plain], [blur(one) for one in soft]):.2f}",
                f"{separated([-laplacian_variance(one) for one in plain], [-laplacian_variance(one) for one in soft]):.2f}",
            )
        grey = [np.asarray(ImageEnhance.Contrast(one).enhance(0.125)) for one in pictures.values()]
        yield (
            f"{name} at an eighth of their contrast",
            rate([contrast(one) < LIMITS.low_contrast for one in grey]),
            rate([contrast(np.asarray(one)) < LIMITS.low_contrast for one in pictures.values()]),
            "",
            "",
            "",
        )
        boxed = [max(bars(light_of(np.asarray(letterboxed(one))))) > LIMITS.bar for one in pictures.values()]
        yield f"{name} with bars", rate(boxed), rate([max(bars(one)) > LIMITS.bar for one in plain]), "", "", ""
        originals = [sketch(one) for one in pictures.values()]
        in_vain = sum(len(group) for group in near_duplicates(originals))
        for what, spoil in SAME.items():
            pairs = [
                near_duplicates([one, sketch(spoil(picture))])
                for one, picture in zip(originals, pictures.values(), strict=True)
            ]
            yield (
                f"{name} beside themselves, {what}",
                rate([bool(pair) for pair in pairs]),
                f"{in_vain}/{len(originals)}",
                "",
                "",
                "",
            )
        marked = [edges_near_border(np.asarray(watermarked(one))) for one in pictures.values()]
        clean = [edges_near_border(np.asarray(one)) for one in pictures.values()]
        half = [*marked[: len(marked) * 3 // 4], *clean[len(marked) * 3 // 4 :]]
        for what, edges, count in (("all", marked, len(marked)), ("three quarters", half, len(marked) * 3 // 4)):
            found = carriers(edges)
            yield (
                f"{name}, {what} with a watermark",
                f"{sum(place < count for place in found)}/{count}",
                f"{sum(place >= count for place in found) + len(carriers(clean))}/{2 * len(clean) - count}",
                "",
                "",
                "",
            )


def rate(found: Sequence[bool]) -> str:
    return f"{sum(found)}/{len(found)}"


def separated(lower: Sequence[float], higher: Sequence[float]) -> float:
    """The chance that one of `higher` lies above one of `lower` (area under the ROC curve)."""
    return float((np.asarray(higher)[:, None] > np.asarray(lower)[None]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.data_report", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["pictures", "captions"])
    parser.add_argument("--pictures", type=int, default=24, help="of each row of `captions`")
    options = parser.parse_args()
    if options.what == "pictures":
        print(
            "| what | found | in vain | median blur | chance by blur | chance by Laplacian |\n|---|---|---|---|---|---|"
        )
        for row in about_pictures():
            print("| " + " | ".join(row) + " |", flush=True)
        return
    from bench.data_report_captions import rows

    for row in rows(options.pictures):
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
