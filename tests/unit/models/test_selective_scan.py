"""The selective scan against a plain loop in float64, in every form, layout and dtype it runs in."""

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from atlasbench.models.layers import selective_scan as scan_package_name
from atlasbench.models.layers.scan import block as scan_block
from atlasbench.models.layers.scan import layout as scan_layout
from atlasbench.models.layers.scan.layout import plan_blocks, runs_by_halves
from atlasbench.models.layers.scan.mamba import find_mamba_scan, run_mamba_scan
from atlasbench.models.layers.scan.operator import selective_scan_backward_operator, selective_scan_operator
from atlasbench.models.layers.scan.recurrence import (
    advance_by_halves,
    advance_by_steps,
    retreat_by_halves,
    retreat_by_steps,
)
from atlasbench.models.layers.scan.reference import selective_scan_reference
from atlasbench.models.layers.selective_scan import fallback_note, scan_backend, selective_scan

TOLERANCE = 2e-6  # of max(1, the largest): what float32 leaves, far below the 1e-5 that is promised
NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")
# Range of delta, and of -A: with softplus, a delta below 0 is a small step.
REGIMES = {
    "initial": ((-1.0, 1.0), (1.0, 8.0)),
    "slow": ((-7.0, -2.0), (0.01, 1.0)),
    "stiff": ((2.0, 40.0), (1.0, 12.5)),  # delta * A down to -500
    "mixed": ((-9.0, 9.0), (0.001, 50.0)),
}


def make_inputs(
    batch: int, channels: int, length: int, states: int = 8, groups: int = 0, regime: str = "initial"
) -> list[Tensor]:
    torch.manual_seed(batch * channels + length)
    weights = (batch, groups, states, length) if groups else (batch, states, length)
    steps, rates = REGIMES[regime]
    return [
        torch.randn(batch, channels, length),
        torch.empty(batch, channels, length).uniform_(*steps),
        -torch.empty(channels, states).uniform_(*rates),
        torch.randn(weights),
        torch.randn(weights),
        torch.randn(channels),
        0.1 * torch.randn(channels),
    ]


def run(scan, inputs: list[Tensor | None], grad_y: Tensor, **options: bool) -> dict[str, Tensor]:
    """Output, and gradients to what is given."""
    leaves = [None if x is None else x.detach().clone().requires_grad_() for x in inputs]
    y = scan(*leaves, **options)
    y.backward(grad_y.to(y.dtype))
    return {"y": y.detach()} | {name: x.grad for name, x in zip(NAMES, leaves, strict=True) if x is not None}


def assert_matches_the_loop(inputs: list[Tensor | None], tolerance: float = TOLERANCE, **options: bool) -> None:
    grad_y = torch.randn(inputs[0].shape)
    found = run(selective_scan, inputs, grad_y, **options)
    exact = run(selective_scan_reference, [None if x is None else x.double() for x in inputs], grad_y, **options)
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        error = float((found[name].double() - value).abs().max()) / max(1.0, float(value.abs().max()))
        assert error < tolerance, (name, error)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("length", [1, 2, 37, 64, 65, 196])
def test_outputs_and_all_gradients_are_those_of_the_loop(length: int, regime: str) -> None:
    assert_matches_the_loop(make_inputs(2, 24, length, regime=regime))


@pytest.mark.parametrize("regime", REGIMES)
def test_long_sequences_lose_nothing_from_block_to_block(regime: str) -> None:
    assert plan_blocks(1, 64, 8, "cpu").count(4096) > 16
    assert_matches_the_loop(make_inputs(1, 64, 4096, regime=regime))


def test_gradients_are_right_where_blocks_end_inside_the_sequence_and_inside_the_batch() -> None:
    batch, channels, length = 7, 400, 75
    plan = plan_blocks(batch, channels, 8, "cpu")
    assert 1 < plan.rows < batch
    assert batch % plan.rows
    assert plan.count(length) > 2
    assert length % plan.steps
    assert_matches_the_loop(make_inputs(batch, channels, length))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_channels_of_a_group_share_its_weights(groups: int) -> None:
    assert_matches_the_loop(make_inputs(2, 12, 37, 4, groups))


@pytest.mark.parametrize("states", [1, 3, 16])
def test_any_number_of_states(states: int) -> None:
    assert_matches_the_loop(make_inputs(2, 5, 30, states))


