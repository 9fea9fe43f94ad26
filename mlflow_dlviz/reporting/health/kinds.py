"""What can be wrong with a run, when that is said, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass

STALE_HOURS = 24
DEAD_SHARE = 0.5
VANISHED = 1e-8
VANISHED_BESIDE_OTHERS = 1e-5


@dataclass(frozen=True)
class Kind:
    """One thing that can be wrong. severity: "bad", "warn" or "note"; how: when it is said."""

    id: str
    title: str
    severity: str
    how: str


# fmt: off
KINDS = (
    Kind("not_finite", "Not a finite number", "bad",
         "a metric has a value that is NaN or infinite."),
    Kind("diverged", "Diverged", "bad",
         "the loss (on training data if that is logged) ended above its first value by half of that and by six "
         "times its noise, or lost four fifths of what it had gained; medians of the last values count."),
    Kind("failed", "Failed or killed", "bad",
         "MLflow has the run as FAILED or KILLED."),
    Kind("stale", "No sign of life", "warn",
         f"MLflow has the run as RUNNING, and it has logged nothing for {STALE_HOURS} hours before this report."),
    Kind("recording", "Recording incomplete", "warn",
         "the run’s own tag dlviz.status says that pictures or numbers could not be made or stored."),
    Kind("overfitting", "Overfitting", "warn",
         "since its best, in the first three quarters, the loss on validation data has risen by a tenth and by "
         "four times its noise, while that on training data fell."),
    Kind("gradients", "Vanishing or exploding gradients", "warn",
         f"a logged gradient norm ended below {VANISHED:g} or below {VANISHED_BESIDE_OTHERS:g} of the largest "
         "layer’s, or was once over a thousand times its median."),
    Kind("dead_units", "Dead units", "warn",
         f"over {DEAD_SHARE:.0%} of a layer’s units had no activation at all on the probe in its last frame."),
    Kind("plateau", "Plateau", "note",
         "the last half of the run bettered the goal’s best value by at most 1 % of the whole progress."),
    Kind("learning_rate", "Learning rate never changed", "note",
         "the run is on a plateau and its logged learning rate was the same throughout."),
    Kind("duplicates", "The same run again", "note",
         "all params, seeds among them, and all curves but those of time are identical."),
)
# fmt: on
"""The worst first."""

SIGNS = {"bad": "✕", "warn": "▲", "note": "○"}
"""What stands beside the colour of a severity."""

_SEVERITIES = {kind.id: kind.severity for kind in KINDS}


@dataclass(frozen=True)
class Alarm:
    """kind: the id of one of ``KINDS``; places: of the runs; text: what is wrong; evidence: the numbers."""

    kind: str
    severity: str
    places: tuple[int, ...]
    text: str
    evidence: str


def raised(kind: str, places: tuple[int, ...], text: str, evidence: str) -> Alarm:
    """An alarm of ``kind``, as grave as its kind."""
    return Alarm(kind, _SEVERITIES[kind], places, text, evidence)
