import pytest
import torch
from counting import SIDE, count_module, watch
from torch import Tensor, nn

from atlasbench.core.workload import AttentionBackend, Dtype, MemoryFormat, Mode
from atlasbench.measure.liveness import LiveStorages, Origin

FLOAT = 4
SIZE = 1024  # elements of one hand-made tensor
TENSOR = SIZE * FLOAT


class Recipe(nn.Module):
    """A function of one tensor as a model without weights."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def keep_all(x: Tensor) -> Tensor:
    first = x + 1
    second = first + 1
    return second + first


def free_as_it_goes(x: Tensor) -> Tensor:
    for _ in range(10):
        x = x + 1
    return x


@pytest.mark.parametrize(
    ("function", "tensors"),
    [
        (lambda x: x + 1, 2),
        (keep_all, 4),
        (free_as_it_goes, 3),  # the input is held by the caller, then the last and the next
        (lambda x: x.view(2, -1).t()[:3], 1),
        (lambda x: x.mul_(2).add_(1), 1),
        (lambda x: x.expand(7, SIZE), 1),
        (lambda x: x.expand(7, SIZE).contiguous(), 8),
        (lambda x: torch.cat([x, x]), 3),
    ],
    ids=["one output", "all kept", "freed", "views", "in place", "expanded", "copied", "concatenated"],
)
def test_the_peak_is_the_largest_sum_of_storages_that_live_at_once(function, tensors: int) -> None:
    assert watch(Recipe(function), (SIZE,)).storages.peak_bytes == tensors * TENSOR


def test_what_autograd_keeps_stays_alive() -> None:
    counter = watch(nn.Sequential(nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid()), (SIZE,), backward=True)
    # The input and three outputs; then gradients come one by one while what they needed goes.
    assert counter.storages.peak_bytes >= 4 * TENSOR
    freed = watch(nn.Sequential(nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid()), (SIZE,))
    assert freed.storages.peak_bytes == 3 * TENSOR


def test_storages_go_when_their_last_tensor_goes() -> None:
    storages = LiveStorages()
    tensor = torch.empty(SIZE)
    view = tensor.view(2, -1)
    storages.add(tensor, Origin.ACTIVATION)
    storages.add(view, Origin.ACTIVATION)
    assert storages.current_bytes == TENSOR
    del tensor
    assert storages.current_bytes == TENSOR
    del view
    assert storages.current_bytes == 0
    assert storages.peak_bytes == TENSOR


def test_a_storage_becomes_an_activation_by_being_written_to_and_stays_one() -> None:
    storages = LiveStorages()
    tensor = torch.empty(SIZE)
    storages.add(tensor, Origin.WEIGHT)
    storages.add(tensor.view(-1, 2), Origin.DERIVED)
    assert storages.origin(tensor) is Origin.WEIGHT
    storages.add(tensor, Origin.ACTIVATION)
    storages.add(tensor, Origin.WEIGHT)
    assert storages.origin(tensor) is Origin.ACTIVATION


class Linear(nn.Module):
    """(B, 3, H, W) to (B, 10), with a buffer and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3 * SIDE * SIDE, 10, bias=False)
        self.second = nn.Linear(3 * SIDE * SIDE, 10, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("offset", torch.zeros(10))

    def forward(self, image: Tensor) -> Tensor:
        return self.first(image.flatten(1)) + self.offset


WEIGHT = 3 * SIDE * SIDE * 10


def test_parameters_buffers_and_the_input_are_there_from_the_start_and_tied_ones_once() -> None:
    counts, _, _ = count_module(Linear, batch_size=2)
    outputs = 2 * 10 * 2  # of the layer, and with the offset added
    assert counts.predicted_peak_bytes == FLOAT * (WEIGHT + 10 + 2 * 3 * SIDE * SIDE + outputs)
    assert counts.params == WEIGHT


def test_training_holds_gradients_and_adamw_s_two_moments() -> None:
    infer = count_module(Linear)[0].predicted_peak_bytes
    train = count_module(Linear, mode=Mode.TRAIN)[0].predicted_peak_bytes
    assert 3 * WEIGHT * FLOAT <= train - infer < 3 * WEIGHT * FLOAT + 1000


def test_autocast_keeps_its_casts_of_weights_until_it_ends() -> None:
    class TwoLayers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(SIZE, SIZE, bias=False) for _ in range(4))

        def forward(self, image: Tensor) -> Tensor:
            x = image.flatten()[:SIZE][None]
            for layer in self.layers:
                x = layer(x)
            return x

    weights = 4 * SIZE * SIZE
    plain = count_module(TwoLayers)[0].predicted_peak_bytes
    cast = count_module(TwoLayers, dtype=Dtype.BFLOAT16)[0].predicted_peak_bytes
    pure = count_module(TwoLayers, dtype=Dtype.PURE_BFLOAT16)[0].predicted_peak_bytes
    assert plain == pytest.approx(4 * weights, rel=0.01)
    assert cast == pytest.approx(6 * weights, rel=0.01)
    assert pure == pytest.approx(2 * weights, rel=0.01)


def test_attention_that_keeps_its_scores_takes_more_memory() -> None:
    class Attention(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            x = image.flatten(2).transpose(1, 2).contiguous()[:, None]  # (B, 1, H * W, 3)
            return nn.functional.scaled_dot_product_attention(x, x, x)

    fused = count_module(Attention)[0]
    math = count_module(Attention, attention_backend=AttentionBackend.MATH)[0]
    scores = (SIDE * SIDE) ** 2 * FLOAT
    assert fused.predicted_peak_bytes < scores < math.predicted_peak_bytes
    assert fused.flops_by_part == math.flops_by_part


def test_the_memory_format_changes_no_count() -> None:
    def convolutions() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten())

    plain = count_module(convolutions)[0]
    assert count_module(convolutions, memory_format=MemoryFormat.CHANNELS_LAST)[0].flops_by_part == plain.flops_by_part
