"""Starting weights under which signals neither fade nor grow from layer to layer.

torch's defaults shrink a signal by about a half per layer, and in evaluation mode no batch norm brings it back: a fresh
detector would answer almost the same to every scan.
"""

from __future__ import annotations

from math import sqrt

from torch import nn


def he_initialise(module: nn.Module) -> None:
    """Draw the weights of every layer that feeds a ReLU (those without bias) as He et al., ICCV 2015, equation 10.

    Layers with bias are outputs and keep what their head gave them.
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d) and layer.bias is None:
            # With a stride as wide as the kernel, each output sees every input channel once.
            nn.init.normal_(layer.weight, std=sqrt(2.0 / layer.in_channels))
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and layer.bias is None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
