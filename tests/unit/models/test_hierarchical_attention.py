"""FasterViT's blocks against a plain restatement: one image, one head and one pair of tokens at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, UntypedStorage, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from atlasbench.models.layers.carriers import CarrierPool, raster_to_windows, spread_carriers, windows_to_raster
from atlasbench.models.layers.hierarchical_attention import (
    CarrierOrder,
    HierarchicalAttentionBlock,
    WindowAttentionBlock,
)
from atlasbench.models.layers.position import WindowPosition
from atlasbench.models.layers.relative_bias import RelativeBias, spread_over_pairs
from atlasbench.models.layers.transformer_block import TransformerBlock

DIM, HEADS = 6, 2
CPU = torch.device("cpu")


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Weights that make every term matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)


def mlp_of(position: WindowPosition, row: float, column: float) -> Tensor:
    hidden = F.relu(position.fc1.weight @ torch.tensor([row, column], dtype=torch.float64) + position.fc1.bias)
    return position.fc2.weight @ hidden


def plain_position(position: WindowPosition, side: int) -> Tensor:
    half = max(side // 2, 1)
    places = [((i - side // 2) / half, (j - side // 2) / half) for i in range(side) for j in range(side)]
    return torch.stack([mlp_of(position, *place) for place in places])


def offset(distance: int, side: int) -> float:
    return math.copysign(math.log2(1 + 8 * abs(distance) / max(side - 1, 1)) / 3, distance) if distance else 0.0


def plain_bias(bias: RelativeBias, side: int, others: int) -> Tensor:
    """(L, L, heads)."""
    length = others + side * side
    heads = bias.mlp.fc2.weight.shape[0]
    rows = []
    for query in range(length):
        for key in range(length):
            if query < others or key < others:
                rows.append(torch.zeros(heads, dtype=torch.float64))
                continue
            (a, b), (c, d) = divmod(query - others, side), divmod(key - others, side)
            rows.append(16 * torch.sigmoid(mlp_of(bias.mlp, offset(a - c, side), offset(b - d, side))))
    return torch.stack(rows).view(length, length, heads)


def plain_block(block: TransformerBlock, x: Tensor, bias: Tensor) -> Tensor:
    """(N, C) to the same."""
    C = x.shape[-1]
    d = C // HEADS
    norm = F.layer_norm(x, (C,), block.norm1.weight, block.norm1.bias, 1e-5)
    qkv = norm @ block.mixer.qkv.weight.T + block.mixer.qkv.bias  # type: ignore[operator, union-attr]
    heads = []
    for head in range(HEADS):
        q, k, v = (qkv[:, part * C + head * d : part * C + (head + 1) * d] for part in range(3))
        scores = q @ k.T / math.sqrt(d) + bias[:, :, head]
        heads.append(scores.softmax(dim=-1) @ v)
    mixed = torch.cat(heads, dim=1) @ block.mixer.proj.weight.T + block.mixer.proj.bias  # type: ignore[operator, union-attr]
    x = x + mixed * (1 if block.gamma1 is None else block.gamma1)
    norm = F.layer_norm(x, (C,), block.norm2.weight, block.norm2.bias, 1e-5)
    hidden = F.gelu(norm @ block.mlp.fc1.weight.T + block.mlp.fc1.bias)
    refined = hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return x + refined * (1 if block.gamma2 is None else block.gamma2)


def plain_hierarchical(
    block: HierarchicalAttentionBlock, x: Tensor, carriers: Tensor, counts: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """(windows, K, C) tokens and (windows * c*c, C) carriers of one image; every move by index."""
    rows, columns = counts
    k, c = block.window_size, block.carriers_per_side
    windows = [window + plain_position(block.position, k) for window in x]
    height, width = rows * c, columns * c
    raster = []
    for row in range(height):
        for column in range(width):
            window = (row // c) * columns + column // c
            raster.append(carriers[window * c * c + (row % c) * c + column % c])
    grid = torch.stack(raster)
    if block.carrier_position is not None:
        grid = grid + plain_position(block.carrier_position, height)
    side = math.isqrt(len(grid))
    grid = plain_block(block.carriers, grid, plain_bias(block.carrier_bias, side, len(grid) - side * side))
    if block.carrier_order is CarrierOrder.OFFICIAL:
        height, width = width, height  # the list is read as a grid that lies on its side
    dealt = []
    for cell_row in range(height // c):
        for cell_column in range(width // c):
            cell = [(cell_row * c + i) * width + cell_column * c + j for i in range(c) for j in range(c)]
            dealt.append(torch.stack([grid[index] for index in cell]))
    bias = plain_bias(block.window_bias, k, c * c)
    mixed = [
        plain_block(block.windows, torch.cat([own, window]), bias) for own, window in zip(dealt, windows, strict=True)
    ]
    returned, tokens = [z[: c * c] for z in mixed], [z[c * c :] for z in mixed]
    if block.propagates:
        factor = 1 if block.carriers.gamma1 is None else block.carriers.gamma1
        over = [(i * c // k) * c + j * c // k for i in range(k) for j in range(k)]
        tokens = [
            window + factor * torch.stack([own[index] for index in over])
            for own, window in zip(returned, tokens, strict=True)
        ]
    return torch.stack(tokens), torch.cat(returned)


CASES = {
    "square": ((2, 2), 3, 2, {}),
    "one carrier": ((2, 2), 2, 1, {"layer_scale": 0.3, "propagates": True}),
    "three per axis": ((3, 3), 2, 2, {"propagates": True}),
    "wide": ((2, 3), 3, 2, {"layer_scale": 0.3, "propagates": True}),
    "tall, ordered": ((3, 1), 3, 2, {"carrier_order": CarrierOrder.ORDERED, "propagates": True}),
    "two carriers in all": ((1, 2), 2, 1, {}),
    "windows of one token": ((2, 3), 1, 1, {"propagates": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_every_gradient_are_those_of_the_plain_restatement(case: str) -> None:
    counts, k, c, options = CASES[case]
    block = HierarchicalAttentionBlock(
        DIM, HEADS, k, c, mlp_ratio=2, has_carrier_position=counts[0] == counts[1], **options
    ).double()
    randomise(block)
    windows, batch = counts[0] * counts[1], 2
    generator = torch.Generator().manual_seed(1)
    x, carriers = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((batch * windows, k * k, DIM), (batch, windows * c * c, DIM))
    )
    inputs = [x, carriers, *block.parameters()]
    outputs = block(x, carriers, counts)
    each = [plain_hierarchical(block, *image, counts) for image in zip(x.chunk(batch), carriers, strict=True)]
    expected = (torch.cat([tokens for tokens, _ in each]), torch.stack([returned for _, returned in each]))
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in expected]
    # Coordinates are computed in single precision, as the public code does.
    for out, plain in zip(outputs, expected, strict=True):
        torch.testing.assert_close(out, plain, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(outputs, inputs, weights)
    plain_gradients = torch.autograd.grad(expected, inputs, weights)
    for gradient, plain in zip(gradients, plain_gradients, strict=True):
        assert float((gradient - plain).abs().max()) < 1e-5 * max(1.0, float(plain.abs().max()))


@pytest.mark.parametrize("side", [1, 2, 5, 8])
@pytest.mark.parametrize("others", [0, 3])
def test_the_bias_of_every_pair_is_that_of_its_offset(side: int, others: int) -> None:
    bias = RelativeBias(4).double()
    randomise(bias)
    found = bias(side, others, CPU)
    assert found.shape == (1, 4, others + side * side, others + side * side)
    assert found.is_contiguous()
    found = found.flip(-1)  # keys came last to first
    torch.testing.assert_close(found[0].permute(1, 2, 0), plain_bias(bias, side, others), rtol=1e-6, atol=1e-6)
    assert not found[:, :, :others].any()
    assert not found[:, :, :, :others].any()


def test_a_block_without_carriers_is_the_plain_one_in_each_window() -> None:
    block = WindowAttentionBlock(DIM, HEADS, 3, mlp_ratio=2, layer_scale=0.3).double()
    randomise(block)
    x = torch.randn(4, 9, DIM, dtype=torch.float64)
    bias = plain_bias(block.window_bias, 3, 0)
    plain = torch.stack([plain_block(block.windows, w + plain_position(block.position, 3), bias) for w in x])
    torch.testing.assert_close(block(x), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [8, 48])
def test_a_block_has_the_published_parameters(dim: int) -> None:
    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    each = 12 * dim**2 + 13 * dim + 1536 + 512 * dim + 1536 + 512 * 4
    assert count(WindowAttentionBlock(dim, 4, 3)) == each
    assert count(HierarchicalAttentionBlock(dim, 4, 3, 2)) == 2 * each
    assert count(HierarchicalAttentionBlock(dim, 4, 3, 2, layer_scale=1e-5)) == 2 * each + 4 * dim
    assert count(HierarchicalAttentionBlock(dim, 4, 3, 2, has_carrier_position=False)) == 2 * each - 1536 - 512 * dim


@pytest.mark.parametrize(("window", "per_side"), [(4, 2), (6, 3), (4, 1), (3, 3)])
@pytest.mark.parametrize("counts", [(2, 2), (2, 3), (1, 4)], ids=str)
def test_carriers_are_averages_of_their_cells_where_they_divide_the_window(
    window: int, per_side: int, counts: tuple[int, int]
) -> None:
    pool = CarrierPool(5, window, per_side)
    x = torch.randn(2, 5, counts[0] * window, counts[1] * window)
    carriers = pool(x)
    mapped, cell = pool.conv(x), window // per_side
    for row in range(counts[0]):
        for column in range(counts[1]):
            for i in range(per_side):
                for j in range(per_side):
                    top, left = row * window + i * cell, column * window + j * cell
                    index = (row * counts[1] + column) * per_side**2 + i * per_side + j
                    mean = mapped[:, :, top : top + cell, left : left + cell].mean(dim=(2, 3))
                    torch.testing.assert_close(carriers[:, index], mean)


@pytest.mark.parametrize(("windows", "kernel"), [(2, 5), (10, 13), (37, 40)], ids=["224 px", "1024 px", "4096 px"])
def test_published_carriers_overlap_as_in_the_public_code(windows: int, kernel: int) -> None:
    """Windows of 7 with 2 x 2 carriers: stride 3, and a kernel that grows with the map."""
    pool = CarrierPool(1, 7, 2)
    nn.init.zeros_(pool.conv.weight)
    pool.conv.weight.data[0, 0, 1, 1] = 1
    nn.init.zeros_(pool.conv.bias)  # type: ignore[arg-type]
    x = torch.zeros(1, 1, 7 * windows, 7 * windows)
    x[0, 0, :, :] = torch.arange(7.0 * windows)
    raster = windows_to_raster(pool(x), (windows, windows), 2).view(2 * windows, 2 * windows)
    expected = 3 * torch.arange(2.0 * windows) + (kernel - 1) / 2
    torch.testing.assert_close(raster, expected.expand(2 * windows, -1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("counts", [(2, 2), (2, 3), (5, 1)], ids=str)
@pytest.mark.parametrize("per_side", [1, 2, 3])
def test_carriers_lie_row_by_row_and_return(counts: tuple[int, int], per_side: int) -> None:
    height, width = counts[0] * per_side, counts[1] * per_side
    raster = torch.arange(height * width).view(1, -1, 1)
    carriers = raster_to_windows(raster, counts, per_side)
    assert torch.equal(windows_to_raster(carriers, counts, per_side), raster)
    first = carriers[0, : per_side**2, 0].tolist()
    assert first == [row * width + column for row in range(per_side) for column in range(per_side)]


def test_the_public_order_of_two_by_three_windows_is_the_known_one() -> None:
    """Window 0 receives the carriers at (0, 0), (0, 1), (0, 4) and (0, 5) of the raster."""
    raster = torch.arange(24).view(1, 24, 1)
    assert raster_to_windows(raster, (3, 2), 2)[0, :4, 0].tolist() == [0, 1, 4, 5]


def test_tokens_get_the_carrier_that_lies_over_them() -> None:
    """Windows of 7 under 2 x 2 carriers: four rows and columns under the first, three under the second."""
    spread = spread_carriers(torch.arange(4.0).view(1, 4, 1), 2, 7).view(7, 7)
    assert spread[0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert spread[:, 0].tolist() == [0, 0, 0, 0, 2, 2, 2]


@pytest.mark.parametrize("scale", [None, 0.5])
def test_propagation_takes_the_factor_of_the_carriers_attention(scale: float | None) -> None:
    blocks = [HierarchicalAttentionBlock(DIM, HEADS, 4, 2, layer_scale=scale, propagates=on) for on in (False, True)]
    blocks[1].load_state_dict(blocks[0].state_dict())
    x, carriers = torch.randn(4, 16, DIM), torch.randn(1, 16, DIM)
    (plain, returned), (propagated, _) = (block.eval()(x, carriers, (2, 2)) for block in blocks)
    added = spread_carriers(returned.view(4, 4, DIM), 2, 4) * (1 if scale is None else scale)
    torch.testing.assert_close(propagated, plain + added)


def test_carriers_connect_all_windows_of_an_image_and_no_images() -> None:
    block = HierarchicalAttentionBlock(DIM, HEADS, 2, 1).double().eval()
    randomise(block)
    x = torch.randn(8, 4, DIM, dtype=torch.float64)
    carriers = torch.randn(2, 4, DIM, dtype=torch.float64)
    with torch.no_grad():
        before, _ = block(x, carriers, (2, 2))
        changed = carriers.clone()
        changed[0, 3, 0] += 1
        after, _ = block(x, changed, (2, 2))
    moved = (after - before).abs().amax(dim=(1, 2))
    assert (moved[:4] > 1e-6).all()
    assert not moved[4:].any()


class NewStorages(TorchDispatchMode):
    """Keeps every storage that an operator makes; views make none."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, UntypedStorage] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            storage = out.untyped_storage()
            self.made[storage._cdata] = storage
        return out


