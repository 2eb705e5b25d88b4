import pytest
import torch
from counting import total_macs, watch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlasbench.measure.flops import Product
from atlasbench.measure.formulas import FORMULAS, OperatorKind, may_multiply, selective_scan_flops
from atlasbench.models.layers import selective_scan
from atlasbench.models.layers.scan.operator import SCAN, SCAN_BACKWARD

B, M, K, N = 2, 3, 5, 7


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.mm, [(M, K), (K, N)], M * K * N),
        (torch.bmm, [(B, M, K), (B, K, N)], B * M * K * N),
        (torch.mv, [(M, K), (K,)], M * K),
        (torch.dot, [(K,), (K,)], K),
        (torch.vdot, [(K,), (K,)], K),
        (torch.addmm, [(N,), (M, K), (K, N)], M * K * N),
        (torch.addmv, [(M,), (M, K), (K,)], M * K),
        (torch.baddbmm, [(B, M, N), (B, M, K), (B, K, N)], B * M * K * N),
        (torch.addbmm, [(M, N), (B, M, K), (B, K, N)], B * M * K * N),
        (torch.matmul, [(K,), (K,)], K),
        (torch.matmul, [(K,), (K, N)], K * N),
        (torch.matmul, [(M, K), (K,)], M * K),
        (torch.matmul, [(M, K), (K, N)], M * K * N),
        (torch.matmul, [(B, M, K), (K, N)], B * M * K * N),
        (torch.matmul, [(B, M, K), (K,)], B * M * K),
        (torch.matmul, [(M, K), (B, K, N)], B * M * K * N),
        (torch.matmul, [(4, B, M, K), (B, K, N)], 4 * B * M * K * N),
        (torch.matmul, [(4, 1, M, K), (1, B, K, N)], 4 * B * M * K * N),
        (lambda a, b: torch.einsum("bmk,bkn->bmn", a, b), [(B, M, K), (B, K, N)], B * M * K * N),
        (lambda a, b: torch.einsum("bmk,kn->bn", a, b), [(B, M, K), (K, N)], B * K * N),  # M is summed before
        (lambda a, b: torch.einsum("bhwc,hkc->bhwk", a, b), [(B, M, K, 4), (M, N, 4)], B * M * K * N * 4),
        (lambda a, b: torch.tensordot(a, b, dims=1), [(B, M, K), (K, N)], B * M * K * N),
        (F.linear, [(B, M, K), (N, K), (N,)], B * M * K * N),
        (torch.inner, [(M, K), (N, K)], M * K * N),
    ],
)
def test_matrix_products_of_every_rank_follow_their_closed_form(function, shapes, macs) -> None:
    assert total_macs(function, *shapes) == macs


@pytest.mark.parametrize(
    ("layer", "side", "macs"),
    [
        (nn.Conv1d(4, 6, 3), (10,), 6 * 4 * 3 * 8),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (10, 12), 6 * 4 * 9 * 5 * 6),
        (nn.Conv2d(4, 6, 3, dilation=2), (10, 12), 6 * 4 * 9 * 6 * 8),
        (nn.Conv2d(4, 6, 3, groups=2), (10, 12), 6 * 2 * 9 * 8 * 10),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1), (10, 12), 4 * 1 * 9 * 10 * 12),
        (nn.Conv3d(4, 6, 3), (5, 6, 7), 6 * 4 * 27 * 3 * 4 * 5),
        (nn.ConvTranspose1d(4, 6, 3, stride=2), (10,), 4 * 6 * 3 * 10),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (10, 12), 4 * 3 * 9 * 10 * 12),
    ],
)
def test_convolutions_follow_their_closed_form_forward_and_backward(layer, side, macs) -> None:
    assert total_macs(layer, (B, 4, *side)) == B * macs
    assert total_macs(layer, (B, 4, *side), backward=True) == 3 * B * macs


