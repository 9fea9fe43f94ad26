"""A report's verdict and tables as GitHub's Markdown, for a pull request, a wiki, a mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlflow_dlviz.reporting.analysis import Analysis
from mlflow_dlviz.reporting.cells import NOTHING, Cell, cut, number
from mlflow_dlviz.reporting.health import alarms
from mlflow_dlviz.reporting.health.kinds import Alarm
from mlflow_dlviz.reporting.sections import differences, table, verdict
from mlflow_dlviz.reporting.standings import Standing, standings, too_few
from mlflow_dlviz.reporting.statistics import Improvement
from mlflow_dlviz.words import count

_LONGEST = 80
_RUNS = 200
_COLUMNS = 12
_ALARMS = 30
_HOW = (
    "IQM: the mean of the middle half of the runs. Interval: bootstrap over runs, widened for few of them, from 3 "
    "runs on. Left out: what is in no figure of the group, and why."
)
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# What would begin emphasis, code, a link, mathematics, or end a cell or heading. Between letters, "_" does not.
_SPECIAL = re.compile(r"([\\`*\[\]#|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.)", re.IGNORECASE)
# What would begin a list or a rule where a line begins.
_BEGINNING = re.compile(r"^(\d{0,9})([-+.)])(?=[-\s]|$)")


def markdown(analysis: Analysis) -> str:
    """The whole text. Names from runs stand in it as they are, and mean nothing to Markdown."""
    blocks = [
        *_verdict(analysis),
        *_runs(analysis),
        *_groups(analysis),
        *_differences(analysis),
        *_health(analysis),
    ]
    return "\n\n".join([*blocks, *_left_out(analysis)]) + "\n"


def escape(text: str, longest: int = _LONGEST) -> str:
    """``text`` on one line, in which nothing is Markdown or HTML; the rest of a very long one is left away."""
    line = cut(" ".join(_printable(text).split()), longest)
    return _BEGINNING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line)).translate(_HTML)


def _strong(text: str) -> str:
    return f"**{escape(text) or NOTHING}**"


def _printable(text: str) -> str:
    # Control characters, marks of direction and halves of characters reorder or end what stands after them.
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _verdict(analysis: Analysis) -> Iterator[str]:
    told = verdict.build(analysis).values
    yield f"# {escape(told['title'], 200)}"
    if best := told["best"]:
        better = "lower" if best["smaller"] else "higher"
        who = "Best value" if analysis.single else f"Best run: {_strong(best['label'])}"
        where = f"{escape(best['goal'])} = **{best['value']}** at {best['axis']} {best['step']}"
        yield f"{who}, {where} ({better} is better)."
    if group := told["group"]:
        yield _best_group(group)
    yield "\n".join(f"- {escape(term)}: {escape(text, 300)}" for term, text in told["facts"])
    for title, lines in (("Not everything could be read", told["problems"]), ("Notes", told["notes"])):
        if lines:
            yield f"**{title}:**\n\n" + "\n".join(f"- {escape(line, 300)}" for line in lines)


def _best_group(group: dict[str, Any]) -> str:
    interval = f" ({group['interval']})" if group["interval"] else ""
    line = f"Best group: {_strong(group['label'])}, IQM of {escape(group['goal'])} = **{group['iqm']}**{interval}"
    line += f" over {group['counted']} of {count(group['total'], 'run')}"
    chance = group["chance"]
    if not chance or chance["own"]:
        return line + "."
    bounds = f" ({chance['bounds']})" if chance["bounds"] else ""
    other = f"{chance['what']} group, {escape(chance['label'])}"
    if chance["too_few"]:
        return f"{line}. Whether it beats {other}, can't be told: {chance['too_few']}."
    return f"{line}. A run of it beats one of {other}, with probability {chance['probability']}{bounds}."


def _runs(analysis: Analysis) -> Iterator[str]:
    found = table.summary(analysis)
    rows = [
        [escape(label), *map(_cell, row)]
        for label, row in zip(analysis.labels[:_RUNS], found.rows[:_RUNS], strict=True)
    ]
    yield "## Runs"
    yield _table(["Run", *map(escape, found.heads)], rows)
    if len(found.rows) > _RUNS:
        yield f"The best {_RUNS} of {len(found.rows)} runs."


def _groups(analysis: Analysis) -> Iterator[str]:
    if len(analysis.groups) < 2 or analysis.goal is None:
        return
    heads = [
        "Group",
        "Runs",
        "Left out",
        f"IQM of best {escape(analysis.goal)}",
        "95 % interval",
        "Beats the baseline",
    ]
    yield "## Groups"
    yield _table(heads, [_standing(analysis, standing) for standing in standings(analysis)[:_RUNS]])
    yield _HOW


def _standing(analysis: Analysis, standing: Standing) -> list[str]:
    interval, found = standing.interval, standing.improvement
    left_out = ", ".join(f"{number} {reason}" for reason, number in standing.left_out.items())
    return [
        escape(analysis.groups[standing.group].label),
        f"{len(standing.values)} of {standing.total}",
        escape(left_out) or NOTHING,
        number(standing.iqm).text,
        NOTHING if interval is None else f"{interval.low:.4g} to {interval.high:.4g}",
        NOTHING if found is None else _chance(found),
    ]


def _chance(found: Improvement) -> str:
    return too_few(found) or f"{found.probability:.2f} ({found.low:.2f} to {found.high:.2f})"


def _differences(analysis: Analysis) -> Iterator[str]:
    found = differences.params(analysis)
    if not found.heads:
        return
    shown = found.heads[:_COLUMNS]
    yield "## Parameters" if analysis.single else "## Parameters that differ"
    rows = zip(analysis.labels[:_RUNS], found.rows[:_RUNS], strict=True)
    yield _table(
        ["Run", *map(escape, shown)],
        [[escape(label), *map(_cell, row[:_COLUMNS])] for label, row in rows],
    )
    if len(found.heads) > _COLUMNS:
        yield f"{_COLUMNS} of {len(found.heads)} parameters."


def _health(analysis: Analysis) -> Iterator[str]:
    found = alarms.alarms(analysis)
    yield "## Health"
    if not found:
        yield "No alarm."
        return
    lines = [_alarm(analysis, alarm) for alarm in found[:_ALARMS]]
    more = [f"- and {len(found) - _ALARMS} more"] if len(found) > _ALARMS else []
    yield "\n".join([*lines, *more])


def _alarm(analysis: Analysis, alarm: Alarm) -> str:
    label = _strong(analysis.labels[alarm.places[0]])
    return f"- {label}: {escape(alarm.text, 200)}; {escape(alarm.evidence, 300)}"


def _left_out(analysis: Analysis) -> Iterator[str]:
    found = verdict.left_out(analysis.bundle.excluded)
    if not found:
        return
    yield "## Left out"
    lines = []
    for each in found:
        more = f" and {each.more} more" if each.more else ""
        lines.append(f"- {count(each.count, 'run')}, {escape(each.reason, 200)}: {_list(each.named)}{more}")
    yield "\n".join(lines)


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(escape, names))


def _cell(cell: Cell) -> str:
    return " ".join(filter(None, (escape(cell.text), escape(cell.note))))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
