"""Structure of Word documents: numbers, levels, headings, code and tables."""

from __future__ import annotations

import pytest

from fovea.pipelines.loaders.numerals import counted
from tests.pipelines.loaders.word_samples import numbered, paragraph, read, table


def level(at: int, text: str, form: str = "decimal", more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{at}"><w:start w:val="1"/><w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/>{more}'
        f'<w:pPr><w:ind w:left="{360 * (at + 1)}"/></w:pPr></w:lvl>'
    )


def definition(*levels: str, name: int = 1) -> str:
    return f'<w:abstractNum w:abstractNumId="{name}">{"".join(levels)}</w:abstractNum>'


def instance(number: int = 1, name: int = 1, more: str = "") -> str:
    return f'<w:num w:numId="{number}"><w:abstractNumId w:val="{name}"/>{more}</w:num>'


CLAUSES = definition(level(0, "%1."), level(1, "%1.%2"), level(2, "(%3)", "lowerLetter"), level(3, "%4)", "lowerRoman"))
START = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'


def style(name: str, inside: str, *, based: str = "", called: str = "") -> str:
    return (
        f'<w:style w:type="paragraph" w:styleId="{name}"><w:name w:val="{called or name}"/>'
        f'<w:basedOn w:val="{based}"/><w:pPr>{inside}</w:pPr></w:style>'
    )


def styled(text: str, name: str, more: str = "") -> str:
    return paragraph(text, properties=f'<w:pStyle w:val="{name}"/>{more}')


def test_clauses_are_counted_by_level(tmp_path):
    body = "".join(
        numbered(text, at)
        for text, at in [("A", 0), ("b", 1), ("c", 1), ("B", 0), ("d", 1), ("x", 2), ("y", 2), ("i", 3), ("e", 1)]
    )
    text, _ = read(tmp_path, body, numbering=CLAUSES + instance())
    assert text == "1. A\n  1.1 b\n  1.2 c\n2. B\n  2.1 d\n    (a) x\n    (b) y\n      i) i\n  2.2 e"


def test_lists_of_one_definition_go_on_and_overrides_start_again(tmp_path):
    body = numbered("a") + paragraph("Between.") + numbered("b", number=2) + numbered("c", number=3) + numbered("d")
    text, _ = read(tmp_path, body, numbering=CLAUSES + instance() + instance(2) + instance(3, more=START))
    assert text == "1. a\n\nBetween.\n\n2. b\n7. c\n8. d"


@pytest.mark.parametrize(
    ("form", "text", "third"),
    [("upperRoman", "%1.", "III."), ("upperLetter", "%1)", "C)"), ("decimalZero", "%1", "03"), ("ordinal", "%1", "3rd"),
     ("bullet", "\uf0b7", "-"), ("decimal", "Article %1:", "Article 3:"), ("none", "", ""), ("chicago", "%1.", "3.")],
)  # fmt: skip
def test_forms_of_numbers(tmp_path, form, text, third):
    found, _ = read(tmp_path, 3 * numbered("x"), numbering=definition(level(0, text, form)) + instance())
    assert found.split("\n")[-1] == f"{third} x".strip()


def test_restarts_as_the_list_says(tmp_path):
    never = level(1, "%2)", more='<w:lvlRestart w:val="0"/>')
    legal = level(1, "%1.%2", more="<w:isLgl/>")
    body = numbered("A") + numbered("b", 1) + numbered("B") + numbered("c", 1)
    text, _ = read(tmp_path, body, numbering=definition(level(0, "%1."), never) + instance())
    assert text.split("\n")[-1] == "  2) c"
    text, _ = read(tmp_path, body, numbering=definition(level(0, "%1.", "upperRoman"), legal) + instance())
    assert text == "I. A\n  1.1 b\nII. B\n  2.1 c"


def test_styles_put_paragraphs_into_lists_and_levels(tmp_path):
    numbers = definition(
        level(0, "%1", more='<w:pStyle w:val="H1"/>'), level(1, "%1.%2", more='<w:pStyle w:val="H2"/>')
    )
    own = '<w:numPr><w:numId w:val="1"/></w:numPr><w:outlineLvl w:val="{}"/>'
    styles = style("H1", own.format(0)) + style("H2", own.format(1)) + style("Mine", "", based="H2")
    body = styled("One", "H1") + styled("Sub", "H2") + styled("Next", "Mine") + styled("Two", "H1")
    off = styled("None", "H1", '<w:numPr><w:numId w:val="0"/></w:numPr>')
    text, _ = read(tmp_path, body + off, styles=styles, numbering=numbers + instance())
    assert text == "# 1 One\n\n## 1.1 Sub\n\n## 1.2 Next\n\n# 2 Two\n\n# None"


def test_a_list_may_be_that_of_a_style(tmp_path):
    linked = '<w:abstractNum w:abstractNumId="2"><w:numStyleLink w:val="Legal"/></w:abstractNum>'
    styles = style("Legal", '<w:numPr><w:numId w:val="1"/></w:numPr>')
    text, _ = read(
        tmp_path, numbered("a", number=2), styles=styles, numbering=CLAUSES + linked + instance() + instance(2, 2)
    )
    assert text == "1. a"