@pytest.mark.parametrize(
    ("query", "key", "value", "options"),
    [
        ((2, 4, 6, 8), (2, 4, 9, 8), (2, 4, 9, 8), {}),
        ((2, 4, 6, 8), (2, 4, 9, 8), (2, 4, 9, 5), {}),
        ((2, 4, 6, 8), (2, 2, 9, 8), (2, 2, 9, 8), {"enable_gqa": True}),
        ((2, 4, 6, 8), (2, 4, 6, 8), (2, 4, 6, 8), {"is_causal": True}),
    ],
    ids=["cross", "narrow values", "grouped queries", "causal"],
)
@pytest.mark.parametrize("backend", [None, SDPBackend.MATH], ids=["torch's choice", "math"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_attention_counts_the_same_under_every_backend(query, key, value, options, backend, backward) -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if backend is None:
            return F.scaled_dot_product_attention(q, k, v, **options)
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, **options)

    batch, heads, queries, width = query
    forward = batch * heads * queries * key[-2] * (width + value[-1])
    counter = watch(attend, query, key, value, backward=backward)
    assert counter.macs.total() == (3 if backward else 1) * forward
    assert {place.product for place in counter.macs} == {Product.SCORES}


def test_a_mask_changes_nothing() -> None:
    mask = torch.zeros(6, 9, device="meta")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros(mask.shape))

    assert total_macs(attend, (2, 4, 6, 8), (2, 4, 9, 8), (2, 4, 9, 8)) == 2 * 4 * 6 * 9 * 16


ATTENTION_KERNELS = {
    "_scaled_dot_product_flash_attention": 1,
    "_scaled_dot_product_flash_attention_for_cpu": 1,
    "_scaled_dot_product_efficient_attention": 1,
    "_scaled_dot_product_cudnn_attention": 1,
    "_scaled_dot_product_fused_attention_overrideable": 1,
}


@pytest.mark.parametrize("name", ATTENTION_KERNELS)
def test_every_fused_kernel_counts_scores_and_values_and_its_backward_twice_that(name: str) -> None:
    q, k, v = (torch.empty(shape, device="meta") for shape in ((2, 4, 6, 8), (2, 4, 9, 8), (2, 4, 9, 5)))
    macs = 2 * 4 * 6 * 9 * (8 + 5)
    forward = FORMULAS[getattr(torch.ops.aten, name)]
    backward = FORMULAS[getattr(torch.ops.aten, f"{name}_backward")]
    assert forward.kind is backward.kind is OperatorKind.ATTENTION
    assert forward.macs((q, k, v), None) == macs
    assert backward.macs((q, q, k, v), None) == 2 * macs


def test_lstm_layers_count_both_matrices_at_every_step() -> None:
    steps, batch, width, hidden = 4, 2, 3, 5
    gates = 4 * hidden * (width + hidden) + 4 * hidden * (2 * hidden + hidden)
    layer = nn.LSTM(width, hidden, num_layers=2, bidirectional=True)
    counter = watch(_OnlyOutputs(layer), (steps, batch, width))
    assert counter.macs.total() == 2 * steps * batch * gates
    assert not counter.uncounted


def test_gru_layers_count_both_matrices_at_every_step() -> None:
    steps, batch, width, hidden = 4, 2, 3, 5
    counter = watch(_OnlyOutputs(nn.GRU(width, hidden)), (steps, batch, width))
    assert counter.macs.total() == steps * batch * 3 * hidden * (width + hidden)


# (B, I, L), S and groups
SCANS = [(2, 6, 17, 4, 0), (2, 6, 17, 4, 2), (1, 3, 5, 1, 0), (1, 768, 9216, 8, 0)]


@pytest.mark.parametrize(("batch", "channels", "length", "states", "groups"), SCANS)
@pytest.mark.parametrize("skip", [True, False])
def test_selective_scans_count_nine_flops_a_state_and_one_a_skip(
    batch: int, channels: int, length: int, states: int, groups: int, skip: bool
) -> None:
    def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *D: Tensor) -> Tensor:
        return selective_scan(u, delta, A, B, C, *D)

    weights = (batch, groups, states, length) if groups else (batch, states, length)
    shapes = [(batch, channels, length)] * 2 + [(channels, states), weights, weights] + [(channels,)] * skip
    flops = 9 * batch * length * channels * states + batch * length * channels * skip
    assert selective_scan_flops((batch, channels, length), states, skip=skip) == flops
    forward = watch(scan, *shapes)
    assert forward.macs.total() == (flops + 1) // 2
    assert {place.product for place in forward.macs} == {Product.SCORES}
    training = watch(scan, *shapes, backward=True)
    assert training.macs.total() == 3 * forward.macs.total()
    assert not forward.uncounted | training.uncounted


