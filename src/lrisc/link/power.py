"""How a frame's power is shared among embeddings."""

from torch import Tensor


def embedding_power(counts: Tensor) -> Tensor:
    """Power of each embedding's symbols where it follows the rate map, p_i = k_i · Σk / Σk².

    An embedding that gets twice the symbols then gets them at twice the power. The mean over all
    symbols stays 1, and a receiver that has the rate map knows every p_i.

    Args:
        counts: k_i, complex symbols per embedding, (..., n).

    Returns:
        p_i, float32 (..., n); 0 where nothing is sent.
    """
    counts = counts.float()
    total = counts.sum(-1, keepdim=True)
    return counts * total / counts.square().sum(-1, keepdim=True).clamp(min=1.0)
