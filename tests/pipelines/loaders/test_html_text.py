"""Web pages: words that scripts, forms, formulas and tables hide from simpler readers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders.html import HtmlLoader, parse, walk_of
from fovea.pipelines.loaders.scripts import END, SUB, SUP, resolved
from fovea.rag.headings import headings
from fovea.rag.trace import Trace
from tests.growth import MOST, growth


def text(page: str) -> str:
    return walk_of(parse(page)).writer.text.rstrip("\n")


def counted(tmp_path, page: str) -> tuple[dict[str, int], dict[str, int]]:
    """The warnings, and the counts of the trace."""
    (tmp_path / "a.html").write_text(page)
    trace = Trace()
    with trace.stage("load") as stage:
        list(HtmlLoader().load(tmp_path / "a.html"))
    return dict(trace.warnings), dict(stage.counts)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("declaration", ['<?xml version="1.0" encoding="UTF-8"?>', "\n<?xml?>"])
def test_an_xml_declaration_is_no_text_and_no_matter(declaration):
    assert text(f"{declaration}<p>Tea, and <b>more</b>") == "Tea, and **more**"
    assert text("<?xml version='1.0'?>") == ""


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<h3><button aria-expanded=false>What does it cost?</button></h3><div>12 euro</div>",
         "### What does it cost?\n\n12 euro"),
        ("<div><button aria-controls=x>Question?</button></div><p>Answer.", "Question?\n\nAnswer."),
        ("<details><summary><button>How long?</button></summary><p>Nine days.</details>", "How long?\n\nNine days."),
        ("<p>Press <button>Save</button> now.", "Press Save now."),
        ("<div><button>Buy</button></div><p>x", "x"),
        ("<div role=tabpanel hidden><p>apt</div><div role=tabpanel>brew</div>", "apt\n\nbrew"),
        ("<div hidden=until-found>found</div><div hidden class=modal>not</div>", "found"),
        ("<main>in</main><p>outside</p><footer>foot</footer>", "in\n\noutside\n\nfoot"),
        ("<template>no</template><noscript>no</noscript><nav>no</nav><div role=search>no</div>yes", "yes"),
        ("a<br>b<wbr>c", "a\nbc"),
        ("<p>He said <q>yes</q>, <del>not 20</del> <ins>15</ins>.", "He said “yes”, ~~not 20~~ 15."),
        ("<p>a <b> bold </b>x <i><b></b></i><code>f(x)</code>", "a **bold** x `f(x)`"),
        ("<h2>A <b>bold</b> <div>head</div></h2>", "## A bold head"),
        ("<dl><dt>Tea<dd>A drink.<dd>A plant.</dl>", "Tea\n\n- A drink.\n- A plant."),
        ("<figure><img alt='A map'><figcaption>Fig. 1</figcaption></figure>", "A map\n\nFig. 1"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("<blockquote><p># quoted</blockquote>", "\\# quoted"),
        ("<p>1. &lt;b&gt;x", "1. \\<b>x"),
    ],
)  # fmt: skip
def test_what_a_reader_sees(page, said):
    assert text(page) == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("1<sup>st</sup> and 2<sup>nd</sup> and 3<sup>e</sup>", "1st and 2nd and 3e"),
        ("10<sup>6</sup> 10<sup>-3</sup> 2<sup>n+1</sup> mc<sup>2</sup>", "10^6 10^-3 2^(n+1) mc^2"),
        ("Acme<sup>TM</sup> Acme<sup>®</sup>", "Acme™ Acme®"),
        ("note<sup>[3]</sup> end.<sup>4</sup> word<sup>*</sup>", "note[3] end.[4] word*"),
        ("<sup>1</sup>/<sub>2</sub> cup, 3<sup>1</sup>&frasl;<sub>4</sub> in", "1/2 cup, 3 1/4 in"),
        ("<sup>1</sup>⁄2 or ½", "1/2 or ½"),
        ("H<sub>2</sub>O, Al<sub>2</sub>(SO<sub>4</sub>)<sub>3</sub>, x<sub>i</sub>, log<sub>2</sub> 8",
         "H2O, Al2(SO4)3, x_i, log_2 8"),
        ("M<sup>me</sup> Curie, 20<sup>°</sup>", "Mme Curie, 20°"),
        ("2<sup>3<sup>2</sup></sup>", "2^(3^2)"),
    ],
)  # fmt: skip
def test_what_is_raised_never_makes_another_number(page, said):
    assert text(f"<p>{page}") == said


@given(st.text(alphabet=f"{SUP}{SUB}{END}12ab/. ", max_size=40))
def test_marks_are_resolved_however_they_nest(marked):
    assert not set(resolved(marked)) & {SUP, SUB, END}
    letters = [one for one in marked if one in "12ab"]
    assert [one for one in resolved(marked) if one in "12ab"] == letters


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"), ("<mn>3</mn><mfrac><mn>1</mn><mn>2</mn></mfrac>", "3 1/2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a+b)/c"),
        ("<msup><mn>10</mn><mn>6</mn></msup>", "10^6"), ("<msqrt><mi>x</mi><mo>+</mo><mn>1</mn></msqrt>", "√(x+1)"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_i^2"),
        ("<mroot><mn>8</mn><mn>3</mn></mroot>", "∛8"),
        ("<semantics><mi>x</mi><annotation>\\x</annotation></semantics>", "x"),
        ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr></mtable>", "[1, 0]"),
    ],
)  # fmt: skip
def test_formulas_on_one_line(formula, said):
    assert text(f"<p>Let <math>{formula}</math> hold.") == f"Let {said} hold."


def test_a_formula_drawn_twice_is_read_once():
    formula = "<span><span><math><mi>x</mi></math></span><span aria-hidden=true>x x</span></span>"
    assert text(f"<p>{formula} and <i aria-hidden=true>y</i>") == "x and *y*"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('<ol><li value=7>a<li>b</ol>', "7. a\n8. b"), ("<ol start=5><li>a</ol>", "5. a"),
        ("<ol reversed><li>a<li>b</ol>", "2. a\n1. b"), ("<ol type=a><li>a<li>b</ol>", "a. a\nb. b"),
        ("<ol type=I start=4><li>a</ol>", "IV. a"), ("<ul><li>a<ol><li>b</ol><li>c</ul>", "- a\n  1. b\n- c"),
        ("<ul><li><p>a<p>b<li>c</ul>after", "- a\n  b\n- c\n\nafter"), ("<li>stray", "- stray"),
        ("<ul><li>see<pre>x = 1</pre></ul>", "- see\n\n```\nx = 1\n```"),
    ],
)  # fmt: skip
def test_lists_have_the_numbers_that_browsers_show(page, said):
    assert text(page) == said


def test_code_keeps_its_characters_and_language():
    page = "<pre><code class='language-sh'>a  ``` b\n# c\n</code></pre><p>x"
    assert text(page) == "````sh\na  ``` b\n# c\n````\n\nx"
    assert [h.words for h in headings(text("<h1>A</h1><pre>```\n# no</pre><p># no<h2>B</h2>"), "text/markdown")] == [
        "A", "B"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "rows"),
    [
        ("<tr><th>R<th>I<th>U<tr><td rowspan=2>EU<td>Cable<td>12<tr><td>Hub<td>7",
         ["| R | I | U |", "| EU | Cable | 12 |", "| EU | Hub | 7 |"]),
        ("<tr><th colspan=2>A<th>B<tr><td>1<td>2<td>3", ["| A |  | B |", "| 1 | 2 | 3 |"]),
        ("<tr><td>a<td rowspan=0>b<tr><td>c<tr><td>d", ["| a | b |", "| c | b |", "| d | b |"]),
        ("<tr><th>Op<th>Is<tr><td>a | b<td>x<br>y", ["| Op | Is |", "| a \\| b | x y |"]),
        ("<tr><th>A<td>1<tr><th>B<td>2", ["|  |  |", "| A | 1 |", "| B | 2 |"]),
        ("<tr><th>M<th>S<tr><td>A1<td><table><tr><td>Width<td>40 mm<tr><td>Depth<td>12 mm</table>",
         ["| M | S |", "| A1 | Width, 40 mm; Depth, 12 mm |"]),
        ("<tr><th>M<th>S<tr><td><ul><li>a<li>b</ul><td><p>x<p>y", ["| M | S |", "| - a - b | x y |"]),
        ("<thead><tr><th>M<th>S<tbody><tr><td>1<td>2", ["| M | S |", "| 1 | 2 |"]),
        ("<tr><th><button>Name</button><th><button>Age</button><tr><td>Ann<td>30", ["| Name | Age |", "| Ann | 30 |"]),
    ],
)  # fmt: skip
def test_tables(page, rows):
    assert [line for line in text(f"<table>{page}</table>").split("\n") if "---" not in line] == rows


def test_tables_that_lay_out_a_page_are_its_blocks():
    page = "<table><tr><td><h2>A</h2><p>x<td><table><tr><th>k<th>v<tr><td>1<td>2</table></table>"
    assert text(page) == "## A\n\nx\n\n| k | v |\n| --- | --- |\n| 1 | 2 |"
    assert text("<table><caption>T</caption><tr><th>a<th>b</table>") == "T\n\n| a | b |\n| --- | --- |"


def test_a_filled_form_is_read_with_its_labels():
    page = (
        "<form><label>Name <input value='Ann Lee'></label><input type=hidden value=h><input type=password value=p>"
        "<p><input type=checkbox checked> Gold <input type=radio> Silver</p>"
        "<select><option>A<option selected>B</select><textarea>Two\nlines</textarea>"
        "<input type=submit value=Send></form>"
    )
    assert text(page) == "Name Ann Lee\n\n☒ Gold ☐ Silver\n\nB\n\nTwo\nlines"


def test_what_is_left_out_is_counted(tmp_path):
    page = "<nav>menu</nav><p>x<div hidden>secret</div><iframe>f</iframe><svg><text>s</text></svg>"
    warnings, counts = counted(tmp_path, page + "<div hidden></div><div><button>b</button></div>")
    assert warnings == {
        "a.html: hidden elements left out": 1, "a.html: embedded pages left out": 1, "a.html: drawings left out": 1
    }  # fmt: skip
    assert counts == {"navigation left out": 1, "buttons left out": 1}


@pytest.mark.parametrize(
    "piece",
    ["<a href=x>w</a> ", "<sup>1", "<b>x", "<i><b>", "a<sup>1</sup>/<sub>2</sub> ", "<li>x", "<table><tr><td>", "<q>",
     "<tr><td rowspan=1000>x<td>y", "<div>", "<dd>x", "<h2>x"],
)  # fmt: skip
def test_time_is_linear(piece):
    def walking(times: int):
        tree = parse("<p>x" + piece * times)
        return lambda: walk_of(tree)

    assert growth(walking, 800) < MOST


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<button><h3>What does it cost?</h3></button><p>5", "### What does it cost?\n\n5"),
        ("<div role=heading aria-level=4><button>Deep?</button></div>Yes", "#### Deep?\n\nYes"),
        ("<div role=tablist><button role=tab>Linux</button><button role=tab>Mac</button></div>", "Linux Mac"),
        ("<ul><li><button data-bs-toggle=tab>Linux</button></ul><p>x", "- Linux\n\nx"),
        ("<nav><div role=tablist><a role=tab>Kit</a></div></nav><nav><a>Home</a></nav>", "Kit"),
        ("<p>3<math><mfrac><mn>1</mn><mn>4</mn></mfrac></math> cup", "3 1/4 cup"),
        ("<p>3<b><math><mfrac><mn>1</mn><mn>4</mn></mfrac></math></b>", "3 **1/4**"),
        ("<m:math><m:mfrac><m:mn>1</m:mn><m:mn>2</m:mn></m:mfrac></m:math>", "1/2"),
        ("<math><mmultiscripts><mi>C</mi><mn>6</mn><none></none><mprescripts></mprescripts><none></none><mn>14</mn>"
         "</mmultiscripts></math>", "^14C_6"),
        ("<p>E = <script type='math/tex'>x^2</script><script>no</script>", "E = x^2"),
        ("<p>10<span style='vertical-align: super'>6</span> x<span style='vertical-align:sub'>i</span>", "10^6 x_i"),
        ("<ol style='list-style-type: lower-alpha'><li>x<li>y</ol>", "a. x\nb. y"),
        ("<ol><li type=A>x<li type=i>y</ol>", "A. x\nii. y"),
        ("<pre><div>if x:</div><div>  y()</div></pre>", "```\nif x:\n  y()\n```"),
        ("<div role=table><div role=row><span role=columnheader>A</span><span role=columnheader>B</span></div>"
         "<div role=row><span role=cell>1</span><span role=cell>2</span></div></div>",
         "| A | B |\n| --- | --- |\n| 1 | 2 |"),
        ("<p>costs 5<a epub:type=noteref>1</a><aside epub:type=footnote hidden>without tax</aside>",
         "costs 5[1]\n\nwithout tax"),
    ],
)  # fmt: skip
def test_what_looks_like_something_else_is_what_it_stands_for(page, said):
    assert text(page) == said
