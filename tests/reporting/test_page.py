"""The page as a whole: what it is made of, that nothing in it runs, that all can read it."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
from browsing import contrast
from builders import HOSTILE, Elements, analysis_of, parse, run_data, series

from mlflow_dlviz.reporting import page
from mlflow_dlviz.reporting.bundle import Dataset, Excluded, Frame

OURS = {"dlviz.status": "ok"}
FRAMES = (Frame("a/b", 0, b"x"), Frame("a/b", 1, b"y"))


def eight(**told):
    """Two groups of four runs, with pictures and all that the page can show without stored numbers."""
    return [
        run_data(
            number,
            params={"lr": str(number % 2), "depth": str(number), "seed": str(number)},
            tags=OURS | {"mlflow.user": "ada"},
            histories={"val_loss": series(1, 0.5, 0.1 * number), "loss": series(1, 0.5, 0.4)},
            frames=FRAMES,
            **told,
        )
        for number in range(8)
    ]


def test_hostile_text_stays_text():
    runs = [
        run_data(
            number,
            name=text,
            params={text: text},
            histories={"loss": series(1, number), text: series(1, float("nan"))},
            tags={"mlflow.user": text, "mlflow.source.name": text, text: text},
            frames=(Frame(text, 0, None, text),),
            experiment=text,
            datasets=(Dataset(text, text, text),),
        )
        for number, text in enumerate(HOSTILE)
    ]
    parsed = parse(
        *runs,
        notes=tuple(HOSTILE),
        problems=tuple(HOSTILE),
        excluded=tuple(Excluded("id", text, text) for text in HOSTILE),
    )
    code = [attributes for tag, attributes in parsed.elements if tag == "script" and "id" not in attributes]
    assert code == [{}, {}]
    assert not [tag for tag, _ in parsed.elements if tag in ("iframe", "object", "form", "a", "base", "embed")]
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert {run["label"] for run in parsed.data()["runs"]} == set(HOSTILE)
    told = "".join(parsed.texts)
    assert all(name in told for name in HOSTILE)


def test_script_data_cannot_end_its_element():
    value = {"</script>": ["<!--", "&amp;", "\u2028"]}
    text = str(page.as_script_data(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_nothing_points_outside_the_page():
    parsed = parse(*eight())
    for tag, attributes in parsed.elements:
        assert not attributes.get("src"), tag
        assert attributes.get("href", "data:,") == "data:,"
    assert ("meta", {"charset": "utf-8"}) in parsed.elements
    policy = next(a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_the_same_data_make_the_same_page():
    runs = eight()
    assert page.render(analysis_of(*runs, generated=5.0)) == page.render(analysis_of(*runs, generated=5.0))
    assert "1970-01-02 00:00 UTC" in page.render(analysis_of(*runs, generated=86400))
    assert page.generated_now({"SOURCE_DATE_EPOCH": "86400"}, 1.0) == 86400
    assert page.generated_now({}, 1.0) == 1.0


def test_each_section_is_shown_or_says_why_not():
    parsed = parse(*eight())
    there = {attributes["id"] for tag, attributes in parsed.elements if tag == "section"}
    buttons = [a["data-go"] for tag, a in parsed.elements if "data-go" in a]
    names = {part.__name__.rsplit(".", 1)[-1] for part in page.SECTIONS} - {"verdict"}
    built = {section.id: section for section in (part.build(analysis_of(*eight())) for part in page.SECTIONS)}
    assert there - {"absent"} == {name for name in names if not built[name].reason}
    assert set(buttons) <= there
    assert [button for button in buttons if button in there - {"absent"}]
    for name in names - there:
        assert f"{built[name].title}: {built[name].reason}." in parsed.text


def test_headings_descend_by_one_and_landmarks_have_names():
    parsed = parse(*eight())
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(levels, levels[1:], strict=False))
    tags = [tag for tag, _ in parsed.elements]
    assert [tags.count(tag) for tag in ("header", "nav", "main")] == [1, 1, 1]
    identifiers = {attributes["id"] for _, attributes in parsed.elements if attributes.get("id")}
    for tag, attributes in parsed.elements:
        if tag == "section":
            assert attributes["aria-labelledby"] in identifiers
        if attributes.get("tabindex") == "0":
            assert attributes.get("aria-label"), (tag, attributes)


def test_no_two_elements_have_one_id():
    found = [attributes["id"] for _, attributes in parse(*eight()).elements if attributes.get("id")]
    assert len(found) == len(set(found))


def test_what_is_typed_or_ticked_has_a_name():
    text = page.render(analysis_of(*eight()))
    labelled = {number for number in re.findall(r'<label[^>]* for="([^"]+)"', text)}
    inside = set(re.findall(r"<label[^>]*>(?:(?!</label>).)*?<(?:input|select)[^>]*>", text, re.DOTALL))
    for tag, attributes in Elements(text).elements:
        if tag in ("input", "select") and not attributes.get("aria-label"):
            written = f'id="{attributes.get("id")}"'
            assert attributes.get("id") in labelled or any(written in label for label in inside), attributes


def test_how_figures_were_computed_is_told_again_at_the_end():
    text = page.render(analysis_of(*eight()))
    said = re.findall(r'<p class="how">.*?</span> (.*?)</p>', text)
    end = text[text.index('<dl class="method">') :]
    assert len(said) > 4
    assert all(each in end for each in said)


def test_one_run_has_a_page_of_its_own():
    parsed = parse(run_data(1, params={"lr": "0.1"}))
    assert ("body", {"class": "single"}) in parsed.elements
    assert not [attributes for _, attributes in parsed.elements if attributes.get("id") in ("filter", "legend")]
    assert len(parsed.data()["runs"]) == 1


def test_a_run_with_nothing_but_params_has_a_page():
    parsed = parse(run_data(1, histories={}, params={"lr": "0.1"}))
    assert "Curves: no metrics were logged." in parsed.text
    assert parsed.data("data-curves") is None


# Contrast


def style(name: str) -> str:
    return resources.files("mlflow_dlviz.reporting").joinpath("styles", f"{name}.css").read_text()


def schemes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", style("page"), re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


@pytest.mark.parametrize("scheme", range(2), ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["bg", "soft"])
@pytest.mark.parametrize("text", ["fg", "muted", "accent", "warn", "bad", "good"])
def test_text_stands_out_from_its_ground(scheme, ground, text):
    colours = schemes()[scheme]
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_the_contrast_of_black_and_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_all_colours_are_among_those_checked():
    folder = resources.files("mlflow_dlviz.reporting").joinpath("styles")
    for path in folder.iterdir():
        rules = re.sub(r":root \{.*?\}", "", path.read_text(), flags=re.DOTALL)
        used = re.findall(r"(?<![\w-])color: ([^;}]+)", rules)
        known = {f"var(--{name})" for name in ("fg", "muted", "accent", "warn", "bad", "good")}
        assert set(used) <= known | {"inherit", "currentColor"}, path.name
