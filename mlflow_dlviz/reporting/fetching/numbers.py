"""The numbers behind the pictures, of the visuals that a report draws anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow_dlviz.reporting.bundle import Numbers
from mlflow_dlviz.reporting.fetching.pictures import read_folders
from mlflow_dlviz.reporting.fetching.source import Source
from mlflow_dlviz.reporting.pictures import plan_frames, thin
from mlflow_dlviz.store.artifacts import Place, fetch_artifacts
from mlflow_dlviz.store.load import numbers_folder, parse_numbers, unpack_bytes
from mlflow_dlviz.store.names import is_recorded
from mlflow_dlviz.visual import Arrays

VISUALS = ("probabilities",)
MAX_EPOCHS = 20
MAX_FILES = 2400
# Of a thousand classes one epoch takes 1.6 MB.
MAX_BYTES = 400 * 2**20

_KIND = "numbers"

Paths = dict[tuple[str, str], dict[int, str]]
"""By (run id, leaf), then by epoch."""


def read_numbers(source: Source) -> dict[str, dict[str, Numbers]]:
    """``{run_id: {visual: {leaf: {epoch: arrays}}}}`` of the runs that have any."""
    found: dict[str, dict[str, Numbers]] = {}
    for visual in VISUALS:
        for run_id, numbers in _of_visual(source, visual).items():
            found.setdefault(run_id, {})[visual] = numbers
    return found


def _of_visual(source: Source, visual: str) -> dict[str, Numbers]:
    paths = _listed(source, visual)
    last = [(run_id, each[max(each)]) for (run_id, _), each in paths.items()]
    arrays, failed = _read(source, last)
    largest = max((sum(array.nbytes for array in each.values()) for each in arrays.values()), default=1)
    planned = _planned(source, paths, visual, most=min(MAX_FILES, MAX_BYTES // max(1, largest)))
    wanted = [(run_id, path) for (run_id, _), each in planned.items() for path in each.values()]
    more, also_failed = _read(source, [place for place in wanted if place not in arrays and place not in failed])
    arrays.update(more)
    failed.update(also_failed)
    if failed:
        source.problems.append(
            f"{len(failed)} file{'s' * (len(failed) > 1)} of numbers ({visual}) could not be read: "
            f"{next(iter(failed.values()))}"
        )
    return _nested(planned, arrays)


def _nested(planned: Paths, arrays: Mapping[Place, Arrays]) -> dict[str, Numbers]:
    numbers: dict[str, dict[str, dict[int, Arrays]]] = {}
    for (run_id, leaf), each in sorted(planned.items()):
        found = {epoch: arrays[run_id, path] for epoch, path in each.items() if (run_id, path) in arrays}
        if found:
            numbers.setdefault(run_id, {})[leaf] = found
    return dict(numbers)


def _listed(source: Source, visual: str) -> Paths:
    ours = [run.info.run_id for run in source.runs if is_recorded(run.data.tags)]
    folder = numbers_folder(visual)
    top = read_folders(source, [(run_id, folder) for run_id in ours], "numbers")
    leaves = [(run_id, path[:-1]) for (run_id, _), paths in top.items() for path in paths if path.endswith("/")]
    found: Paths = {}
    for (run_id, _), paths in read_folders(source, leaves, "numbers").items():
        for path in paths:
            if (parsed := parse_numbers(path, visual)) is not None:
                leaf, epoch = parsed
                found.setdefault((run_id, leaf), {})[epoch] = path
    return found


def _planned(source: Source, paths: Paths, visual: str, *, most: int) -> Paths:
    capped = {place: thin(sorted(each), MAX_EPOCHS) for place, each in paths.items()}
    steps = plan_frames(capped, most)
    total, left = sum(map(len, paths.values())), sum(map(len, steps.values()))
    if left < total:
        source.notes.append(
            f"{left} of {total} frames of the numbers behind {visual} are used: epochs were thinned out evenly."
        )
    return {place: {epoch: paths[place][epoch] for epoch in each} for place, each in steps.items() if each}


def _read(source: Source, places: Sequence[Place]) -> tuple[dict[Place, Arrays], dict[Place, str]]:
    kept = source.kept(_KIND, places, changing=True)
    fetched = fetch_artifacts(
        source.client,
        [place for place in places if place not in kept],
        # Unpacked to be told at once what is damaged; kept as it came.
        convert=lambda content: (content, unpack_bytes(content)),
        what="file of numbers",
        uris=source.uris,
        jobs=source.reading.jobs,
        progress=source.told("numbers"),
    )
    good = {place: each.data for place, each in fetched.items() if each.data is not None}
    source.keep(_KIND, {place: content for place, (content, _) in good.items()}, changing=True)
    arrays = {place: unpack_bytes(content) for place, content in kept.items()}
    arrays.update((place, unpacked) for place, (_, unpacked) in good.items())
    return arrays, {place: each.reason for place, each in fetched.items() if each.data is None}