def test_table_threes_scan_has_the_flops_it_is_known_for() -> None:
    assert selective_scan_flops((1, 9216, 384), 8, skip=True) == 258_342_912


def test_both_operators_of_the_scan_are_one_kind() -> None:
    assert FORMULAS[SCAN].kind is FORMULAS[SCAN_BACKWARD].kind is OperatorKind.SCAN


class _OnlyOutputs(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


def test_multi_head_attention_counts_the_same_in_evaluation_as_in_training() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    tokens, width = 5, 8
    macs = B * (4 * tokens * width**2 + 2 * tokens**2 * width)
    assert total_macs(Attention().eval(), (B, tokens, width)) == macs
    assert total_macs(Attention().train(), (B, tokens, width)) == macs
    encoder = nn.TransformerEncoderLayer(width, 2, dim_feedforward=16, batch_first=True)
    assert total_macs(encoder.eval(), (B, tokens, width)) == macs + B * tokens * 2 * width * 16


def test_inference_mode_counts_what_no_grad_counts() -> None:
    block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True).eval()

    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                return self.block(x)

    expected = total_macs(nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True).eval(), (B, 5, 8))
    assert total_macs(Inference(), (B, 5, 8)) == expected > 0


def test_products_without_a_formula_are_named() -> None:
    layer = nn.Bilinear(3, 4, 5)
    counter = watch(layer, (B, 3), (B, 4))
    assert counter.uncounted == {"aten._trilinear"}


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_is_named() -> None:
    flex = pytest.importorskip("torch.nn.attention.flex_attention").flex_attention
    counter = watch(flex, (1, 2, 128, 16), (1, 2, 128, 16), (1, 2, 128, 16))
    assert counter.uncounted == {"flex_attention"}


def test_operators_of_other_libraries_are_named() -> None:
    with torch.library._scoped_library("atlasbench_test", "FRAGMENT") as library:
        library.define("scan(Tensor x) -> Tensor")
        library.impl("scan", lambda x: x.clone(), "CPU")
        torch.library.register_fake("atlasbench_test::scan", torch.empty_like, lib=library)
        counter = watch(lambda x: torch.ops.atlasbench_test.scan(x), (2, 3))
    assert counter.uncounted == {"atlasbench_test.scan"}
    assert counter.macs.total() == 0


@pytest.mark.parametrize(
    ("name", "multiplies"),
    [
        ("_grouped_mm", True),
        ("_weight_int8pack_mm", True),
        ("cudnn_convolution_relu", True),
        ("_transformer_encoder_layer_fwd", True),
        ("_flash_attention_forward", True),
        ("mkldnn_linear", True),
        ("_cdist_forward", True),
        ("_fft_r2c", True),
        ("linalg_vector_norm", False),
        ("upsample_bilinear2d", False),
        ("_convert_indices_from_coo_to_csr", False),
        ("_thnn_fused_lstm_cell", False),
        ("native_layer_norm", False),
        ("add", False),
        ("_softmax", False),
    ],
)
def test_what_may_multiply_is_told_by_the_name(name: str, multiplies: bool) -> None:
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        pytest.skip(f"this torch has no {name}")
    assert may_multiply(getattr(packet, packet.overloads()[0])) is multiplies


def test_elementwise_work_is_not_counted() -> None:
    layers = nn.Sequential(nn.LayerNorm(8), nn.GELU(), nn.Softmax(-1), nn.Dropout(0.1))
    counter = watch(layers, (4, 8), backward=True)
    assert counter.macs.total() == 0
    assert not counter.uncounted
