import re

from pipeline.report.radar import RADIUS, radar


def polygons(svg):
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polygon style="[^"]*" points="([^"]*)"', svg)
    ]


def test_a_model_is_a_polygon_between_the_middle_and_the_end_of_each_axis():
    [points] = polygons(radar(["a", "b", "c", "d"], {"m": [5.0, 3.0, 1.0, None]}, 1.0, 5.0))
    up, right, down, left = points
    assert up == (0.0, -RADIUS)
    assert right == (RADIUS / 2, 0.0)
    assert down == left == (0.0, 0.0) or (abs(down[0]) + abs(down[1]) + abs(left[0]) + abs(left[1])) < 0.1


def test_values_outside_the_scale_stay_inside_the_plot():
    [points] = polygons(radar(["a", "b", "c"], {"m": [9.0, -9.0, 1.0]}, 0.0, 1.0))
    assert max(abs(value) for point in points for value in point) <= RADIUS


def test_names_are_escaped():
    assert "<b>" not in radar(["<b>", "b", "c"], {"<b>": [1.0, 1.0, 1.0]}, 0.0, 1.0)


def test_two_axes_make_no_plot():
    assert radar(["a", "b"], {"m": [1.0, 1.0]}, 0.0, 1.0) == ""
