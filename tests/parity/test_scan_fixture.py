"""The selective scan against numeric answers of a plain loop with the semantics of mamba-ssm's reference."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from atlasbench.models.layers import selective_scan
from atlasbench.models.layers.scan.reference import selective_scan_reference

FIXTURE = Path(__file__).parents[1] / "fixtures" / "selective_scan.safetensors"
INPUTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_reference])
@pytest.mark.parametrize("regime", ["", "stiff.", "long."], ids=["mild", "stiff", "long"])
def test_outputs_and_gradients_are_the_given_ones(regime: str, scan) -> None:
    tensors = load_file(FIXTURE)
    inputs = {name: tensors[regime + name].float().requires_grad_() for name in INPUTS}
    y = scan(*inputs.values(), delta_softplus=True)
    y.backward(tensors[f"{regime}grad_output"].float())
    assert largest_error(y.detach(), tensors[f"{regime}output"]) < 2e-6
    for name, tensor in inputs.items():
        assert tensor.grad is not None
        assert largest_error(tensor.grad, tensors[f"{regime}grad_{name}"]) < 2e-6, name
