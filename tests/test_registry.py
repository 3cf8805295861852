"""@register, names() and get()."""

from __future__ import annotations

import pytest
from torch import nn

import yolo_attn
from yolo_attn import registry


class Plain(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()


def cls(**members) -> type:
    return type("Plain", (Plain,), {"__module__": __name__, **members})


@pytest.fixture(autouse=True)
def unknown_to_ultralytics(monkeypatch):
    monkeypatch.setattr(registry, "_listeners", [])


def test_with_and_without_arguments() -> None:
    """One of the two forms of the decorator would not return the class."""
    assert yolo_attn.register(Plain) is Plain
    other = cls()
    assert yolo_attn.register(name="Other", paper="arXiv:1")(other) is other
    assert yolo_attn.get("Other").paper == "arXiv:1" and yolo_attn.get("Plain").channels == "same"
    assert {"Other", "Plain"} <= set(yolo_attn.names())


def test_full_names() -> None:
    """A class whose short name is taken would not be reachable."""
    yolo_attn.register(name="Short")(Plain)
    assert yolo_attn.get("yolo_attn.Short") is yolo_attn.get("Short") is yolo_attn.get(f"{__name__}.Plain")


def test_other_names() -> None:
    """Who writes a module's name as a paper or a collection does would be told of a wrong module, or of none."""
    yolo_attn.register(known_as=("GateOfMine", "GM"))(cls())
    yolo_attn.register(name="Second", known_as=("gm",))(cls())
    told_of = {
        "gateofmine": "Write Plain.",
        "yolo_attn.GM": "Write Plain or Second.",
        "Plain_Block": "Write Plain.",
        "GateOfMineAttention": "Write Plain.",
        "C2f_Plain": "Write Plain as a row of its own behind the other layer.",
        "C3PlainBlock": "Write Plain as a row of its own behind the other layer.",
        "C2f_GateOfMineAttention": "Write Plain as a row of its own behind the other layer.",
        "plain_Neck": "Write Plain as a row of its own behind the other layer.",
    }
    for name, told in told_of.items():
        with pytest.raises(ValueError, match=f"no module named '{name}'. {told}"):
            yolo_attn.get(name)


@pytest.mark.parametrize("name, told", [
    ("PSA", "Write PolarizedParallel or PolarizedSequential."), ("LSKNet", "Write LSK."), ("LSKAttn", "Write LSKA."),
    ("C2f_CA", "Write CoordAtt as a row"), ("C2fSE", "Write SE as a row"),
    ("ChannelAttentionModule", "Write CBAM or ChannelSelfAttention."), ("SqueezeExcitation", "Write SE."),
])  # fmt: skip
def test_usual_names(name: str, told: str) -> None:
    """Who writes what the papers and collections do would be sent to another module."""
    registry._specs.pop("PSA", None)  # of other tests
    assert told in registry.unknown(name)


def test_small_letters() -> None:
    """Who writes a name in small letters would be told another row, or none."""
    assert registry.unknown("Dattention").endswith("Write DAttention.")
    assert registry.unknown("eca").endswith("Write ECA.")


def test_other_names_are_not_taken() -> None:
    """The row of another module, or of one of Ultralytics' own, would be announced as this one's."""
    from ultralytics.nn import tasks

    others = [word for spec in registry.specs() for word in spec.known_as if word != "PSA"]  # docs/choosing.md has it
    assert others and [word for word in others if word in vars(tasks) or yolo_attn.registry.find(word)] == []


def test_a_file_that_is_run_again_replaces_its_class() -> None:
    """A notebook cell that runs twice, or a reload, would be refused."""
    first, second = cls(), cls()
    yolo_attn.register(first)
    yolo_attn.register(second)
    assert yolo_attn.get("Plain").cls is second


def test_told_of_past_and_future() -> None:
    """A class that is registered after the patches were applied would stay unknown to Ultralytics."""
    heard: list[str] = []
    registry.subscribe(lambda spec: heard.append(spec.name))
    assert heard == yolo_attn.names()
    yolo_attn.register(Plain)
    assert heard[-1] == "Plain"


def test_main_is_warned_about() -> None:
    """A checkpoint would not load anywhere else, and nobody would have said so."""
    with pytest.warns(UserWarning, match="Plain is defined in __main__: checkpoints .* load in this program only"):
        yolo_attn.register(cls(__module__="__main__"))


def keywords_only(self, dim, *, gain):
    pass


def swallows_typos(self, dim, **rest):
    pass


@pytest.mark.parametrize("make, error, message", [
    (lambda: yolo_attn.register(3), TypeError, "a class is needed, got 3"),
    (lambda: yolo_attn.register(name="SE")(Plain), ValueError, "SE is already registered by yolo_attn.modules.se.SE"),
    (lambda: yolo_attn.register(name="a.b")(Plain), ValueError, "name must be a plain name without dots, got 'a.b'"),
    (lambda: yolo_attn.register(name=3)(Plain), ValueError, "name must be a plain name without dots, got 3"),
    (lambda: yolo_attn.register(name="Twice")(yolo_attn.get("SE").cls), ValueError, "is already registered as SE"),
    (lambda: yolo_attn.register(type("Gate", (), {})), TypeError, "Gate must be a torch.nn.Module"),
    (lambda: yolo_attn.register(channels="out")(Plain), TypeError, "Plain must take 2 .*, those of its output"),
    (lambda: yolo_attn.register(repeats=True)(Plain), TypeError, "Plain must take 2 arguments: .*, the repeats"),
    (lambda: yolo_attn.register(stride="step")(Plain), TypeError, "Plain must take step, which is to be its stride"),
    (lambda: yolo_attn.register(channels="some")(Plain), ValueError, "one of same, out, fuse, wrap or a function"),
    (lambda: yolo_attn.register(channels="fuse")(Plain), TypeError, "Plain must take in_channels"),
    (lambda: yolo_attn.register(cls(f=None)), ValueError, "Plain must not define f, which Ultralytics overwrites"),
    (lambda: yolo_attn.register(cls(no_weight_decay="gamma")), TypeError, "Plain: no_weight_decay must be a tuple or"),
    (lambda: yolo_attn.register(cls(no_weight_decay=["gamma"])), TypeError, r"own parameters, got \['gamma'\]"),
    (lambda: yolo_attn.register(cls(no_weight_decay=(3,))), TypeError, r"no_weight_decay .*, got \(3,\). Write"),
    (lambda: yolo_attn.register(cls(__init__=keywords_only)), TypeError, r"Plain\(gain\) must be a plain parameter"),
    (lambda: yolo_attn.register(cls(__init__=swallows_typos)), TypeError, r"Plain\(\*\*rest\) must be a plain"),
    (lambda: yolo_attn.register(kind="gate")(cls()), ValueError, "kind of Plain must be one of channel gate, spatial"),
    (lambda: yolo_attn.get("Daattention"), ValueError, "no module named 'Daattention'. Did you mean DAttention"),
    (lambda: yolo_attn.get("no_such_package.Gate"), ValueError, "Python finds no 'no_such_package' to import"),
    (lambda: yolo_attn.get(f"{__name__}.Plian"), ValueError, "has no 'Plian'. Did you mean Plain"),
    (lambda: yolo_attn.get(f"{__name__}.Plain"), ValueError, "is not registered. Put @yolo_attn.register above"),
])  # fmt: skip
def test_bad_input(make, error: type, message: str) -> None:
    """A mistake would be found later, inside Ultralytics, with a worse message."""
    before = dict(registry._specs)
    with pytest.raises(error, match=message):
        make()
    assert registry._specs == before
