"""U-Net and D-Unet written plainly in PyTorch: the yardstick for what this project's cost. Imports PyTorch only."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

LEVELS, DROPOUT = 5, 0.2  # as in models.py
BN = {"eps": 1e-3, "momentum": 0.1}  # Keras counts the momentum from the other side


class Plain(nn.Module):
    """`unet` or `dunet`: (batch, 1, size, size) grey levels 0..255 -> probabilities of the same shape, float32.

    Modules are in the order of Keras' layers, so that weights can be copied one by one.
    """

    def __init__(self, name: str, n_filters: int, levels: int = LEVELS) -> None:
        super().__init__()
        is_dunet = name == "dunet"
        widths = [n_filters * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            block(before, width, is_dunet) for before, width in zip([1, *widths], widths, strict=False)
        )
        self.between = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(DROPOUT if is_dunet else 0))
        self.up = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose2d(2 * width, width, 2, stride=2), block(2 * width, width, is_dunet)])
            for width in reversed(widths[:-1])
        )
        self.blood = nn.Conv2d(n_filters, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, skips = x / 255, []
        for level, each in enumerate(self.down):
            if level:
                skips.append(x)
                x = self.between(x)
            x = each(x)
        for (enlarge, each), skip in zip(self.up, reversed(skips), strict=True):
            x = each(torch.cat([enlarge(x), skip], 1))
        return torch.sigmoid(self.blood(x).float())


def block(before: int, width: int, norm_after_first: bool) -> nn.Sequential:
    """Conv-BN-ReLU twice, or the first time without BN."""
    parts: list[nn.Module] = []
    for channels, norm in ((before, norm_after_first), (width, True)):
        parts += [nn.Conv2d(channels, width, 3, padding=1), *[nn.BatchNorm2d(width, **BN)] * norm, nn.ReLU()]
    return nn.Sequential(*parts)


def parameters(network: nn.Module) -> tuple[int, int]:
    """All and trainable parameters, as Keras counts them: running means and variances are among all."""
    trainable = sum(each.numel() for each in network.parameters())
    running = sum(each.numel() for name, each in network.named_buffers() if "running" in name)
    return trainable + running, trainable


def dice_bce(prob: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The loss of the recipe `fast`: soft Dice pooled over the batch (smooth 1) + binary cross-entropy."""
    dice = (2 * (prob * truth).sum() + 1) / (prob.sum() + truth.sum() + 1)
    return 1 - dice + nn.functional.binary_cross_entropy(prob, truth)


def training(name: str, n_filters: int, bf16: bool) -> tuple[dict, Callable[[np.ndarray, np.ndarray, int], None]]:
    """Facts of network and device, and a function that trains `steps` steps on uint8 (batch, size, size, 1)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Plain(name, n_filters).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7)

    def train(images: np.ndarray, masks: np.ndarray, steps: int) -> None:
        for _ in range(steps):
            x, truth = (torch.from_numpy(each).to(device).permute(0, 3, 1, 2).float() for each in (images, masks))
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                prob = network(x)
            loss = dice_bce(prob, truth)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    computed_on = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"parameters": parameters(network)[0], "device": computed_on}, train
