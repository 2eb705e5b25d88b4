"""What every backbone here offers, in timm's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atlasbench.models.layers.linear import Classifier

Output = TypeVar("Output")


class Backbone(nn.Module):
    """Images (B, in_chans, H, W) to logits (B, num_classes), by `forward_features`, `pool` and `head`.

    A subclass makes its layers, then calls `make_head`, and says how its layers start in `init_layer`.

    Attributes:
        num_classes: Length of the logits; 0 for features.
        num_features: Channels of the features.
        head: The last layer; the identity where there are no classes.
        grad_checkpointing: Whether blocks are recomputed in the backward pass instead of keeping their activations.
    """

    head: nn.Module

    def __init__(self, *, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = num_features
        self.num_classes = num_classes
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) images to (B, num_classes) logits."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Everything before pooling and the classifier."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What `forward_features` gives to (B, num_classes) logits, or to (B, num_features) if `pre_logits`."""
        x = self.pool(x)
        if pre_logits:
            return x
        logits: Tensor = self.head(x)
        return logits

    def pool(self, x: Tensor) -> Tensor:
        """What `forward_features` gives to (B, num_features), ready for the classifier."""
        raise NotImplementedError

    def init_layer(self, module: nn.Module) -> None:
        """Give one layer its first values; layers that keep torch's are left alone."""
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def make_head(self) -> nn.Module:
        """A classifier for `num_classes`, or the identity where there are none."""
        return Classifier(self.num_features, self.num_classes) if self.num_classes > 0 else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new last layer in, for other classes; 0 for features."""
        self.num_classes = num_classes
        weight = next(self.parameters())
        self.head = self.make_head().to(device=weight.device, dtype=weight.dtype)
        self.head.apply(self.init_layer)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute every block in the backward pass instead of keeping its activations."""
        self.grad_checkpointing = enable

    def run_block(self, block: Callable[..., Output], *arguments: Any) -> Output:
        """Call a block, to be recomputed in the backward pass where that was asked for."""
        if not (self.grad_checkpointing and torch.is_grad_enabled()):
            return block(*arguments)
        if torch.compiler.is_compiling():  # compiled, running statistics move once by themselves
            return cast("Output", checkpoint(block, *arguments, use_reentrant=False))
        contexts = partial(_recomputing, block)
        return cast("Output", checkpoint(block, *arguments, use_reentrant=False, context_fn=contexts))

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone: biases and norms."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim <= 1}


def drop_path_rates(highest: float, num_blocks: int) -> list[float]:
    """Drop path of each block: from 0 to the highest in equal steps."""
    return [highest * block / max(num_blocks - 1, 1) for block in range(num_blocks)]


def _recomputing(
    block: Callable[..., object],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of a block's forward pass, and of the one that is repeated in the backward pass."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: Callable[..., object]) -> Iterator[None]:
    """Let BatchNorms move copies of their running statistics: the same images have moved these already."""
    modules = block.modules() if isinstance(block, nn.Module) else ()
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers(recurse=False)]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
