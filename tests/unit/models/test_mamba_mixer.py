"""The mixer of MambaVision against numeric answers of the official module, and against plain float64 arithmetic."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from atlasbench.core.errors import InvalidOptionError
from atlasbench.core.resolution import Resolution
from atlasbench.core.workload import Mode, Workload
from atlasbench.measure.count import count_built
from atlasbench.measure.dataless import build_without_data
from atlasbench.models.built import BuiltModel
from atlasbench.models.layers import mamba_mixer
from atlasbench.models.layers.mamba_mixer import MambaMixer

FIXTURE = Path(__file__).parents[2] / "fixtures" / "mambavision_mixer.safetensors"
SHAPES = [
    {"dim": 40, "tokens": 37},
    {"dim": 18, "tokens": 5},
    {"dim": 16, "tokens": 1},
    {"dim": 32, "tokens": 50, "d_state": 3, "d_conv": 5},
    {"dim": 10, "tokens": 11, "expand": 2},
]


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).abs().max()) / max(1.0, float(theirs.double().abs().max()))


def random_mixer(dim: int, **options: int) -> MambaMixer:
    torch.manual_seed(0)
    mixer = MambaMixer(dim, **options)
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """(B, N, I), each channel with its own centred kernel of (I, 1, width)."""
    width = weight.shape[-1]
    padded = F.pad(x, (0, 0, width // 2, width // 2))
    return sum(padded[:, tap : tap + x.shape[1]] * weight[:, 0, tap] for tap in range(width))  # type: ignore[return-value]


def mix_plainly(mixer: MambaMixer, x: Tensor) -> Tensor:
    """The mixer's arithmetic, one token after the other."""
    inner, num_states = mixer.A_log.shape
    rank = mixer.dt_proj.weight.shape[1]
    projected = x @ mixer.in_proj.weight.T
    u = F.silu(convolve(projected[..., :inner], mixer.conv1d_x.weight))
    z = F.silu(convolve(projected[..., inner:], mixer.conv1d_z.weight))
    low, into, out_of = (u @ mixer.x_proj.weight.T).split([rank, num_states, num_states], dim=-1)
    delta = F.softplus(low @ mixer.dt_proj.weight.T + 2 * mixer.dt_proj.bias)
    decay = -mixer.A_log.exp()
    state = torch.zeros(x.shape[0], inner, num_states, dtype=x.dtype)
    rows = []
    for t in range(x.shape[1]):
        step = delta[:, t, :, None]
        state = (step * decay).exp() * state + step * into[:, t, None, :] * u[:, t, :, None]
        rows.append((state * out_of[:, t, None, :]).sum(-1) + mixer.D * u[:, t])
    return torch.cat([torch.stack(rows, dim=1), z], dim=-1) @ mixer.out_proj.weight.T


def test_output_and_every_gradient_are_the_official_ones() -> None:
    tensors = load_file(FIXTURE)
    mixer = MambaMixer(40)
    state = {name.removeprefix("state."): value for name, value in tensors.items() if name.startswith("state.")}
    mixer.load_state_dict(state, strict=True)
    x = tensors["input"].float().requires_grad_()
    output = mixer(x)
    output.backward(tensors["grad_output"])
    assert x.grad is not None
    assert largest_error(output.detach(), tensors["output"]) < 1e-5
    assert largest_error(x.grad, tensors["grad_input"]) < 1e-4
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None
        assert largest_error(parameter.grad, tensors[f"grad.{name}"]) < 1e-4, name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_every_gradient_are_those_of_plain_arithmetic(shape: dict[str, int]) -> None:
    options = {name: value for name, value in shape.items() if name != "tokens"}
    mixer, plain = random_mixer(**options), random_mixer(**options).double()
    x = torch.randn(3, shape["tokens"], shape["dim"], requires_grad=True)
    x_plain = x.detach().double().requires_grad_()
    output, expected = mixer(x), mix_plainly(plain, x_plain)
    assert largest_error(output.detach(), expected.detach()) < 1e-5
    weights = torch.randn_like(output)
    output.backward(weights)
    expected.backward(weights.double())
    assert x.grad is not None
    assert x_plain.grad is not None
    assert largest_error(x.grad, x_plain.grad) < 1e-4
    for (name, parameter), reference in zip(mixer.named_parameters(), plain.parameters(), strict=True):
        assert parameter.grad is not None
        assert reference.grad is not None
        assert largest_error(parameter.grad, reference.grad) < 1e-4, name


