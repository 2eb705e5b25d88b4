from __future__ import annotations

from typing import Any

import pytest

from atlasbench.core.errors import InvalidOptionError, InvalidWorkloadError
from atlasbench.core.recipe import ModelChoice, Recipe, SweepRequest
from atlasbench.core.resolution import Resolution

SIZE = Resolution(64, 64)


def request(*models: ModelChoice | str, **fields: Any) -> SweepRequest:
    return SweepRequest(models=models, resolutions=fields.pop("resolutions", (SIZE,)), **fields)


def test_a_model_has_the_options_of_all_and_its_own_win() -> None:
    own = ModelChoice(name="atlas_s", label="mine", options={"patch_size": 8, "depths": [4]})

    plain, chosen = request("vit_b", own, options={"patch_size": 4, "mlp_ratio": 2}).choices

    assert plain == ModelChoice(name="vit_b", options={"patch_size": 4, "mlp_ratio": 2})
    assert (chosen.name, chosen.label) == ("atlas_s", "mine")
    assert chosen.options == {"patch_size": 8, "mlp_ratio": 2, "depths": [4]}


def test_a_model_has_the_scale_drops_of_all_unless_it_has_its_own() -> None:
    choices = request("atlas_s", ModelChoice(name="atlas_b", scale_drops=("none",)), scale_drops=("2-10",)).choices

    assert [choice.scale_drops for choice in choices] == [("2-10",), ("none",)]


@pytest.mark.parametrize("key", ["models", "resolutions", "batch_sizes", "modes", "dtypes"])
def test_a_recipe_needs_one_of_everything(key: str) -> None:
    lists: dict[str, Any] = {"models": ("vit_b",), "resolutions": (SIZE,), key: ()}

    with pytest.raises(InvalidWorkloadError) as caught:
        Recipe(request=SweepRequest(**lists))

    assert str(caught.value) == f"{key}: a recipe needs at least one."


@pytest.mark.parametrize(
    ("timing", "message"),
    [
        ({"min_sample": 3}, "timing: there is no constant 'min_sample'. Did you mean 'min_samples'?"),
        ({"min_samples": 2.5}, "timing: min_samples must be a whole number, got 2.5."),
        ({"half_width": float("inf")}, "timing: half_width must be a number, got inf."),
        ({"half_width": 0.0}, "timing: half_width is 0; it must be more than 0."),
    ],
)
def test_constants_that_make_no_sense_are_refused(timing: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Recipe(request=request("vit_b"), timing=timing)

    assert str(caught.value) == message


def test_constants_are_judged_beside_those_of_the_preset() -> None:
    timing = {"give_up_s": 2.5}  # below the 3 s that a full measurement samples for

    assert Recipe(request=request("vit_b"), quick=True, timing=timing).timing == timing
    with pytest.raises(InvalidOptionError, match=r"give_up_s is 2\.5; it must be at least min_time_s, 3"):
        Recipe(request=request("vit_b"), timing=timing)