@pytest.mark.parametrize("missing", [("D",), ("delta_bias",), ("D", "delta_bias")], ids="+".join)
@pytest.mark.parametrize("delta_softplus", [True, False])
def test_skip_bias_and_softplus_can_be_left_out(missing: tuple[str, ...], delta_softplus: bool) -> None:
    inputs = make_inputs(2, 12, 37)
    if not delta_softplus:
        inputs[1] = inputs[1].abs()
    optional = [None if name in missing else x for name, x in zip(NAMES, inputs, strict=True)]
    assert_matches_the_loop(optional, delta_softplus=delta_softplus)


def test_softplus_is_the_default() -> None:
    inputs = make_inputs(1, 4, 9)
    assert torch.equal(selective_scan(*inputs), selective_scan(*inputs, delta_softplus=True))
    assert not torch.allclose(selective_scan(*inputs), selective_scan(*inputs, delta_softplus=False))


@pytest.mark.parametrize("length", [37, 1024], ids="length {}".format)
@pytest.mark.parametrize("layout", ["channels last", "every other step", "expanded"])
def test_inputs_may_lie_anyhow_in_memory(layout: str, length: int) -> None:
    inputs = make_inputs(2, 24, length)
    for position in (0, 1, 3, 4):
        x = inputs[position]
        if layout == "channels last":
            inputs[position] = x.transpose(1, 2).contiguous().transpose(1, 2)
        elif layout == "every other step":
            inputs[position] = x.repeat_interleave(2, dim=-1)[..., ::2]
        else:
            inputs[position] = x[:1].expand(2, -1, -1)
    with torch.no_grad():
        found = selective_scan(*inputs)
    assert torch.equal(found, selective_scan(*(x.contiguous() for x in inputs)))


def test_gradients_that_are_expanded_are_read_right() -> None:
    inputs = [x.requires_grad_() for x in make_inputs(2, 6, 40)]
    summed = torch.autograd.grad(selective_scan(*inputs).sum(), inputs)
    given = torch.autograd.grad(selective_scan(*inputs), inputs, torch.ones(2, 6, 40))
    assert all(torch.equal(a, b) for a, b in zip(summed, given, strict=True))


def test_gradients_hold_against_finite_differences() -> None:
    inputs = [x.double().requires_grad_() for x in make_inputs(2, 4, 6, 3, 2)]
    assert torch.autograd.gradcheck(selective_scan, inputs)


def test_only_some_inputs_may_need_gradients() -> None:
    inputs = make_inputs(1, 6, 20)
    inputs[2].requires_grad_()
    selective_scan(*inputs).sum().backward()
    assert [x.grad is not None for x in inputs] == [name == "A" for name in NAMES]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_rounds_inputs_and_outputs_but_not_the_state(dtype: torch.dtype, tolerance: float) -> None:
    halves = [x.to(dtype) for x in make_inputs(2, 12, 512, regime="slow")]
    found = run(selective_scan, halves, torch.ones(2, 12, 512))
    exact = run(selective_scan_reference, [x.double() for x in halves], torch.ones(2, 12, 512))
    for name, value in exact.items():
        assert found[name].dtype == dtype, name
        assert float((found[name] - value).abs().max()) <= tolerance * max(1.0, float(value.abs().max())), name


def test_the_output_has_the_dtype_of_u_whatever_the_others_have() -> None:
    u, *others = make_inputs(1, 6, 20)
    inputs = [u.bfloat16().requires_grad_(), *(x.requires_grad_() for x in others)]
    y = selective_scan(*inputs)
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert [x.grad.dtype for x in inputs] == [x.dtype for x in inputs]


def test_autocast_changes_nothing() -> None:
    inputs = make_inputs(2, 12, 37)
    plain = run(selective_scan, inputs, torch.ones(2, 12, 37))
    with torch.autocast("cpu", torch.bfloat16):
        cast = run(selective_scan, inputs, torch.ones(2, 12, 37))
    assert all(torch.equal(cast[name], value) for name, value in plain.items())


def test_inference_mode_gives_the_same() -> None:
    inputs = make_inputs(2, 12, 37)
    with torch.inference_mode():
        assert torch.equal(selective_scan(*inputs), selective_scan(*inputs))
        found = selective_scan(*inputs).clone()
    assert torch.equal(found, selective_scan(*(x.requires_grad_() for x in inputs)))


