"""Training recipes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared_models.table import load

if TYPE_CHECKING:
    from server.training.recipe import Recipe

RECIPES = {
    "iou_match": "server.training.recipes.iou_match:IouMatch",
    "st3d": "server.training.recipes.st3d:St3d",
    "supervised": "server.training.recipes.supervised:Supervised",
    "upcycling": "server.training.recipes.upcycling:Upcycling",
}


def recipe_class(name: str) -> type[Recipe]:
    """The recipe of this name.

    Raises:
        UnknownNameError: there is none; the message lists the known ones.
    """
    found: Any = load(RECIPES, "recipe", name)
    return found