def test_a_token_is_read_by_later_ones_and_by_the_one_before() -> None:
    mixer = random_mixer(16).eval()
    x = torch.randn(1, 12, 16)
    edited = x.clone()
    edited[:, 5] += 1
    with torch.no_grad():
        changed = (mixer(edited) - mixer(x)).abs().amax(dim=(0, 2)) > 0
    assert changed.tolist() == [False] * 4 + [True] * 8  # the convolutions are centred, the scan goes forward


def test_decays_start_at_whole_numbers_and_skips_at_one() -> None:
    mixer = MambaMixer(24, d_state=5)
    assert torch.allclose(mixer.A_log.exp(), torch.arange(1.0, 6.0).expand(12, 5))
    assert torch.equal(mixer.D, torch.ones(12))
    names = {name for name, _ in mixer.named_parameters() if name.endswith("bias")}
    assert names == {"dt_proj.bias"}


@pytest.mark.parametrize("mode", ["autocast", "pure"])
def test_decays_skips_and_step_bias_are_float32_in_bfloat16(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, torch.dtype] = {}
    scan = mamba_mixer.selective_scan

    def spy(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, **rest: Tensor) -> Tensor:
        seen.update(u=u.dtype, A=A.dtype, D=D.dtype, delta_bias=rest["delta_bias"].dtype)
        return scan(u, delta, A, B, C, D, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(mamba_mixer, "selective_scan", spy)
    mixer = random_mixer(32)
    x = torch.randn(2, 20, 32)
    exact = mixer(x)
    if mode == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            output = mixer(x)
    else:
        output = mixer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert output.dtype == torch.bfloat16
    assert seen == {"u": torch.bfloat16, "A": torch.float32, "D": torch.float32, "delta_bias": torch.float32}
    assert largest_error(output.detach(), exact.detach()) < 0.05
    output.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in mixer.parameters())


@pytest.mark.parametrize(
    ("dim", "options", "params"),
    [(768, {}, 1_228_800), (40, {}, 3960), (18, {}, 18 * 18 * 2 + 9 * (2 * 2 + 26) + 54)],
    ids=str,
)
def test_parameters_are_the_known_ones(dim: int, options: dict[str, int], params: int) -> None:
    assert sum(parameter.numel() for parameter in MambaMixer(dim, **options).parameters()) == params


def closed_form(dim: int, tokens: int, d_state: int = 8, rank: int | None = None) -> int:
    rank = -(-dim // 16) if rank is None else rank
    return tokens * dim * (4 * dim + rank + 2 * d_state + rank + 6)


def scan_flops(dim: int, tokens: int, d_state: int = 8) -> int:
    return tokens * (dim // 2) * (9 * d_state + 1)


@pytest.mark.parametrize(("dim", "tokens", "batch_size"), [(768, 9216, 1), (768, 9216, 2), (40, 37, 3), (18, 5, 1)])
def test_flops_without_the_scan_are_the_closed_form(
    dim: int, tokens: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mamba_mixer, "selective_scan", lambda u, *_, **__: u)
    with torch.device("meta"):
        mixer, x = MambaMixer(dim), torch.empty(batch_size, tokens, dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mixer(x)
    assert counter.get_total_flops() == batch_size * closed_form(dim, tokens)
    assert closed_form(768, 9216) == 22_578_462_720


class OfImage(nn.Module):
    """The mixer on the pixels of an image, in raster order."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mixer = MambaMixer(dim)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, 3)
        out: Tensor = self.mixer(tokens[..., :1].expand(-1, -1, self.dim))
        return out


@pytest.mark.parametrize("mode", Mode)
def test_counted_parts_are_projections_convolutions_and_the_scan(mode: Mode) -> None:
    dim, tokens = 48, 12 * 12
    workload = Workload(model="hand-made", resolution=Resolution(12, 12), mode=mode, device="meta")
    counts, _, notes = count_built(build_without_data(lambda: BuiltModel(model=OfImage(dim))), workload)
    times = 3 if mode is Mode.TRAIN else 1  # the backward pass of every product costs two
    first = 2 * tokens * dim**2 if mode is Mode.TRAIN else 0  # the image wants no gradient
    assert notes == ()
    assert counts.flops_by_part["other"] == times * 6 * tokens * dim
    assert counts.flops_by_part["attention"] == times * scan_flops(dim, tokens)
    assert counts.flops_by_part["projections"] == times * (closed_form(dim, tokens) - 6 * tokens * dim) - first
    assert sum(counts.flops_by_part.values()) == counts.flops


def test_branches_of_unequal_width_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"channels of a Mamba mixer must be even, got 15\."):
        MambaMixer(15)
