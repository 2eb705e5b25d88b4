"""Dilated attention against plain definitions in float64: token by token, and as one softmax with multiplicities."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.layers import dilated_attention
from atlasbench.models.layers.dilated_block import DilatedBlock

# Tokens, heads, segment lengths, ratios.
CASES = {
    "even": (64, 4, (16, 32, 64), (1, 2, 4)),
    "ragged": (50, 3, (16, 32), (1, 2)),
    "short": (7, 4, (16, 32, 64), (1, 2, 4)),
    "one token": (1, 3, (4, 8), (1, 2)),
    "5 heads, ratio 4": (41, 5, (8, 16), (1, 4)),
    "7 heads, ratios 3 and 16": (70, 7, (9, 32), (3, 16)),
    "12 heads, ratios 8 and 16": (40, 12, (8, 16, 48), (1, 8, 16)),
    "ratio beyond the segment": (20, 6, (3, 10), (1, 5)),
    "misaligned": (30, 4, (5, 10), (1, 4)),
    "misaligned, ragged, uneven heads": (47, 5, (7, 11, 13), (2, 3, 4)),
    "segment of one token": (12, 2, (1, 6), (1, 4)),
    "no ratio of 1": (33, 3, (16,), (2,)),
}
PADDINGS = ["official", "aligned", "masked"]


def make_inputs(num_tokens: int, num_heads: int, batch_size: int = 2, head_dim: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(num_tokens)
    shape = (batch_size, num_tokens, num_heads, head_dim)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


def define_branch(
    q: Tensor, k: Tensor, v: Tensor, segment: int, ratio: int, head: int, padding: str
) -> tuple[Tensor, Tensor]:
    """One head (N, d) of one branch, row by row: output (N, d) and log-sum-exp (N)."""
    num_tokens, head_dim = q.shape
    rows = -(-segment // ratio)
    nothing = q.new_zeros(head_dim)
    out, lse = [nothing] * num_tokens, [q.new_tensor(-1e8)] * num_tokens
    for index in range(-(-num_tokens // segment)):
        offsets = [head + ratio * row for row in range(rows)]
        places = [index * segment + o if o < segment and index * segment + o < num_tokens else None for o in offsets]
        keys = [place for place in places if place is not None or padding != "masked"]
        for offset, place in zip(offsets, places, strict=True):
            target = index * rows * ratio + offset if padding == "official" else place
            if target is None or target >= num_tokens:
                continue
            query = nothing if place is None else q[place]
            scores = torch.stack([query @ (nothing if key is None else k[key]) for key in keys]) / head_dim**0.5
            values = torch.stack([nothing if key is None else v[key] for key in keys])
            out[target], lse[target] = scores.softmax(0) @ values, scores.logsumexp(0)
    return torch.stack(out), torch.stack(lse)


def define(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Sequence[int],
    ratios: Sequence[int],
    padding: str,
    *,
    constant_weights: bool = True,
) -> Tensor:
    _, N, H, _ = q.shape
    images = []
    for image in zip(q, k, v, strict=True):
        heads = []
        for head in range(H):
            q_head, k_head, v_head = (tensor[:, head] for tensor in image)
            branches = [
                define_branch(q_head, k_head, v_head, min(w, N), r, head // -(-H // r), padding)
                for w, r in zip(lengths, ratios, strict=True)
            ]
            lse = torch.stack([lse for _, lse in branches])
            if padding == "official":
                lse = torch.where(lse == 0, -1e8, lse)
            weights = (lse.detach() if constant_weights else lse).softmax(0)
            heads.append(sum(weight[:, None] * out for weight, (out, _) in zip(weights, branches, strict=True)))
        images.append(torch.stack(heads, dim=1))
    return torch.stack(images)


def define_by_multiplicity(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int], ratios: Sequence[int]) -> Tensor:
    """One softmax over all keys, each as often as branches bring it together with the query, and over zeros.

    Holds where every ratio divides its segments, or the segment is the whole sequence.
    """
    _, N, H, d = q.shape
    times, zeros = torch.zeros(H, N, N), torch.zeros(H, N)
    token = torch.arange(N)
    for w, r in zip(lengths, ratios, strict=True):
        w = min(w, N)
        for head in range(H):
            kept = token % w % r == head // -(-H // r)
            together = (token[:, None] // w == token // w) & kept[:, None] & kept
            times[head] += together
            zeros[head] += kept * (-(-w // r) - together.sum(-1))
    shares = torch.einsum("bihd,bjhd->bhij", q, k).div(d**0.5).exp() * times
    total = shares.sum(-1) + zeros
    return torch.einsum("bhij,bjhd->bihd", shares, v) / torch.where(total == 0, 1.0, total).transpose(1, 2)[..., None]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", CASES)
def test_output_and_gradients_are_those_of_the_definition(name: str, padding: str) -> None:
    num_tokens, num_heads, lengths, ratios = CASES[name]
    upstream = torch.randn(2, num_tokens, num_heads, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    inputs = make_inputs(num_tokens, num_heads)
    wanted = define(*inputs, lengths, ratios, padding)
    wanted_grads = torch.autograd.grad(wanted, inputs, upstream)
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(backend):
            out = dilated_attention(*inputs, lengths, ratios, padding=padding)
            grads = torch.autograd.grad(out, inputs, upstream)
            with torch.no_grad():
                again = dilated_attention(*inputs, lengths, ratios, padding=padding)
        torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(grads, wanted_grads, rtol=0, atol=1e-12)
        torch.testing.assert_close(again, wanted, rtol=0, atol=1e-12)


def test_branch_weights_are_constants_of_the_backward_pass() -> None:
    num_tokens, num_heads, lengths, ratios = CASES["even"]
    inputs = make_inputs(num_tokens, num_heads)
    out = dilated_attention(*inputs, lengths, ratios)
    through = define(*inputs, lengths, ratios, "official", constant_weights=False)
    torch.testing.assert_close(out, through, rtol=0, atol=1e-12)
    grads, other = (torch.autograd.grad(x.square().sum(), inputs) for x in (out, through))
    assert (grads[0] - other[0]).abs().max() > 1e-2


@pytest.mark.parametrize(
    "name", ["even", "ragged", "short", "5 heads, ratio 4", "12 heads, ratios 8 and 16", "no ratio of 1"]
)
def test_forward_is_one_softmax_that_counts_keys_as_often_as_branches_do(name: str) -> None:
    num_tokens, num_heads, lengths, ratios = CASES[name]
    inputs = make_inputs(num_tokens, num_heads)
    out = dilated_attention(*inputs, lengths, ratios)
    wanted = define_by_multiplicity(*inputs, lengths, ratios)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)


def test_one_long_segment_of_ratio_1_is_plain_attention() -> None:
    q, k, v = make_inputs(40, 3)
    plain = nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
    torch.testing.assert_close(dilated_attention(q, k, v, [64], [1]), plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
def test_half_precision_stays_close_and_keeps_its_dtype(dtype: torch.dtype, padding: str) -> None:
    inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in make_inputs(50, 3, head_dim=8)]
    out = dilated_attention(*inputs, (16, 32), (1, 2), padding=padding)
    out.sum().backward()
    wanted = dilated_attention(*(tensor.double() for tensor in inputs), (16, 32), (1, 2), padding=padding)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=2e-2)
    assert all(tensor.grad is not None and tensor.grad.dtype == dtype for tensor in inputs)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # of torch, about torch
@pytest.mark.parametrize(("name", "padding"), [("even", "official"), ("5 heads, ratio 4", "masked")])
def test_it_compiles_as_one_graph(name: str, padding: str) -> None:
    num_tokens, num_heads, lengths, ratios = CASES[name]
    inputs = make_inputs(num_tokens, num_heads)
    torch._dynamo.reset()

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return dilated_attention(q, k, v, lengths, ratios, padding=padding)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    plain = run(*inputs)
    out = compiled(*inputs)
    torch.testing.assert_close(out, plain)
    grads, wanted = (torch.autograd.grad(x.square().sum(), inputs) for x in (out, plain))
    torch.testing.assert_close(grads, wanted)


class LargestStorage(TorchDispatchMode):
    """Bytes of the largest output of any operator; a broadcast view is as small as what it shows."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.nbytes = max(self.nbytes, tensor.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("padding", PADDINGS)
