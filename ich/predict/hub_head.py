"""The YAML at the head of a model card, which model hubs such as Hugging Face read."""

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

TAGS = ("intracranial-hemorrhage", "head-ct", "medical-imaging", "research-only")
PHANTOM_TAG = "trained-on-phantoms"
HEAD = """---
license: {license}
library_name: {library}
pipeline_tag: image-segmentation
tags:
{tags}
metrics:
- dice
{index}---
"""
INDEX = """model-index:
- name: {name}
  results:
{results}
"""
RESULT = """  - task:
      type: image-segmentation
      name: intracranial hemorrhage on head CT
    dataset:
      type: {type}
      name: {name}
    metrics:
    - type: dice
      value: {value}
      name: {what}"""


class Result(NamedTuple):
    """A score: on what it was measured (a short name for a program, and in words), what it is, and its value."""

    type: str
    dataset: str
    what: str
    value: float


def head(name: str, license_name: str, library: str, tags: Sequence[str], results: Sequence[Result]) -> str:
    """The head of the card of network `name`; `tags` beside TAGS. A value that is not a number is left out."""
    known = [RESULT.format(type=each.type, name=json.dumps(each.dataset), value=each.value, what=json.dumps(each.what))
             for each in results if not math.isnan(each.value)]  # fmt: skip
    index = INDEX.format(name=json.dumps(name), results="\n".join(known)) if known else ""
    lines = "\n".join(f"- {tag}" for tag in (*TAGS, *tags))
    return HEAD.format(license=license_name, library=library, tags=lines, index=index)
