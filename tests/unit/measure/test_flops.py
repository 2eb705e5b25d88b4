import pytest
import torch
from counting import count_module, macs_of, watch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from atlasbench.core.workload import Dtype, Mode
from atlasbench.measure import flops
from atlasbench.measure.flops import Place, Product
from atlasbench.models.layers.mamba_mixer import MambaMixer

B, N, C = 2, 5, 4


class Attention(nn.Module):
    """Queries, keys, values and an output, without fused kernels or with them."""

    def __init__(self, dim: int = C, *, fused: bool = False) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.fused:
            out = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            out = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.proj(out)


class Classifier(nn.Module):
    """Patches, one attention and a linear layer on (B, 3, H, W)."""

    def __init__(self, *, recompute: bool = False, reentrant: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, C, 8, stride=8)
        self.attn = Attention()
        self.head = nn.Linear(C, 10)
        self.recompute = recompute
        self.reentrant = reentrant

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).flatten(2).transpose(1, 2)
        attended = checkpoint(self.attn, x, use_reentrant=self.reentrant) if self.recompute else self.attn(x)
        return self.head(attended.mean(1))


PROJECTION_MACS = B * N * C * C
SCORE_MACS = B * N * N * C


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_every_product_is_told_by_its_module_and_by_what_it_multiplies(fused: bool, backward: bool) -> None:
    counter = watch(Attention(fused=fused), (B, N, C), backward=backward)
    passes = 3 if backward else 1
    assert macs_of(counter, "qkv", Product.LAYER) == passes * 3 * PROJECTION_MACS
    assert macs_of(counter, "proj", Product.LAYER) == passes * PROJECTION_MACS
    assert macs_of(counter, "", Product.SCORES) == passes * 2 * SCORE_MACS
    assert len(counter.macs) == 3


@pytest.mark.parametrize("recompute", [False, True])
def test_a_selective_scan_counts_in_its_module_forward_and_backward(recompute: bool) -> None:
    class Scans(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = MambaMixer(C)
            self.last = nn.Linear(C, C)

        def forward(self, x: Tensor) -> Tensor:
            x = checkpoint(self.mixer, x, use_reentrant=False) if recompute else self.mixer(x)
            return self.last(x)

    counter = watch(Scans(), (B, N, C), backward=True)
    scan = B * N * (C // 2) * (9 * 8 + 1) // 2
    assert macs_of(counter, "mixer", Product.SCORES) == (4 if recompute else 3) * scan
    assert macs_of(counter, "last", Product.LAYER) == 3 * PROJECTION_MACS
    assert not [place for place in counter.macs if place.product is Product.SCORES and place.path != "mixer"]


def test_the_first_layer_needs_no_gradient_to_its_input() -> None:
    class FirstLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, C, 1)
            self.second = nn.Conv2d(C, C, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x.detach()))

    counter = watch(FirstLayer(), (B, 3, 2, 2), backward=True)
    assert macs_of(counter, "first", Product.CONVOLUTION) == 2 * B * 4 * 3 * C
    assert macs_of(counter, "second", Product.CONVOLUTION) == 3 * B * 4 * C * C


def test_frozen_weights_need_no_gradient() -> None:
    layer = nn.Linear(C, C).requires_grad_(False)
    counter = watch(layer, (N, C), backward=True)
    assert counter.macs.total() == 2 * N * C * C  # forward, and the gradient to the input


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_forward_pass_that_is_run_again_counts_again_and_in_its_own_modules(reentrant: bool) -> None:
    plain, _, _ = count_module(Classifier, mode=Mode.TRAIN)
    again, _, _ = count_module(lambda: Classifier(recompute=True, reentrant=reentrant), mode=Mode.TRAIN)
    tokens = 16
    scores, qkv, proj = 2 * 2 * tokens**2 * C, 2 * 3 * tokens * C * C, 2 * tokens * C * C
    assert again.flops_by_part["attention"] - plain.flops_by_part["attention"] == scores
    # Without re-entering, torch stops when it has all that the backward pass needs: the last layer is not run again.
    assert again.flops_by_part["projections"] - plain.flops_by_part["projections"] == qkv + (proj if reentrant else 0)
    assert again.flops_by_part["stem"] == plain.flops_by_part["stem"]
    assert again.flops_by_part["head"] == plain.flops_by_part["head"]
    assert again.activation_bytes == plain.activation_bytes


