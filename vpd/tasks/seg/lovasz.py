"""The Lovász-softmax loss (Berman et al. 2018): the Jaccard index of each class, extended to probabilities.

Owns the loss and how its weights are found. It is taken as Meta Prompts takes it
(docs/methods/meta_prompts.md#segmentation-losses): over all labelled pixels of the batch together, averaged over the
classes that the label shows.

For one class, pixels are sorted by their error, the largest first; the weight of a pixel is by how much the Jaccard
loss grows when it joins those before it in being wrong. Weights are constants of the order, so they are found without a
gradient and in closed form: differences of two almost equal quotients would lose most of their digits in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def lovasz_softmax(
    logits: torch.Tensor, label: torch.Tensor, ignore_index: int, shown: Sequence[int] | None = None
) -> torch.Tensor:
    """The loss of a batch.

    Args:
        logits: `[B, C, H, W]`.
        label: int64 `[B, H, W]`, classes or `ignore_index`.
        shown: the classes that the label shows, all of them and no other; None: they are read from it, for which the
            host waits for the device.

    Returns:
        Scalar float32: 0 for a perfect prediction, at most 1; 0 where no pixel is labelled.
    """
    probability = logits.float().softmax(dim=1)
    labelled = label != ignore_index  # [B, H, W]
    total = probability.sum() * 0  # keeps the graph where no class is present
    if shown is None:
        shown = [index for index in label.unique().tolist() if index != ignore_index]
    for index in shown:
        member = label == index
        # Ignored pixels have no error: they come last, where their weight is multiplied by 0.
        error = torch.where(member, 1 - probability[:, index], probability[:, index]) * labelled  # [B, H, W]
        weight = jaccard_weights(error.detach().flatten(), member.flatten())
        total = total + (error.flatten() * weight).sum()
    return total / max(len(shown), 1)


@torch.no_grad()
def jaccard_weights(error: torch.Tensor, member: torch.Tensor) -> torch.Tensor:
    """Growth of the Jaccard loss at each pixel, in the order of the errors.

    Args:
        error: float `[P]`.
        member: bool `[P]`, whether the class's pixel; at least one.

    Returns:
        float32 `[P]`. Missing a pixel of the class takes it from the intersection and leaves the union; adding one of
        another class widens the union.
    """
    order = error.argsort(descending=True)
    missed = member[order]
    left = missed.sum() - missed.cumsum(0)  # intersection after each pixel
    union = (missed.sum() + (~missed).cumsum(0)).double()
    growth = torch.where(missed, 1 / union, left / (union * (union - 1)).clamp(min=1))
    return torch.empty_like(error).scatter_(0, order, growth.to(error.dtype))
