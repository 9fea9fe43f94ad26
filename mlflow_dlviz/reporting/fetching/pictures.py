"""The pictures of the runs: listed, chosen, read and re-encoded; what was read before comes from the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from mlflow_dlviz.reporting.bundle import Frame
from mlflow_dlviz.reporting.fetching.source import Source
from mlflow_dlviz.reporting.options import Options, there_are
from mlflow_dlviz.reporting.pictures import IMAGE_BUDGET, WIDTH, embedded_size, plan_frames, shrink, within_budget
from mlflow_dlviz.store.artifacts import Fetched, Place, fetch_artifacts, list_folders
from mlflow_dlviz.store.images import FOLDER, ImageRef, has_images, pair_names

_LISTING = "listing"
_PICTURE = f"webp-{WIDTH}"

Refs = dict[tuple[str, str], dict[int, ImageRef]]
"""By (run id, key), then by step."""

Tile = tuple[str, str, int]
"""Run id, key and step."""


def read_frames(source: Source, options: Options) -> dict[str, list[Frame]]:
    """``{run_id: pictures}`` of all runs, as far as ``options`` show them and the page has room."""
    refs = _chosen(_known(source, options), options)
    steps = {place: sorted(by_step) for place, by_step in refs.items()}
    planned = plan_frames(steps, source.reading.max_frames)
    wanted = {
        (run_id, key, step): refs[run_id, key][step] for (run_id, key), each in planned.items() for step in each
    }
    drawn = _read(source, wanted)
    failed = sum(frame.webp is None for frame in drawn.values())
    if failed:
        source.problems.append(f"{failed} picture{'s' * (failed > 1)} could not be read; the tiles say why.")
    kept = _fit_budget(drawn)
    total = sum(map(len, steps.values()))
    if len(kept) < total:
        source.notes.append(
            f"{len(kept)} of {total} pictures are shown: epochs were thinned out evenly to keep the file small."
        )
    frames: dict[str, list[Frame]] = {run.info.run_id: [] for run in source.runs}
    for tile in kept:
        frames[tile[0]].append(drawn[tile])
    return frames


def _known(source: Source, options: Options) -> Refs:
    """All pictures. Raises ValueError if there are some and none is of the keys that ``options`` ask for."""
    refs = _listed(source)
    keys = {key for _, key in refs}
    if keys and not any(fnmatchcase(key, options.images) for key in keys):
        raise ValueError(
            f"images={options.images!r}: no run has such a picture; {there_are(options.images, keys, 'pictures')}"
        )
    return refs


def _listed(source: Source) -> Refs:
    folders = [(run.info.run_id, FOLDER) for run in source.runs if has_images(run.data.tags)]
    refs: Refs = {}
    for (run_id, _), paths in read_folders(source, folders, "pictures").items():
        for ref in pair_names(paths):
            refs.setdefault((run_id, ref.key), {})[ref.step] = ref
    return refs


def read_folders(source: Source, folders: Sequence[Place], what: str) -> dict[Place, list[str]]:
    """The paths in each folder, of folders with a "/"; empty where it can't be listed, which is told."""
    kept = source.kept(_LISTING, folders, changing=True)
    found = {place: content.decode().split("\0") if content else [] for place, content in kept.items()}
    listed = list_folders(
        source.client,
        [place for place in folders if place not in found],
        uris=source.uris,
        jobs=source.reading.jobs,
        progress=source.told(f"{what}: listing"),
    )
    new = {place: fetched.data for place, fetched in listed.items() if fetched.data is not None}
    source.keep(_LISTING, {place: "\0".join(paths).encode() for place, paths in new.items()}, changing=True)
    failed = {run_id: each.reason for (run_id, _), each in listed.items() if each.data is None}
    source.tell(failed, f"The list of {what}")
    return {place: found.get(place) or new.get(place, []) for place in folders}


def _chosen(refs: Refs, options: Options) -> Refs:
    return {
        (run_id, key): {step: by_step[step] for step in _steps(by_step, options)}
        for (run_id, key), by_step in refs.items()
        if fnmatchcase(key, options.images) and _steps(by_step, options)
    }


def _steps(by_step: Mapping[int, ImageRef], options: Options) -> list[int]:
    if not options.epochs:
        return sorted(by_step)
    # -1 stands for the last.
    asked = {max(by_step) if epoch == -1 else epoch for epoch in options.epochs}
    return sorted(asked.intersection(by_step))


def _read(source: Source, wanted: Mapping[Tile, ImageRef]) -> dict[Tile, Frame]:
    places = {tile: (tile[0], ref.path or ref.thumbnail_path) for tile, ref in wanted.items()}
    # A picture never changes: another one has another name.
    kept = source.kept(_PICTURE, list(places.values()), changing=False)
    fetched = fetch_artifacts(
        source.client,
        [place for place in places.values() if place not in kept],
        convert=shrink,
        what="image",
        uris=source.uris,
        jobs=source.reading.jobs,
        progress=source.told("pictures"),
    )
    good = {place: each.data for place, each in fetched.items() if each.data is not None}
    source.keep(_PICTURE, good, changing=False)
    fetched.update((place, Fetched(content)) for place, content in kept.items())
    return {tile: Frame(tile[1], tile[2], *fetched[place]) for tile, place in places.items()}


def _fit_budget(drawn: Mapping[Tile, Frame]) -> list[Tile]:
    sizes: dict[tuple[str, str], dict[int, int]] = {}
    for (run_id, key, step), frame in drawn.items():
        sizes.setdefault((run_id, key), {})[step] = embedded_size(frame.webp)
    kept = within_budget(sizes, IMAGE_BUDGET)
    return [(run_id, key, step) for (run_id, key), each in kept.items() for step in each]
