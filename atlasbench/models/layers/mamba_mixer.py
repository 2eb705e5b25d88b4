"""The token mixer of MambaVision: a selective scan beside a branch that only convolves.

Legend: B batch (or batch times windows), N tokens in scan order, C channels, I inner channels of one branch, S states
of a channel, R rank of the step size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlasbench.core.errors import InvalidOptionError
from atlasbench.models.layers.linear import Projection
from atlasbench.models.layers.selective_scan import selective_scan

_CHANNELS_PER_RANK = 16


class MambaMixer(nn.Module):
    """Two branches of short convolutions, one of them scanned; concatenated, not gated.

    Linear layers and convolutions start with torch's values: a model gives them its own. MambaVision's replace the slow
    decay that Mamba starts with.

    Args:
        dim: C.
        d_state: S.
        d_conv: Tokens that a convolution reads, centred on the one in hand.
        expand: Inner channels of both branches together, over C.

    Raises:
        InvalidOptionError: If the inner channels are no two equal branches.

    Source: MambaVision (arXiv:2407.08083), section 3.2; the scan is Mamba's (arXiv:2312.00752).
    """

    flops_part = "other"

    def __init__(self, dim: int, *, d_state: int = 8, d_conv: int = 3, expand: int = 1) -> None:
        super().__init__()
        if expand * dim % 2:
            raise InvalidOptionError(f"The channels of a Mamba mixer must be even, got {expand * dim}.")
        inner = expand * dim // 2
        rank = -(-dim // _CHANNELS_PER_RANK)
        self.split_sizes = (rank, d_state, d_state)
        self.in_proj = Projection(dim, 2 * inner, bias=False)  # rows: scanned branch, other branch
        self.conv1d_x = nn.Conv1d(inner, inner, d_conv, padding="same", groups=inner, bias=False)
        self.conv1d_z = nn.Conv1d(inner, inner, d_conv, padding="same", groups=inner, bias=False)
        self.x_proj = Projection(inner, sum(self.split_sizes), bias=False)
        self.dt_proj = Projection(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = Projection(2 * inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens, each with those before it and the next ones that the convolutions reach.

        Args:
            x: (B, N, C).

        Returns:
            (B, N, C).
        """
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)  # (B, I, N) each
        u, z = F.silu(self.conv1d_x(u)), F.silu(self.conv1d_z(z))
        mixed = torch.cat([self._scan(u), z], dim=1)
        out: Tensor = self.out_proj(mixed.transpose(1, 2))
        return out

    def _scan(self, u: Tensor) -> Tensor:
        """(B, I, N) to the same."""
        rank, into_state, out_of_state = self.x_proj(u.transpose(1, 2)).split(self.split_sizes, dim=-1)
        return selective_scan(
            u,
            self.dt_proj(rank).transpose(1, 2),
            -torch.exp(_at_least_float32(self.A_log)),
            into_state.transpose(1, 2),
            out_of_state.transpose(1, 2),
            _at_least_float32(self.D),
            # The bias of dt_proj enters a second time, as in the official code.
            delta_bias=_at_least_float32(self.dt_proj.bias),
            delta_softplus=True,
        )


def _at_least_float32(x: Tensor) -> Tensor:
    """Decays are powers of these values over many tokens: half precision is not enough."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
