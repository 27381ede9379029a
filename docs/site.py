"""Hook of the documentation's site: pages that stand elsewhere in the repository join those here.

Links are written for the repository, where they are read as well. On the site they lead to the same
pages; one to a file that is no page there, such as a test, keeps its words alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("benchmarks/*.md"))),
)
_COMMANDS = re.compile(
    r'(<div class="highlight)("><pre><span></span><code>)'
    r"((?:halftrack|torchrun|srun|make|pip) .*?)(?=</code>)",
    re.DOTALL,
)
_LINK = re.compile(r"\[([^]]*)\]\(\s*([^)#\s]*)(#[^)\s]*)?\s*\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    for path in ELSEWHERE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let the links of a page lead where they lead in the repository."""
    here: str = page.file.src_uri
    written = here if here in ELSEWHERE else f"docs/{here}"

    def led(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or not target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(written), target))
        path = path.removeprefix("docs/")
        if files.get_file_from_path(path) is None:
            return words
        return f"[{words}]({posixpath.relpath(path, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(led, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Let commands wrap, and write one colon before an example of a docstring, which has two."""
    return _COMMANDS.sub(_wrapping, html).replace("::</p>", ":</p>")


def _wrapping(block: re.Match[str]) -> str:
    """A block whose words site.css keeps whole: a browser breaks after any hyphen."""
    words = re.sub(r"\S+", r"<span>\g<0></span>", block[3])
    return f"{block[1]} command{block[2]}{words}"
