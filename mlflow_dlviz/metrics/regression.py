"""The tally of values: how far numeric predictions are from their targets, over a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mlflow_dlviz.metrics.counting import (
    Shape,
    Tally,
    add_at,
    compatible,
    every_nth,
    over_replicas,
    shape_of,
    shown_rows,
)
from mlflow_dlviz.metrics.formulas import OF_VALUES, Formulas, resolve
from mlflow_dlviz.metrics.saving import restored, saved

APART = 16
"""Up to so many units are quantities of their own, each with its own spread; more are one field, with one."""

# Bins of the residuals, uniform in asinh(residual / _FINE) on ±1000 spreads; _FINE and the edges in spreads.
_RESIDUAL_BINS, _FINE, _FARTHEST = 401, 0.005, 1000.0
# Bins of the values, uniform on ±4 spreads around the centre, and one beyond each end.
_VALUE_BINS, _WIDEST = 80, 4.0
_MOST_UNITS = 65_536


def fits_values(y_true_shape: Shape | None, y_pred_shape: Shape | None) -> str | None:
    """Why targets and predictions cannot be compared value by value, in a sentence; None if they can.

    They are of one shape, (N, …, D), but that a last size of 1 may be missing in either.
    """
    if y_true_shape is None or y_pred_shape is None:
        return "the shape of the targets or of the predictions is not known"
    y_true, y_pred = tuple(y_true_shape), tuple(y_pred_shape)
    if not y_pred or not y_true or not compatible(_with_units(y_true, y_pred), _with_units(y_pred, y_true)):
        return f"targets of shape {y_true} and predictions of shape {y_pred} are not one for one"
    units = _with_units(y_pred, y_true)[-1]
    if units is None:
        return f"the last size of predictions {y_pred} is not known"
    if units > _MOST_UNITS:
        return f"{units} outputs are more than the {_MOST_UNITS} whose sums fit in memory"
    return None


def _with_units(shape: Shape, other: Shape) -> Shape:
    """The shape with a last axis of units: (N,) is (N, 1), and so is (N, T) beside (N, T, 1)."""
    return (*shape, 1) if len(shape) == 1 or (len(other) == len(shape) + 1 and other[-1] == 1) else shape


def summarise_values(scores: Any, formulas: Formulas | None = None) -> dict[str, float]:
    """R², MAE and RMSE by name: the plain mean of ``r2``, ``mae`` and ``rmse`` (D,) over the D outputs."""
    return {name: float(np.mean(scores[name])) for name in (formulas or Formulas()).among(OF_VALUES)}


@keras.saving.register_keras_serializable("mlflow_dlviz")
class RegressionTally(Tally):
    """Sums that give R², MAE and RMSE of a whole data set exactly, and histograms of residuals and values.

    metrics: which of "r2", "mae" and "rmse" ``result`` gives.
    centre, scale: D numbers each, about the mean and the standard deviation of the targets, the units of the
        histograms' bins; None for those of the first batch, over all replicas. Where they are 0, no bin being
        as wide as that, the greatest of the others, or a tenth of the centre, or 1. More than 16 outputs share
        one centre and one scale.
    from_logits: whether predictions are logits of values in [0, 1].
    weighted: as for :class:`ClassificationTally`.

    Targets and predictions are (N, …, D): the last axis are the D outputs, all others samples. Sums are
    float64, of errors and of targets less a shift, which is the first target counted. That shift being one of
    the data, its square is at most N times their variance, so that R² loses at most N · 10^-16, in practice
    nothing, of targets with any mean. All replicas of a distribution strategy agree on one shift.

    R² is scikit-learn's ``r2_score``: of constant targets it is 1 if all predictions are right, or else 0.

    Residuals, prediction less target, are counted in 401 bins uniform in asinh(residual / 0.005 spreads): near
    0 they are 0.0003 spreads wide, far from it 7 % of the residual, out to 1000 spreads, farther ones at the
    ends. Pairs of target and prediction are counted in 80 by 80 bins of 0.1 spreads, on 4 spreads to either
    side of the centre, and one bin beyond each end. Outputs are counted together. Of outputs with positions
    histograms take every n-th, about 4,096 values of each sample.

    A sample with a NaN or infinite target or prediction is skipped.
    """

    def __init__(
        self,
        metrics: Any = None,
        *,
        centre: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        from_logits: bool = False,
        weighted: bool = False,
        name: str = "regression_tally",
        dtype: Any = None,
    ) -> None:
        super().__init__(weighted=weighted, name=name, dtype=dtype)
        if (centre is None) != (scale is None):
            raise ValueError(f"RegressionTally(centre={centre!r}, scale={scale!r}): expected both or neither")
        self.formulas = resolve(metrics)
        self.centre = None if centre is None else [float(value) for value in centre]
        self.scale = None if scale is None else [float(value) for value in scale]
        self.from_logits = from_logits

    def build(self, y_true_shape: Shape | None, y_pred_shape: Shape | None) -> None:
        """Check the shapes, and make the state if it is not there."""
        reason = fits_values(y_true_shape, y_pred_shape)
        if reason or y_true_shape is None or y_pred_shape is None:
            raise ValueError(f"{self.name}: {reason}")
        if self.built:
            return
        units = int(_with_units(tuple(y_pred_shape), tuple(y_true_shape))[-1] or 0)
        if self.centre is not None and not len(self.centre) == len(self.scale or ()) == units:
            raise ValueError(f"{self.name}: {len(self.centre)} centres for {units} outputs, expected one for each")
        self._add_sums(units)
        self._add_grid(units)
        self.built = True

    def _add_sums(self, units: int) -> None:
        self.samples = self.add_sum("samples", (), "float64")
        for name in ("absolute", "squared", "shifted", "shifted_squared"):
            setattr(self, name, self.add_sum(name, (units,), "float64"))
        self.skipped = self.add_sum("skipped", (), "int64")
        self.residuals = self.add_sum("residuals", (_RESIDUAL_BINS,))
        self.pairs = self.add_sum("pairs", (_VALUE_BINS + 2, _VALUE_BINS + 2))

    def _add_grid(self, units: int) -> None:
        # The same in every replica, so not summed over them; kept from epoch to epoch.
        def same(name: str, shape: tuple[int, ...]) -> Any:
            first = "only_first_replica"
            return self.add_variable(shape, "zeros", dtype="float64", aggregation=first, name=name)

        self._begun, self._shift = same("begun", ()), same("shift", (units,))
        self._centre, self._scale = same("centre", (units,)), same("scale", (units,))
        self._kept = (self._begun, self._shift, self._centre, self._scale)

    def reset_state(self) -> None:
        """Count from zero; shift and bins stay as they are, so that epochs compare."""
        for variable in self.variables:
            if not any(variable is kept for kept in self._kept):
                variable.assign(ops.zeros(variable.shape, variable.dtype))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; y_true, y_pred: (N, …, D) or (N, …); sample_weight: None, or of samples or positions."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self.build(shape_of(y_true), shape_of(y_pred))
        units = self._shift.shape[0]
        true = ops.reshape(ops.cast(y_true, "float64"), (-1, units))
        found = ops.reshape(ops.cast(y_pred, "float64"), (-1, units))
        found = ops.sigmoid(found) if self.from_logits else found
        valid = ops.all(ops.logical_and(ops.isfinite(true), ops.isfinite(found)), axis=-1)
        shape = _with_units(tuple(y_pred.shape), tuple(y_true.shape))
        positions = tuple(ops.shape(y_pred)[: len(shape) - 1])
        weight, skipped = self.weigh(valid, sample_weight, positions, shown_rows(y_pred, positions))
        self.skipped.assign_add(skipped)
        weight = ops.cast(weight, "float64")
        counted = ops.not_equal(weight, 0)
        here = ops.expand_dims(counted, -1)
        true, found = ops.where(here, true, 0), ops.where(here, found, 0)
        self._begin(true, counted)
        self._add_to_sums(true, found, weight)
        step = every_nth(shape)
        self._add_to_histograms(true[::step], found[::step], weight[::step])

    def _begin(self, true: Any, counted: Any) -> None:
        """Choose the shift, the centre and the scale, if nothing was counted before."""
        share = ops.cast(ops.expand_dims(counted, -1), "float64")
        any_here = ops.cast(ops.any(counted), "float64")
        first = ops.take(true, ops.argmax(ops.cast(counted, "int32")), axis=0) * any_here
        sums = over_replicas(any_here, first, ops.sum(share), ops.sum(true * share, axis=0))
        replicas, firsts, rows, total = sums
        shift, mean = firsts / ops.maximum(replicas, 1), total / ops.maximum(rows, 1)
        deviation = (true - mean) * share
        [squares] = over_replicas(ops.sum(deviation * deviation, axis=0))
        centre, scale = self._grid(mean, ops.sqrt(squares / ops.maximum(rows, 1)))
        fresh = ops.logical_and(ops.equal(self._begun, 0), replicas > 0)
        for variable, value in ((self._shift, shift), (self._centre, centre), (self._scale, scale)):
            variable.assign(ops.where(fresh, value, variable))
        self._begun.assign(ops.where(fresh, ops.ones_like(rows), self._begun))

    def _grid(self, mean: Any, deviation: Any) -> tuple[Any, Any]:
        """The centre and the scale of the bins, from those of the first batch unless they were given."""
        if self.centre is not None:
            mean, deviation = ops.array(self.centre, "float64"), ops.array(self.scale, "float64")
        if self._shift.shape[0] > APART:
            spread = ops.sqrt(ops.mean(deviation**2) + ops.mean((mean - ops.mean(mean)) ** 2))
            mean, deviation = ops.full_like(mean, ops.mean(mean)), ops.full_like(mean, spread)
        largest = ops.max(deviation)
        coarse = ops.where(ops.equal(mean, 0), ops.ones_like(mean), ops.absolute(mean) / 10)
        other = ops.where(largest > 0, ops.full_like(mean, largest), coarse)
        return mean, ops.where(deviation > 0, deviation, other)

    def _add_to_sums(self, true: Any, found: Any, weight: Any) -> None:
        column = ops.expand_dims(weight, -1)
        error, shifted = found - true, true - self._shift
        self.samples.assign_add(ops.sum(weight))
        self.absolute.assign_add(ops.sum(column * ops.absolute(error), axis=0))
        self.squared.assign_add(ops.sum(column * error * error, axis=0))
        self.shifted.assign_add(ops.sum(column * shifted, axis=0))
        self.shifted_squared.assign_add(ops.sum(column * shifted * shifted, axis=0))

    def _add_to_histograms(self, true: Any, found: Any, weight: Any) -> None:
        weight = ops.reshape(ops.broadcast_to(ops.expand_dims(weight, -1), ops.shape(true)), (-1,))
        half = float(np.arcsinh(_FARTHEST / _FINE))
        bent = ops.arcsinh((found - true) / self._scale / _FINE)
        places = _bin_of(bent, -half, half, _RESIDUAL_BINS)
        add_at(self.residuals, places, weight)
        wide = _WIDEST * (1 + 2 / _VALUE_BINS)
        rows, columns = (
            _bin_of((values - self._centre) / self._scale, -wide, wide, _VALUE_BINS + 2)
            for values in (true, found)
        )
        add_at(self.pairs, rows * (_VALUE_BINS + 2) + columns, weight)

    def result(self) -> dict[str, Any]:
        """R², MAE and RMSE by name, each a float64 scalar; {} before the first batch."""
        if not self.built:
            return {}
        parts = dict(zip(OF_VALUES, self._errors(ops), strict=True))
        return {name: ops.mean(parts[name]) for name in self.formulas.among(OF_VALUES)}

    def _errors(self, xp: Any) -> tuple[Any, Any, Any]:
        """R², MAE and RMSE of each output, (D,)."""
        names = ("samples", "absolute", "squared", "shifted", "shifted_squared")
        read = ops.convert_to_numpy if xp is np else ops.convert_to_tensor
        samples, absolute, squared, shifted, shifted_squared = (read(getattr(self, name)) for name in names)
        count = xp.where(samples > 0, samples, 1.0)
        total = xp.maximum(shifted_squared - shifted * shifted / count, 0)
        explained = 1 - squared / xp.where(total > 0, total, 1.0)
        constant = xp.where(xp.equal(squared, 0) & (samples > 0), 1.0, 0.0)
        return xp.where(total > 0, explained, constant), absolute / count, xp.sqrt(squared / count)

    def scores(self) -> dict[str, np.ndarray]:
        """What was summed, as arrays; {} before the first batch.

        samples, skipped: (); r2, mae, rmse, mean, std: (D,), the last two of the targets; residuals: (401,)
        values by residual, residual_edges (402,); pairs: (82, 82) values by target and prediction, first and
        last beyond pair_edges (81,); edges are in the targets' unit, or, ``in_spreads`` () being True,
        in units of each output's spread.
        """
        if not self.built:
            return {}
        names = ("samples", "skipped", "residuals", "pairs")
        counts = {name: ops.convert_to_numpy(getattr(self, name)) for name in names}
        parts = dict(zip(OF_VALUES, map(np.asarray, self._errors(np)), strict=True))
        return {**counts, **parts, **self._moments(), **self._edges()}

    def _moments(self) -> dict[str, np.ndarray]:
        states = self.samples, self.shifted, self.shifted_squared, self._shift
        samples, shifted, squares, shift = (ops.convert_to_numpy(state) for state in states)
        count = max(float(samples), 1e-300)
        variance = np.maximum(squares / count - (shifted / count) ** 2, 0)
        return {"mean": shift + shifted / count, "std": np.sqrt(variance)}

    def _edges(self) -> dict[str, np.ndarray]:
        centre, scale = ops.convert_to_numpy(self._centre), ops.convert_to_numpy(self._scale)
        shared = bool((centre == centre[0]).all() and (scale == scale[0]).all())
        at, unit = (centre[0], scale[0]) if shared else (0.0, 1.0)
        half = np.arcsinh(_FARTHEST / _FINE)
        return {
            "residual_edges": unit * _FINE * np.sinh(np.linspace(-half, half, _RESIDUAL_BINS + 1)),
            "pair_edges": at + unit * np.linspace(-_WIDEST, _WIDEST, _VALUE_BINS + 1),
            "in_spreads": np.asarray(not shared),
        }

    def get_config(self) -> dict[str, Any]:
        """What makes this tally again."""
        options = ("centre", "scale", "from_logits", "weighted")
        return super().get_config() | {"metrics": saved(self.formulas)} | {n: getattr(self, n) for n in options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RegressionTally:
        """The tally that ``get_config`` describes."""
        return cls(**{**config, "metrics": restored(config["metrics"])})


def _bin_of(values: Any, low: float, high: float, bins: int) -> Any:
    """The bin (M,) int32 of each value among equal bins, the first and the last for those beyond."""
    scaled = ops.floor((values - low) * (bins / (high - low)))
    return ops.reshape(ops.cast(ops.clip(scaled, 0, bins - 1), "int32"), (-1,))