def test_nothing_grows_with_the_square_of_the_tokens(padding: str) -> None:
    num_tokens, lengths, ratios = 250_000, (1024, 4096, 16384, 65536, 262144), (1, 2, 4, 8, 16)
    with FakeTensorMode(), LargestStorage() as largest:
        q, k, v = (torch.empty(1, num_tokens, 16, 24, requires_grad=True) for _ in range(3))
        dilated_attention(q, k, v, lengths, ratios, padding=padding).sum().backward()
    assert largest.nbytes < 1.1 * q.untyped_storage().nbytes()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_flops_are_those_of_whole_segments(name: str, padding: str) -> None:
    num_tokens, num_heads, lengths, ratios = CASES[name]
    q = torch.empty(2, num_tokens, num_heads, 8, device="meta")
    with FlopCounterMode(display=False) as counter:
        dilated_attention(q, q, q, lengths, ratios, padding=padding)
    used = [(min(w, num_tokens), r) for w, r in zip(lengths, ratios, strict=True)]
    scores = sum(-(-num_tokens // w) * (-(-w // r)) ** 2 for w, r in used)
    assert counter.get_total_flops() == 2 * 4 * 8 * num_heads * scores


@pytest.mark.parametrize(
    ("lengths", "ratios", "message"),
    [
        ((8, 16), (1,), "segment_lengths and dilated_ratios must be equally many, got 2 and 1."),
        ((8, 0), (1, 2), "segment_lengths must be a list of whole numbers of at least 1, got (8, 0)."),
        ((8,), (1.5,), "dilated_ratios must be a list of whole numbers of at least 1, got (1.5,)."),
        (8, (1,), "segment_lengths must be a list of whole numbers of at least 1, got 8."),
        ((), (), "segment_lengths must be a list of whole numbers of at least 1, got ()."),
    ],
    ids=str,
)
def test_wrong_lengths_and_ratios_are_refused(lengths: object, ratios: object, message: str) -> None:
    q, k, v = make_inputs(8, 2)
    with pytest.raises(InvalidOptionError) as error:
        dilated_attention(q, k, v, lengths, ratios)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_other_wrong_inputs_are_refused() -> None:
    q, k, v = make_inputs(8, 2)
    with pytest.raises(InvalidOptionError, match="padding must be one of official, aligned, masked, got 'none'"):
        dilated_attention(q, k, v, (4,), (1,), padding="none")
    with pytest.raises(ValueError, match=r"one shape \(B, N, heads, head_dim\), got \(2, 8, 2, 3\), \(2, 7, 2, 3\)"):
        dilated_attention(q, k[:, :7], v, (4,), (1,))
    with pytest.raises(ValueError, match=r"one dtype, got torch.float64, torch.float32"):
        dilated_attention(q, k.float(), v, (4,), (1,))


def test_a_block_has_the_parameters_of_the_closed_form_and_keeps_the_shape() -> None:
    block = DilatedBlock(24, 3, (8, 16), (1, 2))
    assert sum(parameter.numel() for parameter in block.parameters()) == 12 * 24**2 + 23 * 24
    x = torch.randn(2, 20, 24)
    assert block(x).shape == x.shape
    assert block.mlp.fc1.out_features == 96


def test_a_block_without_its_two_last_layers_changes_nothing() -> None:
    block = DilatedBlock(24, 3, (8, 16), (1, 2))
    x = torch.randn(2, 20, 24)
    for layer in (block.attn.proj, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    torch.testing.assert_close(block(x), x)


def test_a_block_drops_both_branches_of_a_sample() -> None:
    block = DilatedBlock(24, 3, (8, 16), (1, 2), drop_path_rate=0.999)
    x = torch.randn(2, 20, 24)
    torch.manual_seed(0)
    torch.testing.assert_close(block(x), x)
    assert not torch.allclose(block.eval()(x), x)
