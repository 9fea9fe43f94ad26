"""Of the pictures: those that are asked for; and what is said of the rest."""

from __future__ import annotations

import pytest
from asked import shown


def test_only_the_pictures_that_are_asked_for_are_read(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/x": [0, 3, 7], "a/y": [0, 3], "b/x": [0]})
    assert len(shown(fetch())) == 6
    assert shown(fetch(images="a/*")) == [("a/x", 0), ("a/x", 3), ("a/x", 7), ("a/y", 0), ("a/y", 3)]
    assert shown(fetch(epochs=(-1,))) == [("a/x", 7), ("a/y", 3), ("b/x", 0)]
    assert shown(fetch(epochs=(3, 5))) == [("a/x", 3), ("a/y", 3)]
    with pytest.raises(ValueError, match="images='b/y': no run has such a picture; there are b/x, a/x, a/y|a/y"):
        fetch(images="b/y")


def test_too_many_pictures_are_thinned_and_it_is_said(make_run, fetch):
    make_run(metrics={"loss": [1.0]}, pictures={"a/b": range(9)})
    bundle = fetch(max_frames=3)
    assert shown(bundle) == [("a/b", 0), ("a/b", 4), ("a/b", 8)]
    assert "3 of 9 pictures are shown" in bundle.notes[0]


def test_a_damaged_picture_is_told(make_run, fetch, client, tmp_path):
    run_id = make_run(metrics={"loss": [1.0]}, pictures={"a/b": [0]})
    bad = tmp_path / "a~b+step+1+timestamp+5+11111111-1111-1111-1111-111111111111.png"
    bad.write_bytes(b"not a picture")
    client.log_artifact(run_id, str(bad), "images")
    for _ in range(2):
        bundle = fetch()
        assert [frame.webp is None for frame in bundle.runs[0].frames] == [False, True]
        assert "not a readable image" in bundle.runs[0].frames[1].reason
        assert bundle.problems == ("1 picture could not be read; the tiles say why.",)