def test_an_operator_without_gradients_does_not_take_its_neighbours_place() -> None:
    class TableAfterLayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(C, C)
            self.register_buffer("table", torch.ones(C, C))

        def forward(self, x: Tensor) -> Tensor:
            out = self.layer(x)
            with torch.no_grad():
                scale = self.table @ self.table
            return out * scale.sum()

    counter = watch(TableAfterLayer(), (N, C), backward=True)
    assert macs_of(counter, "layer", Product.LAYER) == 3 * N * C * C
    assert macs_of(counter, "", Product.CONSTANT) == C * C * C


def test_tables_computed_from_weights_are_neither_weights_nor_activations() -> None:
    class RelativePosition(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(2 * N - 1, C))

        def forward(self, q: Tensor) -> Tensor:
            index = torch.arange(N)[:, None] - torch.arange(N)[None, :] + N - 1
            return torch.einsum("bnc,nmc->bnm", q, self.table[index])

    counter = watch(RelativePosition(), (B, N, C))
    assert dict(counter.macs) == {Place("", Product.DERIVED): B * N * N * C}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_weight_is_still_a_weight(dtype: torch.dtype) -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Attention()

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype):
                return self.attention(x)

    counter = watch(Cast(), (B, N, C))
    assert {place.product for place in counter.macs} == {Product.LAYER, Product.SCORES}
    assert counter.macs.total() == 4 * PROJECTION_MACS + 2 * SCORE_MACS


def test_activation_bytes_are_the_outputs_of_counted_operators() -> None:
    layers = nn.Sequential(nn.Linear(C, 8), nn.GELU(), nn.Linear(8, C))
    assert watch(layers, (N, C)).activation_bytes == 4 * (N * 8 + N * C)
    assert watch(layers, (N, C), backward=True).activation_bytes == 4 * (N * 8 + N * C)


def test_a_pooling_changes_the_positions_of_what_came_before() -> None:
    stem = nn.Sequential(nn.Conv2d(3, C, 3, stride=2, padding=1), nn.BatchNorm2d(C), nn.MaxPool2d(3, 2, 1))
    counter = watch(stem.eval(), (B, 3, 16, 32))
    assert list(counter.positions.items()) == [("0", B * 8 * 16), ("2", B * 4 * 8)]


def test_a_layer_without_outputs_counts_nothing() -> None:
    counter = watch(lambda x: F.linear(x, torch.empty(0, C)), (N, C))
    assert counter.macs.total() == 0
    assert counter.values == {}


def test_modules_made_on_the_fly_count_as_their_caller() -> None:
    class Maker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(C, C))

        def forward(self, x: Tensor) -> Tensor:
            return nn.Flatten(0, 1)(x) @ self.weight

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maker = Maker()

        def forward(self, x: Tensor) -> Tensor:
            return self.maker(x)

    counter = watch(Model(), (B, N, C))
    assert dict(counter.macs) == {Place("maker", Product.LAYER): PROJECTION_MACS}


def test_the_hooks_are_gone_afterwards_even_if_the_model_fails() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    before = len(torch.nn.modules.module._global_forward_hooks), len(torch.nn.modules.module._global_forward_pre_hooks)
    with pytest.raises(RuntimeError, match="no"):
        watch(nn.Sequential(nn.Linear(C, C), Fails()), (N, C))
    after = len(torch.nn.modules.module._global_forward_hooks), len(torch.nn.modules.module._global_forward_pre_hooks)
    assert after == before


@pytest.mark.parametrize("missing", ["_current_node", "_next_sequence"])
def test_totals_stay_right_where_torch_does_not_tell_its_sequence_numbers(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = watch(Attention(), (B, N, C), backward=True).macs.total()
    monkeypatch.setattr(flops, missing, {"_current_node": lambda: None, "_next_sequence": lambda: 0}[missing])
    assert watch(Attention(), (B, N, C), backward=True).macs.total() == expected


@pytest.mark.parametrize("dtype", list(Dtype)[1:])
@pytest.mark.parametrize("mode", list(Mode))
def test_arithmetic_does_not_change_the_count(dtype: Dtype, mode: Mode) -> None:
    assert count_module(Classifier, dtype=dtype, mode=mode)[0].flops_by_part == (
        count_module(Classifier, mode=mode)[0].flops_by_part
    )