def test_depth_follows_the_left_edge(tmp_path):
    body = "".join(
        paragraph(
            text, properties=f'<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr><w:ind w:left="{left}"/>'
        )
        for text, left in [("a", 360), ("b", 720), ("c", 1080), ("d", 360)]
    )
    text, _ = read(tmp_path, body, numbering=definition(level(0, "•", "bullet")) + instance())
    assert text == "- a\n  - b\n    - c\n- d"


def test_headings_by_style_outline_and_basis(tmp_path):
    styles = (
        style("Heading1", '<w:outlineLvl w:val="0"/>', called="heading 1")
        + style("Corp", "", based="Heading1") + style("U2", "", called="Heading 2")
        + style("Toc", '<w:outlineLvl w:val="9"/>', based="Heading1") + style("Loop", "", based="Loop")
        + style("T", "", called="Title")
    )  # fmt: skip
    body = styled("T", "T") + styled("A", "Corp") + styled("B", "U2") + styled("C", "Toc") + styled("D", "Loop")
    body += paragraph("E", properties='<w:outlineLvl w:val="2"/>') + styled("# F", "Heading1") + styled("G", "Heading3")
    text, _ = read(tmp_path, body, styles=styles)
    assert text == "# T\n\n# A\n\n## B\n\nC\n\nD\n\n### E\n\n# # F\n\n### G"


def test_code_keeps_its_indentation(tmp_path):
    styles = style("Code", "", called="Source Code")
    body = styled("def f(x):", "Code") + styled("    if x:", "Code") + styled("", "Code") + styled("\treturn", "Code")
    text, _ = read(tmp_path, body + paragraph("After."), styles=styles)
    assert text == "```\ndef f(x):\n    if x:\n\n\treturn\n```\n\nAfter."


def cell(inside: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(inside)}</w:tc>"


def test_merged_cells_keep_columns_apart(tmp_path):
    down, on = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    rows = [
        cell("Region") + cell("Both", '<w:gridSpan w:val="2"/>'),
        cell("EU", down) + cell("Cable") + cell("12"),
        cell("", on) + cell("Hub") + cell("7"),
        "<w:trPr><w:gridBefore w:val='1'/></w:trPr>" + cell("late") + cell("1"),
    ]
    text, _ = read(tmp_path, f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>")
    assert text.split("\n") == [
        "| Region | Both |  |", "| --- | --- | --- |", "| EU | Cable | 12 |", "| EU | Hub | 7 |", "|  | late | 1 |"
    ]  # fmt: skip


def test_cells_hold_lists_tables_and_pipes_on_one_line(tmp_path):
    inner = table(["Height", "120 cm"], ["Weight", "34 kg"])
    text, _ = read(
        tmp_path, table(["A", "B"], ["a|b", numbered("one") + numbered("two") + inner]), numbering=CLAUSES + instance()
    )
    assert text == "| A | B |\n| --- | --- |\n| a\\|b | 1. one 2. two Height, 120 cm; Weight, 34 kg |"


def test_a_table_of_one_column_is_a_frame_around_blocks(tmp_path):
    inner = table(["a", "b"])
    text, _ = read(tmp_path, table([paragraph("H", properties='<w:outlineLvl w:val="0"/>') + inner], ["Text."]))
    assert text == "# H\n\n| a | b |\n| --- | --- |\n\nText."


CUSTOM = (
    '<mc:AlternateContent><mc:Choice Requires="w14"><w:numFmt w:val="custom" w:format="001, 002, ..."/></mc:Choice>'
    '<mc:Fallback><w:numFmt w:val="decimal"/></mc:Fallback></mc:AlternateContent>'
)


@pytest.mark.parametrize(
    ("form", "written", "marker"),
    [
        (CUSTOM, "R-%1", "R-012"), ('<w:numFmt w:val="decimalEnclosedCircle"/>', "%1", "⑫"),
        ('<w:numFmt w:val="chineseCountingThousand"/>', "第%1条", "第十二条"),
        ('<w:numFmt w:val="russianLower"/>', "%1)", "м)"), ('<w:numFmt w:val="numberInDash"/>', "%1", "- 12 -"),
    ],
)  # fmt: skip
def test_forms_of_numbers_in_other_scripts_and_of_ones_own(tmp_path, form, written, marker):
    level = f'<w:lvl w:ilvl="0"><w:start w:val="12"/>{form}<w:lvlText w:val="{written}"/></w:lvl>'
    numbering = (
        f'<w:abstractNum w:abstractNumId="0">{level}</w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
    )
    assert read(tmp_path, numbered("term"), numbering=numbering)[0] == f"{marker} term"


@pytest.mark.parametrize(("number", "said"), [(10, "十"), (21, "二十一"), (105, "一百〇五"), (110, "一百一十"),
                                              (2003, "二千〇三"), (1020, "一千〇二十")])  # fmt: skip
def test_numbers_counted_in_chinese(number, said):
    assert counted(number) == said


def test_a_style_based_on_code_is_code(tmp_path):
    styles = (
        '<w:style w:type="paragraph" w:styleId="C"><w:name w:val="Code"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="P"><w:name w:val="Snippet"/><w:basedOn w:val="C"/></w:style>'
    )
    body = "".join(paragraph(line, properties='<w:pStyle w:val="P"/>') for line in ("if x:", "    y = 1"))
    assert read(tmp_path, body, styles=styles)[0] == "```\nif x:\n    y = 1\n```"
