"""Which axis is time: leads come first, and what looks the other way round is refused, not turned."""

from __future__ import annotations

MOST_LEADS, FEWEST_SAMPLES = 64, 32  # of a signal; more leads of so few samples are a signal's transpose


def refuse_transposed(leads: int, samples: int, lead: str = "leads", sample: str = "samples") -> None:
    """Raise ValueError for a signal (leads, samples) that lies the other way round."""
    if leads > MOST_LEADS and samples <= FEWEST_SAMPLES:
        raise ValueError(f"it has {leads} {lead} of {samples} {sample}, so its axes are exchanged: pass its transpose")
