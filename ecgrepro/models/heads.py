"""Heads on the latent: projections to the shared space, and the scalar risk."""

from torch import Tensor, nn

from ecgrepro.models.layers import BatchwiseDropout


class ProjectionHead(nn.Sequential):
    """Linear - ReLU - Linear into the space that ECGs and texts share.

    The study has ECG 512-256-128 and text 768-256-128; here the shared space has 512 dimensions by
    default. The output is not normalised: the losses do that.
    """

    def __init__(self, n_in: int, hidden: int = 256, out: int = 512) -> None:
        super().__init__(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, out))


class RiskHead(nn.Module):
    """Batch-wise dropout - Linear - ReLU - batch-wise dropout - Linear, giving one log hazard per subject.

    No last bias: a constant added to all log hazards changes nothing in a Cox model.
    """

    def __init__(self, n_in: int = 512, hidden: int = 64, dropout: float = 0.25) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_in)
        self.drop_in = BatchwiseDropout(dropout)
        self.hidden = nn.Linear(n_in, hidden)
        self.drop_hidden = BatchwiseDropout(dropout)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map the latent ``(B, n_in)`` to log hazards ``(B,)``: flat, never ``(B, 1)`` (R-1)."""
        hidden = self.hidden(self.drop_in(self.norm(z))).relu()
        return self.score(self.drop_hidden(hidden)).squeeze(-1)