@pytest.mark.parametrize("others", [0, 5])
def test_the_bias_of_many_carriers_is_made_in_one_copy(others: int) -> None:
    """No index of every pair, and no second bias."""
    side, heads = 24, 2
    table = torch.randn(heads, 2 * side - 1, 2 * side - 1)
    with NewStorages() as storages:
        bias = spread_over_pairs(table, others)
    sizes = [storage.nbytes() for storage in storages.made.values()]
    assert bias.nbytes == heads * (side * side + others) ** 2 * 4
    assert sum(sizes) == bias.nbytes + table.nbytes  # the copy is seen to read the table


@pytest.mark.parametrize(("windows", "reversed_keys"), [(1, True), (500, False)])
def test_of_the_bias_and_the_keys_the_smaller_is_turned_around(
    windows: int, reversed_keys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large window with few others would otherwise hold its bias twice, and many small ones copy all their keys."""
    block, side = WindowAttentionBlock(DIM, HEADS, 7).eval(), 7
    flipped: list[torch.Size] = []
    flip = Tensor.flip

    def listen(x: Tensor, *dims: int) -> Tensor:
        flipped.append(x.shape)
        return flip(x, *dims)

    monkeypatch.setattr(Tensor, "flip", listen)
    block(torch.randn(windows, side * side, DIM))
    keys = torch.Size([windows, HEADS, side * side, DIM // HEADS])
    assert flipped == ([keys, keys] if reversed_keys else [torch.Size([1, HEADS, side * side, side * side])])
