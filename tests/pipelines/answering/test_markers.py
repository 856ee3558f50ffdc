"""Citation markers go, brackets that mean themselves stay."""

import pytest

from fovea.pipelines.answering.markers import unmarked
from tests.growth import MOST, growth

STAY = [
    "```python\nnumbers = [1, 2, 3]\nprint(numbers[0], numbers[1])\n```",
    "~~~\nx[1]\n~~~",
    '{"temperature": [80], "minutes": [2]}',
    'Send {"ids": [1, 2]} as the body.',
    "Values lie in the interval [0, 1].",
    "The list is [1, 2, 3].",
    "It holds for x in [1, 2].",
    "See [1](https://example.org/a).",
    "[1]: https://example.org/a",
    "With $x_i \\in [1, 2]$ it converges.",
    "they won [3-1]",
    "see a[10] and [2020-2024]",
]
GO = {
    "Write `numbers = [1, 2, 3]` [2].": "Write `numbers = [1, 2, 3]`.",
    "The second value is numbers[1] [2].": "The second value is numbers[1].",
    "The sum of a[1] is 5 [2].": "The sum of a[1] is 5.",
    "It holds [1, 2, 3] in this order [2].": "It holds [1, 2, 3] in this order.",
    "It was hot [1] and [2].": "It was hot.",
    "It was hot [1], [2].": "It was hot.",
    "It was hot[1][3].": "It was hot.",
    "It has three items [2].": "It has three items.",
    "So it is [2].": "So it is.",
    "In 1969, [1] he walked.": "In 1969, he walked.",
    "Tea (see [1] and [2]).": "Tea.",
    "Tea is hot.\nSources: [1], [2]": "Tea is hot.\n",
    "- [1] one\n- [2] two": "- one\n- two",
}


@pytest.mark.parametrize("text", STAY)
def test_brackets_that_mean_themselves_stay(text):
    assert unmarked(text, 3) == (text, [])


@pytest.mark.parametrize(("text", "clean"), GO.items())
def test_markers_go(text, clean):
    said, marks = unmarked(text, 3)
    assert said == clean
    assert marks


def test_what_a_passage_says_in_brackets_is_quoted():
    assert unmarked("The key is Options[2].", 3, ["Set Options[2] first."]) == ("The key is Options[2].", [])
    assert unmarked("The key is Options[2].", 3) == ("The key is Options.", [(18, 1)])


@pytest.mark.parametrize(
    "unit", ["[", " ", " \t", "(see ", "[1], ", "[1] [1]", "sources: ", "`", "{", '{"a":', "([1] "]
)
def test_time_grows_with_the_text(unit):
    assert growth(lambda times: lambda: unmarked(unit * times, 3), 5_000) < MOST
