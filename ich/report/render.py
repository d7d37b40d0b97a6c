"""What report pages share: layout and style, and pictures inside the file, so that a page opens offline."""

import json
from collections.abc import Mapping
from pathlib import Path

import jinja2

from ich.base import record
from ich.base.files import write_text
from ich.report import gallery

SHARED = Path(__file__).parent  # layout.html.j2 and macros.html.j2
CITE = "Cite ICH Detector (CITATION.cff)"
CITE_CT_ICH = (
    ", and the data set: Hssayeni et al., Intracranial Hemorrhage Segmentation Using a Deep Convolutional Model, "
    "Data 2020, 5(1), 14"
)


def write(path: Path, template: Path, *, title: str, banner: str, citation: str = CITE, **facts: object) -> None:
    """Write a page; `template` extends layout.html.j2, `facts` are its variables."""
    loader = jinja2.FileSystemLoader([template.parent, SHARED])
    # Everything is escaped, since ids and file names are user input.
    page = jinja2.Environment(loader=loader, autoescape=True).get_template(template.name)
    html = page.render(title=title, banner=banner, citation=f"{citation}.", research_only=record.RESEARCH_ONLY, **facts)
    write_text(path, html)


def figure(path: Path, text: str) -> dict[str, str] | None:
    """A PNG to be shown on a page with its description, if it exists."""
    return {"source": gallery.data_url(path.read_bytes()), "text": text} if path.exists() else None


def as_text(facts: Mapping[str, object]) -> str:
    """What of a run.json a reader needs to repeat the run: settings, versions, and the state of the code."""
    names = ("identity", "packages", "python", "git_commit", "git_changed")
    return json.dumps({name: facts.get(name) for name in names}, indent=2)
