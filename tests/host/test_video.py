"""predict and track on videos: which frames of a batch see one another."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.engine.predictor import BasePredictor
from yolo_attn.patches import video

from yolo_attn import clips
from yolo_attn.modules import SIFA


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def film(path: Path, frames: int | list[np.ndarray]) -> Path:
    """A video of these frames, or of so many with a square in motion."""
    if isinstance(frames, int):
        frames = [np.full((64, 64, 3), 60, np.uint8) for _ in range(frames)]
        for i, frame in enumerate(frames):
            frame[10:30, 4 * i : 4 * i + 20] = (200, 120, 20 * i)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)


class Watched:
    """A model whose predictor's batches, and what SIFA makes of them, are kept."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.yolo = YOLO("yolov8n-sifa.yaml")
        self.batches: list[tuple[list[str], list[str], list[bool]]] = []
        self.last: list[bool] = []
        sifa = next(m for m in self.yolo.model.modules() if isinstance(m, SIFA))
        with torch.no_grad():
            sifa.conv_offset.weight.normal_(std=0.01)
            for branch in self.yolo.model.model[-1].cv3:
                branch[-1].bias.zero_()  # scores that differ visibly
        self._calibrate()
        sifa.register_forward_hook(self._compare)
        self.yolo.add_callback("on_predict_postprocess_end", self._keep)

    def _calibrate(self) -> None:
        """Running statistics of real activations: without training they would fade from layer to layer."""
        for norm in (m for m in self.yolo.model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.reset_running_stats()
            norm.momentum = None
        with torch.no_grad():
            self.yolo.model.train()(torch.rand(8, 3, 64, 64))
        self.yolo.model.eval()

    def _compare(self, _module, inputs, output) -> None:
        self.last[:] = [not torch.equal(a, b) for a, b in zip(inputs[0], output, strict=True)]

    def _keep(self, predictor) -> None:
        paths, _, infos = predictor.batch
        self.batches.append(([Path(p).name for p in paths], list(infos), list(self.last)))

    def __deepcopy__(self, memo) -> Watched:
        return self  # the predictor's copy of the model reports here too

    def predict(self, source, mode: str = "predict", **options) -> list:
        self.batches.clear()
        call = getattr(self.yolo, mode)
        options = {"imgsz": 64, "conf": 1e-3, "max_det": 10, "verbose": False, **options}
        return [r.boxes.data.clone() for r in call(source, stream=True, **options)]

    @property
    def changed(self) -> list[list[bool]]:
        """By batch and frame: whether SIFA added anything to it."""
        return [changed for _, _, changed in self.batches]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_video_is_cut_into_clips_of_its_batches(watched: Watched, tmp_path: Path) -> None:
    """predict on a video would not use neighbouring frames, or give the last frame of a clip another's content."""
    source = str(film(tmp_path / "a.avi", 10))
    alone = watched.predict(source, batch=1)
    assert watched.changed == [[False]] * 10
    together = watched.predict(source, batch=4)
    assert watched.changed == [[True, True, True, False]] * 2 + [[True, False]]
    assert [same(a, b) for a, b in zip(alone, together, strict=True)] == [False, False, False, True] * 2 + [False, True]


def test_what_is_seen_depends_on_the_next_frame(watched: Watched, tmp_path: Path) -> None:
    """A frame would see itself only."""
    films = [film(tmp_path / f"{seed}.avi", [noise(0), noise(seed)]) for seed in (1, 2)]
    results = [watched.predict(str(path), batch=2)[0] for path in films]
    assert not same(*results)


@pytest.mark.parametrize("batch", [3, 4, 16])
def test_nothing_mixes_across_sources(watched: Watched, batch: int, tmp_path: Path) -> None:
    """A batch of images, or of the ends of two videos, would mix what does not belong together."""
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), noise(0))
    film(tmp_path / "c.avi", 5)
    film(tmp_path / "d.avi", 6)
    watched.predict(str(tmp_path), batch=batch)
    assert sum(len(paths) for paths, _, _ in watched.batches) == 13
    for paths, _, changed in watched.batches:
        followed = [a == b and a.endswith(".avi") for a, b in zip(paths, [*paths[1:], ""], strict=True)]
        assert changed == followed, paths
    assert any(map(any, watched.changed))
    watched.predict([np.zeros((64, 64, 3), np.uint8)] * 4, batch=4)
    assert not any(map(any, watched.changed))


