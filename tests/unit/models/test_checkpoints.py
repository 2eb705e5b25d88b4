import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atlasbench.core.errors import CheckpointError
from atlasbench.core.resolution import Resolution
from atlasbench.models.atlas import Atlas, build_atlas
from atlasbench.models.checkpoints import load_checkpoint

ATLAS = Path(__file__).parents[2] / "fixtures" / "atlas_2scale_s2.safetensors"


def tiny_atlas(seed: int = 0, **options: Any) -> Atlas:
    torch.manual_seed(seed)
    arguments = {"embed_dim": 8, "num_heads": 2, "num_classes": 5, "window_size": 4, "downsample_stride": 2}
    model = build_atlas(resolution=Resolution(128, 128), depths=(1, 1), **{**arguments, **options}).model
    assert isinstance(model, Atlas)
    return model


class Plain(nn.Module):
    """A model with a counter, a recomputed buffer and no official names."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("mask", torch.ones(4), persistent=False)


def assert_same_weights(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "pth"])
def test_a_saved_state_dict_of_ours_loads(suffix: str, tmp_path: Path) -> None:
    source, target = tiny_atlas(1), tiny_atlas(2)
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(source.state_dict(), path)
    assert load_checkpoint(target, path) == []
    assert_same_weights(target, source.state_dict())
    assert load_checkpoint(tiny_atlas(3), str(path)) == []


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema", "module"])
@pytest.mark.parametrize("prefix", ["", "model.", "module.", "_orig_mod.", "module._orig_mod.model."])
def test_wrappers_and_prefixes_of_training_runs_are_taken_off(wrapper: str, prefix: str) -> None:
    source, target = tiny_atlas(1), tiny_atlas(2)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    assert load_checkpoint(target, {"epoch": 3, "arch": "atlas_s", wrapper: OrderedDict(state)}) == []
    assert_same_weights(target, source.state_dict())


def test_averaged_weights_are_preferred() -> None:
    plain, averaged, target = tiny_atlas(1), tiny_atlas(2), tiny_atlas(3)
    load_checkpoint(target, {"state_dict": plain.state_dict(), "state_dict_ema": averaged.state_dict()})
    assert_same_weights(target, averaged.state_dict())


def test_a_training_run_of_timm_loads_from_its_file(tmp_path: Path) -> None:
    source, target = tiny_atlas(1), tiny_atlas(2)
    optimizer = torch.optim.AdamW(source.parameters())
    torch.save(
        {
            "epoch": 1,
            "state_dict": source.state_dict(),
            "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=0.1),
        },
        tmp_path / "last.pth.tar",
    )
    assert load_checkpoint(target, tmp_path / "last.pth.tar") == []
    assert_same_weights(target, source.state_dict())


def test_official_names_load_from_a_wrapped_file(tmp_path: Path) -> None:
    official = {f"model.{k[6:]}": v for k, v in load_file(ATLAS).items() if k.startswith("state.")}
    official["model.atlas_models.0.patch_embed.conv0.1.num_batches_tracked"] = torch.tensor(7)
    official["model.atlas_models.0.norm.num_batches_tracked"] = torch.tensor(7)
    torch.save({"state_dict": official}, tmp_path / "atlas.pth")
    model = build_atlas(
        resolution=Resolution(128, 128),
        embed_dim=32,
        num_heads=2,
        num_classes=10,
        depths=(1, 2),
        window_size=4,
        downsample_stride=2,
    ).model
    ignored = load_checkpoint(model, tmp_path / "atlas.pth")
    assert len(ignored) == 13
    assert "atlas_models.0.norm.num_batches_tracked" in ignored
    assert int(model.state_dict()["stem.norm1.num_batches_tracked"]) == 7
    assert torch.equal(model.state_dict()["head.weight"], official["model.fc.weight"])


def test_models_without_official_names_load_strictly() -> None:
    source, target = Plain(), Plain()
    assert load_checkpoint(target, source.state_dict()) == []
    assert_same_weights(target, source.state_dict())


def test_recomputed_buffers_and_foreign_counters_are_ignored_and_named() -> None:
    source = Plain()
    state = {**source.state_dict(), "mask": torch.zeros(9), "old.num_batches_tracked": torch.tensor(1)}
    del state["norm.num_batches_tracked"]
    target = Plain()
    assert load_checkpoint(target, state) == ["mask", "old.num_batches_tracked"]
    assert torch.equal(target.get_buffer("mask"), torch.ones(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.weight": None}, "The checkpoint does not fit this Plain: 1 missing (fc.weight)."),
        ({"extra": torch.ones(1)}, "The checkpoint does not fit this Plain: 1 unexpected (extra)."),
        (
            {"fc.weight": torch.ones(4, 2)},
            "The checkpoint does not fit this Plain: 1 of another shape (fc.weight 4x2 for 3x2).",
        ),
        (
            {"fc.bias": torch.ones(3, dtype=torch.int8)},
            "The checkpoint does not fit this Plain: 1 of another shape (fc.bias 3 int8 for 3).",
        ),
        (
            {f"extra.{i}": torch.ones(1) for i in range(5)},
            "The checkpoint does not fit this Plain: 5 unexpected (extra.0, extra.1, extra.2, ...).",
        ),
        (
            {"fc.bias": None, "norm.weight": torch.ones(2), "x": torch.ones(1)},
            "The checkpoint does not fit this Plain: 1 missing (fc.bias); 1 unexpected (x); "
            "1 of another shape (norm.weight 2 for 3).",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change: dict[str, Tensor | None], message: str) -> None:
    state: dict[str, Any] = {**{name: torch.full_like(t, 9) for name, t in Plain().state_dict().items()}, **change}
    target = Plain()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(target, {name: tensor for name, tensor in state.items() if tensor is not None})
    assert str(refusal.value) == message
    assert_same_weights(target, before)


def test_another_atlas_does_not_fit() -> None:
    with pytest.raises(CheckpointError, match=r"does not fit this Atlas: \d+ of another shape \(stem"):
        load_checkpoint(tiny_atlas(), tiny_atlas(embed_dim=16).state_dict())
    with pytest.raises(CheckpointError, match=r"2 of another shape \(head.weight 7x8 for 5x8, head.bias 7 for 5\)"):
        load_checkpoint(tiny_atlas(), tiny_atlas(num_classes=7).state_dict())


def test_official_names_of_another_depth_do_not_fit() -> None:
    official = {k[6:]: v for k, v in load_file(ATLAS).items() if k.startswith("state.")}
    with pytest.raises(CheckpointError, match=r"19 unexpected \(stages.1.blocks.1.scales.0"):
        load_checkpoint(tiny_atlas(embed_dim=32, num_classes=10), official)


def test_a_parameter_under_both_names_is_refused() -> None:
    official = {k[6:]: v for k, v in load_file(ATLAS).items() if k.startswith("state.")}
    with pytest.raises(CheckpointError, match="names a parameter twice"):
        load_checkpoint(tiny_atlas(), {**official, "head.weight": torch.ones(10, 32)})


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"epoch": 3}, {"weights": {"fc.weight": torch.ones(3, 2)}}], ids=str
)
def test_what_holds_no_state_dict_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    for source in (content, tmp_path / "x.pt"):
        with pytest.raises(CheckpointError, match="holds no state dict"):
            load_checkpoint(Plain(), source)


def test_a_model_without_storage_is_refused() -> None:
    with torch.device("meta"):
        model = Plain()
    with pytest.raises(CheckpointError, match="meta device"):
        load_checkpoint(model, Plain().state_dict())


def test_a_missing_file_a_folder_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint file"):
        load_checkpoint(Plain(), tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="is a folder: name a checkpoint file in it"):
        load_checkpoint(Plain(), tmp_path)
    for suffix in ("pt", "safetensors"):
        empty = tmp_path / f"empty.{suffix}"
        empty.touch()
        with pytest.raises(CheckpointError, match="is empty"):
            load_checkpoint(Plain(), empty)


class Code:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)

    target = ""


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_needs_code_is_refused_and_runs_nothing(legacy: bool, tmp_path: Path) -> None:
    Code.target = str(tmp_path / "made by the file")
    path = tmp_path / "code.pt"
    torch.save({"state_dict": Plain().state_dict(), "x": Code()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"is refused: reading it would run code \(\w+\.mkdir\)"):
        load_checkpoint(Plain(), path)
    with path.open("wb") as file:
        pickle.dump({"x": Code()}, file, protocol=2)
    with pytest.raises(CheckpointError):
        load_checkpoint(Plain(), path)
    assert not (tmp_path / "made by the file").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "legacy"])
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(Plain().state_dict(), path)
    else:
        torch.save(Plain().state_dict(), path, _use_new_zipfile_serialization=suffix == "pt")
    whole = path.read_bytes()
    load_checkpoint(Plain(), path)
    for length in [1, 2, 7, 9, *range(16, len(whole) - 1, max(len(whole) // 40, 1))]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"is not a checkpoint, or it is damaged|is refused"):
            load_checkpoint(Plain(), path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_bytes_of_something_else_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 300, 3):
        path.write_bytes(bytes(torch.randint(0, 256, (length,), generator=generator).tolist()))
        with pytest.raises(CheckpointError):
            load_checkpoint(Plain(), path)
    path.write_text("<html>404</html>" * 20)
    with pytest.raises(CheckpointError, match="is not a checkpoint, or it is damaged"):
        load_checkpoint(Plain(), path)


def test_a_file_of_another_kind_of_object_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list, not a state dict"):
        load_checkpoint(Plain(), tmp_path / "list.pt")
