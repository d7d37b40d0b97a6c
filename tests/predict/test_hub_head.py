"""The head of a model card is YAML that model hubs read, and says no more than was measured."""

import math
import shutil
from pathlib import Path

import pytest
import yaml

from ich.base import paths
from ich.base.files import read_json
from ich.predict import hub_head, model_card, shipped_card
from ich.report.choice import Choice
from ich.score.operating import FIXED

FACTS = {
    "model": "dunet", "n_filters": 2, "folds": ["fold_01"], "protocol": "patient", "weights": "last", "recipe": "fast",
    "epochs": 1, "data": "d", "training_slices": 7, "origin": "own scans",
}  # fmt: skip
SCORES = {"patients with blood": 6, "mean Dice over patients with blood": 0.61234}


def parsed(page: str) -> dict:
    """The YAML between the first two lines of dashes; the title of the page follows."""
    nothing, head, rest = page.split("---\n", 2)
    assert nothing == ""
    assert rest.startswith("# ")
    return yaml.safe_load(head)


def card(scores: dict, **facts: object) -> dict:
    """The head of the card of an export with these scores and facts."""
    made = {
        "facts": FACTS | facts, "neighbours": 0, "test_time_flip": False, "threshold": 0.5,
        "image_size": 32, "windows": [(40, 120)],
        "scores": scores, "largest_difference_from_keras": {}, "int8_dice_with_float32": None,
    }  # fmt: skip
    return parsed(model_card.page(made, Choice(FIXED, "default", "default")))


def test_card_of_an_export() -> None:
    head = card(SCORES)
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("unknown", "onnx", "image-segmentation")
    assert {"onnx", "research-only", "head-ct"} <= set(head["tags"])
    assert hub_head.PHANTOM_TAG not in head["tags"]
    assert head["metrics"] == ["dice"]
    ((result,),) = [index["results"] for index in head["model-index"]]
    assert result["dataset"] == {"type": "own-scans", "name": "own scans, 6 with blood, split by patient"}
    assert result["metrics"][0] == {
        "type": "dice", "value": 0.612, "name": "mean Dice over patients with blood, single networks out of fold",
    }  # fmt: skip


def test_phantoms_are_a_tag() -> None:
    head = card(SCORES, origin="phantoms")
    assert hub_head.PHANTOM_TAG in head["tags"]
    assert head["model-index"][0]["results"][0]["dataset"]["type"] == "phantoms"


@pytest.mark.parametrize(
    ("scores", "facts"),
    [
        ({}, {}),
        ({**SCORES, "mean Dice over patients with blood": math.nan}, {}),
        (SCORES, {"protocol": "slice"}),
        (SCORES, {"patients_known": False}),
    ],
)
def test_no_score_is_listed_where_there_is_none_or_it_would_flatter(scores: dict, facts: dict) -> None:
    assert "model-index" not in card(scores, **facts)


def test_names_are_quoted() -> None:
    results = [hub_head.Result("own", 'a: "b" # c', "d - e", 0.5)]
    head = yaml.safe_load(hub_head.head("x: [y]", "mit", "keras", (), results).split("---\n")[1])
    assert head["model-index"][0]["name"] == "x: [y]"
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == 'a: "b" # c'


def test_card_of_the_shipped_network_is_what_its_measurements_make(tmp_path: Path) -> None:
    made = tmp_path / "weights"
    shutil.copytree(paths.SHIPPED, made, ignore=shutil.ignore_patterns("exported*", "README.md"))
    shipped_card.write(made)
    page = (made / "README.md").read_text(encoding="utf-8")
    assert page == (paths.SHIPPED / "README.md").read_text(encoding="utf-8")
    head = parsed(page)
    assert (head["license"], head["library_name"]) == ("mit", "keras")
    assert hub_head.PHANTOM_TAG in head["tags"]
    found = [result["metrics"][0]["value"] for result in head["model-index"][0]["results"]]
    rows = read_json(made / shipped_card.MEASURED)["result"]["rows"]
    assert found == [round(row["dice_mean"], 2) for row in rows]
