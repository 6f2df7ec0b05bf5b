"""The library: everything a program, a notebook or a command needs, without Ray.

    from diffusion_perception import Predictor, ShardSet

Names are loaded when they are first asked for, so importing this package loads neither torch nor Ray, diffusers or
transformers. The commands in `jobs` are thin on what is here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

_ROOT = Path(__file__).resolve().parent.parent


def _refuse_strangers() -> None:
    """ImportError if a file of the user's stands where this project's own packages should be found."""
    for name in ("shards", "pipeline", "vpd"):
        own, found = _ROOT / name, _found(name)
        if found != str(own / "__init__.py"):
            how = "is already imported from" if name in sys.modules else "would be imported from"
            raise ImportError(
                f"`{name}` {how} {found}, which is not this project's own package, {own}. A file or folder of that "
                "name comes earlier on Python's path and hides it: rename yours, or start Python in another folder."
            )


def _found(name: str) -> str:
    """The file that `import name` gives; what there is instead, if it is no file."""
    loaded = sys.modules.get(name)  # asked first: a module made by hand has no spec to find
    spec = importlib.util.find_spec(name) if loaded is None else None
    file = getattr(loaded, "__file__", None) if spec is None else spec.origin
    if file:
        return str(Path(file).resolve())
    folders = getattr(loaded, "__path__", None) if spec is None else spec.submodule_search_locations
    return ", ".join(map(str, folders)) if folders else "nowhere"


_refuse_strangers()

_PUBLIC = {  # name -> module that defines it
    "Predictor": "diffusion_perception.predicting.predictor",
    "Features": "diffusion_perception.features.reading",
    "ShardSet": "shards.reading.reader",
    "SetDataset": "diffusion_perception.torch_data.mapped",
    "SetStream": "diffusion_perception.torch_data.streamed",
    "SetLoader": "diffusion_perception.torch_data.loader",
    "Subset": "shards.reading.subset",
    "CaptionDrop": "shards.reading.caption_drop",
    "Mixture": "diffusion_perception.torch_data.opened",
    "MixedSet": "diffusion_perception.torch_data.opened",
    "Stage": "shards.reading.mixing",
    "ShardBuilder": "diffusion_perception.building.builder",
    "BuildJob": "diffusion_perception.building.builder",
    "TrainJob": "diffusion_perception.train_job",
    "train": "diffusion_perception.training",
    "EvaluateJob": "diffusion_perception.evaluation",
    "evaluate": "diffusion_perception.evaluation",
    "Trained": "diffusion_perception.trained",
    "load_trained": "diffusion_perception.trained",
    "from_pretrained": "diffusion_perception.blueprints",
    "publish_sets": "diffusion_perception.publishing",
    "pull_sets": "shards.upkeep.publication",
    "diff_sets": "shards.upkeep.difference",
    "repair_set": "shards.upkeep.mending",
    "merge_sets": "shards.upkeep.merging",
    "split_set": "shards.upkeep.splitting",
    "convert_set": "pipeline.building.converting",
    "Conversion": "pipeline.building.converting",
    "compare_with_source": "diffusion_perception.building.source_standing",
    "write_set_page": "diffusion_perception.set_page",
    "hub_features": "shards.upkeep.hub_features",
    "describe_for_energon": "shards.upkeep.energon",
    "read_file": "diffusion_perception.settings",
    "bind": "diffusion_perception.settings",
}

if TYPE_CHECKING:
    from diffusion_perception.blueprints import from_pretrained
    from diffusion_perception.building.builder import BuildJob, ShardBuilder
    from diffusion_perception.building.source_standing import compare_with_source
    from diffusion_perception.evaluation import EvaluateJob, evaluate
    from diffusion_perception.features.reading import Features
    from diffusion_perception.predicting.predictor import Predictor
    from diffusion_perception.publishing import publish_sets
    from diffusion_perception.set_page import write_set_page
    from diffusion_perception.settings import bind, read_file
    from diffusion_perception.torch_data.loader import SetLoader
    from diffusion_perception.torch_data.mapped import SetDataset
    from diffusion_perception.torch_data.opened import MixedSet, Mixture
    from diffusion_perception.torch_data.streamed import SetStream
    from diffusion_perception.train_job import TrainJob
    from diffusion_perception.trained import Trained, load_trained
    from diffusion_perception.training import train
    from pipeline.building.converting import Conversion, convert_set
    from shards.reading.caption_drop import CaptionDrop
    from shards.reading.mixing import Stage
    from shards.reading.reader import ShardSet
    from shards.reading.subset import Subset
    from shards.upkeep.difference import diff_sets
    from shards.upkeep.energon import describe_for_energon
    from shards.upkeep.hub_features import hub_features
    from shards.upkeep.mending import repair_set
    from shards.upkeep.merging import merge_sets
    from shards.upkeep.publication import pull_sets
    from shards.upkeep.splitting import split_set

__all__ = [
    "BuildJob",
    "CaptionDrop",
    "Conversion",
    "EvaluateJob",
    "Features",
    "MixedSet",
    "Mixture",
    "Predictor",
    "SetDataset",
    "SetLoader",
    "SetStream",
    "ShardBuilder",
    "ShardSet",
    "Stage",
    "Subset",
    "TrainJob",
    "Trained",
    "bind",
    "compare_with_source",
    "convert_set",
    "describe_for_energon",
    "diff_sets",
    "evaluate",
    "from_pretrained",
    "hub_features",
    "load_trained",
    "merge_sets",
    "publish_sets",
    "pull_sets",
    "read_file",
    "repair_set",
    "split_set",
    "train",
    "write_set_page",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
