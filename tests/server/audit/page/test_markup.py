"""Text becomes markup in one place, where it is escaped."""

from __future__ import annotations

from server.audit.page.markup import Amount, Markup, joined, table, tag


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    inner = tag("b", "1 < 2 & 3")
    assert inner == "<b>1 &lt; 2 &amp; 3</b>"
    assert tag("p", inner, "<i>") == "<p><b>1 &lt; 2 &amp; 3</b>&lt;i&gt;</p>"
    assert joined(["<", Markup("<br>")], "") == "&lt;<br>"


def test_attributes_are_escaped_and_left_out_where_there_is_nothing() -> None:
    made = tag("img", alt='"><script>', class_=None, hidden=True, data_a="1", draggable=False)
    assert made == '<img alt="&quot;&gt;&lt;script&gt;" hidden data-a="1">'
    assert tag("td", 0, colspan=0) == '<td colspan="0">0</td>'


def test_a_table_names_rows_and_columns_and_puts_amounts_to_the_right() -> None:
    made = table("What", ["name", "size"], [["a", Amount("1")], ["b", Amount("2")]])
    assert "<caption>What</caption>" in made
    assert made.count('scope="row"') == 2
    assert made.count('scope="col"') == 2
    assert made.count('class="amount"') == 3
