from __future__ import annotations

import math
import re
from importlib import resources
from xml.etree import ElementTree

import pytest

from parley.evals.statistics import Estimate, paired_difference, wilson
from parley.reports import svg
from parley.reports.figures import duration, number, percent, points, short, signed
from parley.reports.html import join, tag, text
from parley.reports.look import TOKENS, picture
from parley.reports.paired import mean_rate, rate_difference
from parley.reports.values import stage_title
from parley.reports.verdict import told_in_errors
from tests.reports.reading import read


def test_a_paired_difference_by_hand() -> None:
    found = paired_difference([0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 2.0, 2.0])
    assert found.value == pytest.approx(1.5)
    assert found.standard_error == pytest.approx(math.sqrt(1 / 3) / 2)
    assert found.in_errors == pytest.approx(5.196, abs=1e-3)
    assert found.estimate.low == pytest.approx(1.5 - 1.96 * 0.288675, abs=1e-3)


def test_a_difference_without_spread_is_sure_or_nothing() -> None:
    assert paired_difference([0.0, 0.0], [1.0, 1.0]).in_errors == math.inf
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).in_errors == 0.0


def test_newcombe_s_published_example() -> None:
    """56/70 against 48/80, method 10: .2000, .0524 to .3339 (Newcombe 1998, table II)."""
    found = rate_difference(wilson(48, 80), wilson(56, 70))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_the_mean_of_rates_is_narrower_than_each() -> None:
    found = mean_rate([Estimate(0.5, 0.4, 0.6, 10), Estimate(0.7, 0.6, 0.8, 20), Estimate(math.nan, 0, 1, 0)])
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.6, 0.6 - 0.1 / 2**0.5, 0.6 + 0.1 / 2**0.5)
    )
    assert found.n == 30


def test_a_small_step_is_not_called_one() -> None:
    assert told_in_errors(paired_difference([0.0, 0.0], [0.5, 0.0])).endswith(
        "(these prompts cannot tell it from none)"
    )
    assert told_in_errors(paired_difference([0.0, 0.0], [1.0, 1.1])) == "+1.05, 21.0 standard errors"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(-0.001), "0.00"),
        (number(-1.25), "\u22121.25"),
        (number(math.nan), "–"),
        (signed(0.25), "+0.25"),
        (signed(0.001), "0.00"),
        (percent(0.0), "0\u202f%"),
        (percent(1.0), "100\u202f%"),
        (percent(0.062), "6.2\u202f%"),
        (percent(0.4484), "45\u202f%"),
        (points(-0.172), "\u221217"),
        (points(0.024), "+2.4"),
        (short(1781.0), "1\u202f781"),
        (duration(0.04), "0.0 s"),
        (duration(68.1), "1 min 8 s"),
        (duration(3725), "1 h 2 min"),
        (stage_title("ppo-2"), "PPO\u00a02"),
        (stage_title("sft"), "SFT"),
    ],
)
def test_how_numbers_read(shown: str, expected: str) -> None:
    assert shown == expected


def test_everything_but_markup_is_escaped() -> None:
    built = tag("p", "<b>", [tag("i", "&"), "'"], title='"><x', hidden=None, data_n=1.5)
    assert built == '<p title="&quot;&gt;&lt;x" data-n="1.5">&lt;b&gt;<i>&amp;</i>&#x27;</p>'
    assert text("a\x00\ud800\tb\n") == "a\ufffd\ufffd\tb\n"
    assert join("<", tag("br")) == "&lt;<br>"


def test_ticks_are_round_and_inside() -> None:
    assert svg.Axis(-1.1, 0.9).ticks() == pytest.approx([-1, -0.5, 0, 0.5])
    assert svg.Axis(0.3, 7, "log").ticks() == [0.5, 1, 2, 5]
    assert all(1.61 <= tick <= 1.69 for tick in svg.Axis(1.61, 1.69, "log").ticks())


def test_axes_place_values() -> None:
    assert svg.Axis(0, 4, "root").share(1) == pytest.approx(0.5)
    assert svg.Axis(1, 100, "log").share(10) == pytest.approx(0.5)
    assert svg.axis_of([2.0, 2.0]) == svg.Axis(1.44, 2.56)
    assert svg.axis_of([]).low < svg.axis_of([]).high


def test_long_curves_are_thinned_to_means() -> None:
    values = [(float(n), float(n % 2)) for n in range(1000)]
    thin = svg.thinned(values, 250)
    assert len(thin) == 250
    assert thin[0] == (1.5, 0.5)
    assert svg.moving_mean([(1.0, 1.0), (2.0, 3.0)], 5) == [(1.5, 2.0)]


def test_one_value_over_and_over_is_drawn_too() -> None:
    unknown = Estimate(math.nan, math.nan, math.nan, 0)
    plots = [
        svg.curve("flat", [(1.0, 0.0), (2.0, 0.0)], y_label="y", scaling="log"),
        svg.runs("alike", [[(1.0, 0.5), (2.0, 0.5)]] * 3, y_label="y"),
        svg.cloud("still", [(0.0, 1.0), (0.0, 1.0)], 5, x_label="x", y_label="y"),
        svg.ladder(
            "one",
            ["base"],
            [svg.Rung("T=1", "first", [unknown])],
            y_label="y",
        ),
    ]
    for plot in plots:
        assert read(plot).problems == []
        assert "nan" not in plot
        assert "inf" not in plot


def test_a_picture_is_a_file_of_its_own() -> None:
    """Well-formed XML with the style of every mark; the strong line is the mean of the runs."""
    told = picture(
        svg.runs("two runs", [[(1.0, 0.0), (2.0, 1.0)], [(1.0, 1.0), (2.0, 3.0)]], y_label="score")
    )
    root = ElementTree.fromstring(told)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.findtext("{http://www.w3.org/2000/svg}style") or ""
    assert style.count("{") == style.count("}") > 20
    for rule in (".plot polyline", ".plot .line", ".plot .end", ".plot text", "--accent:"):
        assert rule in style
    assert "their mean goes from 0.500 to 2.000" in told


def test_the_tokens_are_those_of_the_web_application() -> None:
    css = (resources.files("parley.service") / "web" / "tokens.css").read_text(encoding="utf-8")
    of_the_page = {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\);", css)
    }
    own = {"bar", "bar-soft"}
    assert {name: pair for name, pair in TOKENS.items() if name not in own} == {
        name: of_the_page[name] for name in TOKENS if name not in own
    }


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "raised", "tint", "bar", "bar-soft"])
@pytest.mark.parametrize("ink", ["ink", "muted", "bad"])
def test_words_have_contrast_aa_on_every_ground(ink: str, ground: str, scheme: int) -> None:
    lighter, darker = sorted((luminance(TOKENS[name][scheme]) for name in (ink, ground)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