def test_tracking(watched: Watched, tmp_path: Path) -> None:
    """A tracker would miss frames, get them out of order, or see frames that don't know their neighbours."""
    source = str(film(tmp_path / "a.avi", 7))
    assert len(watched.predict(source, "track", batch=4)) == 7
    assert watched.changed == [[True, True, True, False], [True, True, False]]
    infos = [info for _, batch, _ in watched.batches for info in batch]
    assert [f"frame {i}/" in info for i, info in enumerate(infos, 1)] == [True] * 7


def test_a_block_of_the_users_own_counts(watched: Watched, tmp_path: Path) -> None:
    """A user who wants other clips than batches, or to mix frames that he reads himself, could not."""
    source = str(film(tmp_path / "a.avi", 8))
    frames = [noise(i) for i in range(4)]
    for first in (True, False):  # before the predictor is there, and when it is
        with clips(watched.yolo, 4):
            watched.predict(frames, batch=4)
        assert watched.changed == [[True, True, True, False]]
        watched.predict(frames, batch=4)
        assert watched.changed == [[False] * 4]
        if first:
            watched.yolo.predictor = None
    with clips(watched.yolo, 2):
        watched.predict(source, batch=4)
    assert watched.changed == [[True, False, True, False]] * 2


def test_a_batch_of_one_is_told(watched: Watched, tmp_path: Path, monkeypatch) -> None:
    """A user would wonder why SIFA changes nothing on a video."""
    lines: list[str] = []
    monkeypatch.setattr(video.LOGGER, "info", lambda text, *args: lines.append(str(text)))
    source = str(film(tmp_path / "a.avi", 3))
    told = "SIFA looks at neighbouring frames, and batch=1 holds none; try batch=8."
    watched.predict(source, batch=1)
    assert lines.count(told) == 1
    watched.predict(source, batch=2)
    watched.predict(np.zeros((64, 64, 3), np.uint8))
    YOLO("yolov8n.yaml").predict(source, imgsz=64, verbose=False)
    assert lines.count(told) == 1


def test_a_stock_model_on_a_video(tmp_path: Path, monkeypatch) -> None:
    """A vanilla prediction would be another one with the plugin installed."""
    source, yolo = str(film(tmp_path / "a.avi", 4)), YOLO("yolov8n.yaml")
    options = {"imgsz": 64, "conf": 1e-3, "max_det": 10, "verbose": False, "batch": 4}
    ours = [r.boxes.data.clone() for r in yolo.predict(source, **options)]
    monkeypatch.setattr(BasePredictor, "inference", BasePredictor.inference.__wrapped__)
    stock = [r.boxes.data.clone() for r in yolo.predict(source, **options)]
    assert all(torch.equal(a, b) for a, b in zip(ours, stock, strict=True))


A, B = "video 1/2 (frame {}/9) a.mp4: ", "video 2/2 (frame {}/9) b.mp4: "


@pytest.mark.parametrize("frames, lengths", [
    ([], []),
    ([("a.mp4", A, 1), ("a.mp4", A, 2), ("a.mp4", A, 3)], [3]),
    ([("a.mp4", A, 8), ("a.mp4", A, 9), ("b.mp4", B, 1), ("b.mp4", B, 2)], [2, 2]),
    ([("a.mp4", A, 9), ("b.mp4", B, 10)], [1, 1]),
    ([("a.mp4", A, 9), ("a.mp4", A, 1)], [1, 1]),  # the same file again
    ([("x.jpg", "image 1/2 x.jpg: ", 0), ("a.mp4", A, 1), ("a.mp4", A, 2)], [1, 2]),
    ([("0", "", 0), ("0", "", 0)], [1, 1]),  # two cameras, or arrays
    ([("(frame 1/x", "image 1/2 (frame 1/x: ", 0), ("(frame 1/x", "image 2/2 (frame 2/x: ", 0)], [1, 1]),
])  # fmt: skip
def test_runs(frames: list, lengths: list[int]) -> None:
    """Frames of different videos, or images, would be taken for neighbours."""
    assert video.runs([path for path, _, _ in frames], [info.format(n) for _, info, n in frames]) == lengths