def test_a_second_derivative_is_refused() -> None:
    inputs = [x.requires_grad_() for x in make_inputs(1, 4, 9)]
    (grad,) = torch.autograd.grad(selective_scan(*inputs).sum(), inputs[0], create_graph=True)
    with pytest.raises(NotImplementedError, match="can be differentiated once"):
        grad.sum().backward()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_forward_mode_is_refused_where_torch_would_lose_the_tangent(name: str) -> None:
    inputs = dict(zip(NAMES, make_inputs(1, 4, 9), strict=True))

    def scan(x: Tensor) -> Tensor:
        return selective_scan(**{**inputs, name: x})

    x = inputs[name]
    with pytest.raises(NotImplementedError, match="use reverse-mode differentiation"):
        torch.func.jvp(scan, (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="use reverse-mode differentiation"):
        scan(forward_ad.make_dual(x, x))
    with forward_ad.dual_level():
        assert torch.equal(scan(x), selective_scan(**inputs))


# As an operator


@pytest.mark.parametrize("device", ["meta", "fake"])
def test_shapes_are_enough_at_any_length(device: str) -> None:
    mode = FakeTensorMode() if device == "fake" else torch.device("meta")
    with mode:
        long = [torch.empty(shape, requires_grad=True) for shape in ((2, 384, 65536), (2, 384, 65536), (384, 8))]
        weights = [torch.empty(2, 8, 65536, requires_grad=True) for _ in range(2)]
        y = selective_scan(*long, *weights)
        y.sum().backward()
    assert y.shape == (2, 384, 65536)
    assert [x.grad.shape for x in (*long, *weights)] == [x.shape for x in (*long, *weights)]


@pytest.mark.parametrize("states", [1, 8, 64, 256])
@pytest.mark.parametrize("channels", [24, 384, 6000])
def test_states_kept_for_the_backward_pass_are_half_of_u_at_most_and_none_without_one(
    channels: int, states: int
) -> None:
    u, delta = (torch.empty(1, 4096, channels, device="meta") for _ in range(2))
    weights = [torch.empty(1, 4096, 1, states, device="meta") for _ in range(2)]
    A = torch.empty(channels, states, device="meta")
    plan = plan_blocks(1, *A.shape, "cpu")
    sizes = (plan.rows, plan.steps)
    _, carries = selective_scan_operator(u, delta, A, *weights, None, None, True, *sizes, True)
    assert 0 < carries.numel() <= u.numel() / 2
    _, none = selective_scan_operator(u, delta, A, *weights, None, None, True, *sizes, False)
    assert none.numel() == 0


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_operators_keep_the_rules_of_torch(groups: int, dtype: torch.dtype) -> None:
    u, delta, A, B, C, D, delta_bias = (x.to(dtype) for x in make_inputs(2, 6, 17, 3, groups))
    B, C = (x.view(2, -1, 3, 17).permute(0, 3, 1, 2) for x in (B, C))
    inputs = [x.detach().requires_grad_() for x in (u.mT, delta.mT, A, B, C, D, delta_bias)]
    torch.library.opcheck(selective_scan_operator, (*inputs, True, 1, 16, True))
    torch.library.opcheck(selective_scan_operator, (*inputs[:5], None, None, False, 2, 5, True))
    detached = [x.detach() for x in inputs]
    y, carries = selective_scan_operator(*detached, True, 1, 16, True)
    torch.library.opcheck(selective_scan_backward_operator, (y, *detached, True, 1, 16, carries))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiler_takes_it_whole() -> None:
    compiled = torch.compile(selective_scan, fullgraph=True)
    for shape in ((2, 12, 37), (3, 12, 300)):
        inputs, grad_y = make_inputs(*shape), torch.randn(shape)
        found, expected = run(compiled, inputs, grad_y), run(selective_scan, inputs, grad_y)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        with torch.no_grad():
            assert torch.equal(compiled(*inputs), expected["y"])


# By halves, the form for GPUs, on the CPU


@pytest.mark.parametrize("length", range(1, 20))
def test_both_forms_of_the_recurrence_agree(length: int) -> None:
    torch.manual_seed(length)
    decays, values = torch.rand(length, 3, dtype=torch.float64), torch.randn(length, 3, dtype=torch.float64)
    decays[0] = float("nan")  # nobody reads it
    for by_steps, by_halves in ((advance_by_steps, advance_by_halves), (retreat_by_steps, retreat_by_halves)):
        one, other = values.clone(), values.clone()
        by_steps(decays.unbind(0), one.unbind(0))
        by_halves(decays, other)
        torch.testing.assert_close(one, other)
        assert length == 1 or not torch.equal(one, values)


@pytest.mark.parametrize("regime", REGIMES)
def test_blocks_by_halves_give_the_same(regime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_block, "runs_by_halves", lambda device_type: True)
    monkeypatch.setattr(scan_layout, "_STEP_VALUES", 200)
    monkeypatch.setattr(scan_layout, "_BLOCK_VALUES", 200 * 50)
    assert 1 < plan_blocks(3, 12, 8, "cpu").count(137) < 9
    assert_matches_the_loop(make_inputs(3, 12, 137, regime=regime))


def test_a_gpu_takes_few_large_blocks() -> None:
    plan = plan_blocks(1, 384, 8, "cuda")
    assert runs_by_halves("cuda")
    assert plan.count(4096) == 1
    assert not runs_by_halves("cpu")


# mamba-ssm


@pytest.fixture
def _fresh_search():
    find_mamba_scan.cache_clear()
    yield
    find_mamba_scan.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, interface: ModuleType | None) -> None:
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)


