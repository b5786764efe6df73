"""UCF101, UPMC Food-101, MVSA-Single, IEMOCAP and NVGesture in the layouts of their publishers, tiny."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import av
import numpy as np
from PIL import Image

from clips import write_jpg

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
ACTIONS = ("ApplyEyeMakeup", "Archery", "BabyCrawling")


def ucf101(folder: Path, frames: int = 6, nested: bool = False) -> Path:
    """Three actions by six groups of two videos: groups 1 and 2 test; frame n is brighter, flow is the action's."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{1 + n} {name}\n" for n, name in enumerate(ACTIONS)))
    lines: dict[str, list[str]] = {"train": [], "test": []}
    rgb, flow = ("jpegs_256", "tvl1_flow/") if nested else ("rgb", "")
    for number, action in enumerate(ACTIONS):
        for group in range(1, 7):
            for clip in (1, 2):
                video = f"v_{action}_g{group:02}_c{clip:02}"
                test = group <= 2
                lines["test" if test else "train"].append(f"{action}/{video}.avi" + ("" if test else f" {1 + number}"))
                for frame in range(frames):
                    name = f"{video}/frame{frame + 1:06}.jpg"
                    red, green, blue = COLOURS[number]
                    write_jpg(folder / rgb / name, (red + 5 * frame, green + 5 * frame, blue + 5 * frame))
                    _grey(folder / f"{flow}u" / name, 60 + 60 * number)
                    _grey(folder / f"{flow}v" / name, 128)
    for part, listed in lines.items():
        (lists / f"{part}list01.txt").write_text("\r\n".join(listed) + "\r\n")
    return folder


def _grey(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 24), value).save(path, quality=95)


DISHES = ("apple_pie", "baby_back_ribs", "sushi")


def food101(folder: Path, header: bool = False) -> Path:
    """Ten training and three test pages of each dish; titles have commas and links."""
    for part, count in (("train", 10), ("test", 3)):
        rows = []
        for number, dish in enumerate(DISHES):
            for page in range(count):
                name = f"{dish}_{page}.jpg"
                write_jpg(folder / "images" / part / dish / name, COLOURS[number])
                rows.append([name, f"Grandma's {dish}, number {page} http://a.b/c?d", dish])
        (folder / "texts").mkdir(exist_ok=True)
        with (folder / "texts" / f"{part}_titles.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            if header:
                writer.writerow(["", "Image_path", "text", "label"])
                rows = [[str(place), *row] for place, row in enumerate(rows)]
            writer.writerows(rows)
    return folder


PAIRS = [("positive", "positive"), ("positive", "neutral"), ("neutral", "negative"), ("neutral", "neutral")]


def mvsa(folder: Path, count: int = 40) -> Path:
    """Tweets whose text and picture are of four pairs of sentiments, and three that contradict; one is in Latin-1."""
    lines = ["ID\ttext,image"]
    (folder / "data").mkdir(parents=True)
    for number in range(1, count + 1):
        text, picture = PAIRS[number % 4] if number > 3 else ("positive", "negative")
        lines.append(f"{number}\t{text},{picture}")
        write_jpg(folder / "data" / f"{number}.jpg", COLOURS[number % 3])
        words = f"RT @a: a {text} café #day"
        (folder / "data" / f"{number}.txt").write_bytes(words.encode("latin-1" if number == 5 else "utf-8"))
    (folder / "labelResultAll.txt").write_text("\r\n".join(lines) + "\r\n")
    return folder


def iemocap(folder: Path) -> Path:
    """Two dialogues of each session with 3 to 5 utterances; features tell the emotion; lists of dialogues are sets."""
    draw = np.random.default_rng(0)
    names = [f"Ses0{session}{sex}_impro01" for session in range(1, 6) for sex in "FM"]
    labels = {name: [(place + row) % 6 for row in range(3 + place % 3)] for place, name in enumerate(names)}
    widths = {"text": 5, "audio": 4, "video": 6}
    features = {
        key: {name: [draw.standard_normal(width).astype("f4") + label for label in labels[name]] for name in names}
        for key, width in widths.items()
    }
    ids = {name: [f"{name}_{row}" for row in range(len(labels[name]))] for name in names}
    speakers = {name: ["M", "F"] * len(labels[name]) for name in names}
    train, test = {name for name in names if "Ses05" not in name}, {name for name in names if "Ses05" in name}
    content = (ids, speakers, labels, *features.values(), ids, train, test)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "IEMOCAP_features.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return folder


def nvgesture(folder: Path, *, shared: bool = False) -> Path:
    """Six people with three gestures each, the last of whom tests; the gesture is seen in pictures 3 to 9 alone."""
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for person in range(1, 7):
        for gesture in range(3):
            path = f"Video_data/class_{gesture + 1:02}/subject{person}_r0"
            colour = COLOURS[gesture]
            _video(folder / path / "sk_color.avi", [(9, 9, 9)] * 3 + [colour] * 6 + [(9, 9, 9)] * 3)
            _video(folder / path / "sk_depth.avi", [(9, 9, 9)] * 4 + [(60 + 60 * gesture,) * 3] * 6 + [(9, 9, 9)] * 2)
            part = "test" if person == 6 or (shared and person == 5 and gesture == 2) else "train"
            lines[part].append(
                f"path:./{path} depth:sk_depth:4:10 color:sk_color:3:9 duo_left:duo_left:1:9 label:{gesture + 1}"
            )
    for part, listed in lines.items():
        (folder / f"nvgesture_{part}_correct_cvpr2016_v2.lst").write_text("\n".join(listed) + "\n")
    return folder


def _video(path: Path, colours: list[tuple[int, ...]]) -> None:
    """A picture of each colour, each decodable alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for colour in colours:
            pixels = np.full((32, 48, 3), colour, "u1")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
