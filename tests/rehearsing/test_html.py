"""Parts of pages: text is escaped, tables may be empty."""

from __future__ import annotations

from halftrack.rehearsing.html import document, figure, paragraph, table


def test_text_is_never_taken_for_html() -> None:
    hostile = "<b>&"
    for part in (
        paragraph(hostile),
        figure(hostile, "<svg></svg>", hostile),
        table([{hostile: hostile}]),
        document(hostile, []),
    ):
        assert "<b>" not in part
        assert "&lt;b&gt;&amp;" in part


def test_a_table_without_rows_says_so() -> None:
    assert "Nothing to list." in table([])