@pytest.mark.usefixtures("_fresh_search")
def test_without_mamba_ssm_the_note_says_so_where_it_could_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mamba_ssm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[-1:])
    assert scan_backend("cuda") == scan_backend("cpu") == scan_backend("meta") == "pytorch"
    assert fallback_note("cuda") == "selective scan: PyTorch (mamba-ssm is not installed)"
    assert fallback_note("cpu") == fallback_note("meta") == "selective scan: PyTorch (mamba-ssm's kernel needs CUDA)"


@pytest.mark.usefixtures("_fresh_search")
def test_a_broken_mamba_ssm_falls_back_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ModuleType("mamba_ssm.ops.selective_scan_interface"))
    assert scan_backend("cuda") == "pytorch"
    assert fallback_note("cuda").startswith("selective scan: PyTorch (mamba-ssm cannot be imported: ")
    assert "selective_scan_fn" in fallback_note("cuda")


@pytest.mark.usefixtures("_fresh_search")
def test_mamba_ssm_runs_cuda_alone_and_gets_the_dtypes_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    seen = []

    def selective_scan_fn(*args: Tensor, **kwargs: Tensor | bool) -> Tensor:
        seen.extend([*args, *kwargs.values()])
        return args[0]

    interface.selective_scan_fn = selective_scan_fn  # type: ignore[attr-defined]
    install(monkeypatch, interface)
    assert scan_backend("cuda") == "mamba_ssm"
    assert fallback_note("cuda") == ""
    inputs = make_inputs(1, 4, 9)
    selective_scan(*inputs)
    assert scan_backend("cpu") == "pytorch"
    assert not seen
    run_mamba_scan(inputs[0].bfloat16(), *(x.half() for x in inputs[1:]), True)
    half, single = torch.bfloat16, torch.float32
    assert [x.dtype for x in seen[:-1]] == [half, half, single, half, half, single, single]
    assert seen[-1] is True


# Mistakes


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("delta", torch.zeros(2, 12, 36), r"delta of this selective scan must be \(2, 12, 37\), got \(2, 12, 36\)"),
        ("A", torch.zeros(11, 8), r"A of this selective scan must be \(12, 8\)"),
        ("B", torch.zeros(2, 7, 37), r"B of this selective scan must be \(2, 1, 8, 37\), got \(2, 1, 7, 37\)"),
        ("B", torch.zeros(2, 5, 8, 37), "12 channels cannot be split into 5 groups"),
        ("B", torch.zeros(12, 8), r"takes u \(B, I, L\)"),
        ("C", torch.zeros(2, 8, 1), r"C of this selective scan must be"),
        ("D", torch.zeros(1), r"D of this selective scan must be \(12,\)"),
        ("A", torch.zeros(12, 8, dtype=torch.complex64), "A of a selective scan must be real floating point"),
        ("u", torch.zeros(2, 12, 0), "at least one of everything"),
        (
            "delta",
            torch.zeros(2, 12, 37, device="meta"),
            "delta of this selective scan must be on cpu, as u is, got meta",
        ),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Tensor, message: str) -> None:
    inputs = dict(zip(NAMES, make_inputs(2, 12, 37), strict=True))
    with pytest.raises(ValueError, match=message):
        selective_scan(**{**inputs, name: value})


def test_the_package_offers_the_function_itself() -> None:
    assert scan_package_name is selective_scan
