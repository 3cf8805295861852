"""What the plugin adds to training: lines in the log."""

from __future__ import annotations

import pytest
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.tasks import DetectionModel
from yolo_attn.patches import host, trainer


@pytest.mark.parametrize("freeze, ours, listed, same", [
    (None, {10: "SE"}, "", ""), (0, {10: "SE"}, "", ""), (10, {10: "SE"}, "", ""), ([0, 1], {5: "SE"}, "", ""),
    (3, {1: "SE"}, "1 (SE)", "[0,2,3]"), (3, {1: "SE", 4: "GCT"}, "1 (SE)", "[0,2,3]"),
    ([0, 2], {1: "SE"}, "1 (SE)", "[0,3]"), (30, {1: "SE"}, "1 (SE)", "[0,2,3,4,5]"),
])  # fmt: skip
def test_freeze(freeze, ours: dict, listed: str, same: str) -> None:
    """freeze=10 would quietly leave the tenth stock layer free."""
    line = f"freeze={freeze} counts rows, inserted ones too: {listed}. The stock layers alone are freeze={same}."
    assert trainer._frozen(freeze, ours, 6) == (line if listed else "")


@pytest.mark.parametrize("freeze, stand_ins, same", [(4, {1}, "[0,2,4]"), ([1], {1}, "[]"), (2, {1, 3}, "[0]")])
def test_freeze_with_stand_ins(freeze, stand_ins: set, same: str) -> None:
    """freeze=10 on a model whose C2f were replaced would be told to freeze layers of the neck."""
    line = trainer._frozen(freeze, {1: "DePatch", 3: "SE"}, 6, stand_ins)
    assert line.endswith(f"The stock layers alone are freeze={same}.")


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_start_from_nothing_is_told(pretrained: bool, tmp_path, monkeypatch) -> None:
    """A comparison of a fine-tuned model with one from random weights would go unnoticed."""

    class Told(Exception):
        pass

    def stop(self) -> None:
        raise Told

    model = YOLO("yolov8n-se.yaml")
    if pretrained:
        source = YOLO("yolov8n.yaml")
        source.ckpt = source.ckpt or {}
        source.save(str(tmp_path / "source.pt"))
        model.load(str(tmp_path / "source.pt"))
    monkeypatch.setattr(BaseTrainer, "_setup_train", lambda self, *args: (self.setup_model(), stop(self)))
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {tmp_path}\ntrain: .\nval: .\nnames: [a, b]\n")
    (tmp_path / "labels").mkdir()
    lines: list[str] = []
    monkeypatch.setattr(trainer.LOGGER, "info", lambda text, *args: lines.append(str(text)))
    with pytest.raises(Told):
        model.train(data=str(data), epochs=1, project=str(tmp_path), plots=False)
    told = [x for x in lines if "yolov8n-se.yaml starts from random weights; pretrained=yolov8n.pt" in x]
    assert len(told) == (not pretrained)


def test_inserted_layers_by_name() -> None:
    """The log would name the wrapper in the place of the module."""
    assert host.inserted(DetectionModel("yolov8n-dattn.yaml", verbose=False)) == {10: "DAttention"}
    assert host.inserted(DetectionModel("yolov8n-gct.yaml", verbose=False)) == {10: "GCT"}
    assert host.inserted(DetectionModel("yolov8n.yaml", verbose=False)) == {}


def test_names_follow() -> None:
    """predict would print 0 in the place of person."""
    source = YOLO("yolov8n.yaml").model
    source.names = {i: f"class {i}" for i in range(80)}
    model = YOLO("yolov8n-se.yaml")
    model.model.load(source)
    assert model.names[3] == "class 3"
    other = DetectionModel("yolov8n-se.yaml", nc=3, verbose=False)
    other.load(source)
    assert other.names == {0: "0", 1: "1", 2: "2"}
    wider = DetectionModel("yolov8s-se.yaml", verbose=False)  # takes few of the weights
    wider.load(source)
    assert wider.names[3] == "3"
