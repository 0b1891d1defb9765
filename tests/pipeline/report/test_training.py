"""The page of a training: a line for each measure, over its steps."""

import re

from pipeline.report.charts import HEIGHT, WIDTH, progress
from pipeline.report.training import POINTS, render


def line(step, **groups):
    modalities = {"text": 5.0 - step / 100, "semantic": 8.0 - step / 50}
    return {"step": step, "loss": 6.0, "modalities": modalities, "families": {"aqtaa": 6.0}, **groups}


def points(svg):
    return [
        [tuple(map(float, each.split(","))) for each in found.split()]
        for found in re.findall(r'<polyline [^>]*points="([^"]*)"', str(svg))
    ]


def test_a_line_goes_from_the_first_step_to_the_last_inside_the_chart():
    rising, falling = points(progress({"a": [(1, 0.0), (3, 1.0)], "b": [(1, 1.0), (2, 0.5), (3, -1.0)]}, "x"))
    assert [x for x, _ in falling] == [0, WIDTH / 2, WIDTH]
    assert rising[0][1] > rising[1][1], "up is more"
    assert falling[-1][1] == HEIGHT, "the lowest value is at the foot"
    assert all(0 <= y <= HEIGHT for each in (rising, falling) for _, y in each)


def test_the_answers_are_curves_beside_the_losses():
    found = {"rules": 0.25, "grammar": 0.9, "silent": 0.0, "failed": 0.0, "broken": {"ratio": 0.1}}
    metrics = [line(n, **({"answers": found} if n % 2 else {})) for n in range(6)]
    page = render("calls: sft1", metrics)
    assert "<h1>calls: sft1</h1>" in page
    assert "grammar 0.9" in page
    assert "rules broken by the likeliest id" in page
    assert "DPO" not in page
    titles = re.findall(r"<polyline [^>]*><title>([^<]*)</title>", page)
    assert titles == ["semantic", "text", "aqtaa", "failed", "grammar", "rules", "silent", "ratio"]


def test_the_validation_loss_is_beside_that_of_training():
    found = {"loss": 6.5, "modalities": {"text": 5.25}, "families": {"tts": 7.75}}
    page = render("calls: sft1", [line(n, **({"validation": found} if n % 2 else {})) for n in range(4)])
    titles = re.findall(r"<polyline [^>]*><title>([^<]*)</title>", page)
    assert titles == ["training", "validation", "semantic", "text", "text", "aqtaa", "tts"]
    for ending in ("training 6<", "validation 6.5<", "text 5.25<", "tts 7.75<"):
        assert ending in page
    assert "alidation" not in render("calls: sft1", [line(0)])


def test_a_long_training_has_lines_of_few_points():
    [semantic, text, _] = points(render("x", [line(n) for n in range(10 * POINTS)]))
    assert len(semantic) == len(text) == POINTS


def test_a_stage_of_one_step_has_a_page():
    assert "1 steps" in render("x", [line(0)])
