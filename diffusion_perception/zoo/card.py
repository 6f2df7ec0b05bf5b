"""The card of a published model: README.md, with the header that the Hugging Face hub reads.

Says what `training.json` and the blueprint say, in words; nothing is made up, and there are no dates. Terms of data are
`pipeline.datasets`', those of base models known here are listed below with their source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from diffusion_perception.zoo.recipe import method_of, recipe_in_words
from pipeline.stocktaking.names import described

if TYPE_CHECKING:
    from diffusion_perception.zoo.job import PublishJob
    from diffusion_perception.zoo.record import Record, Score
    from vpd.exchange.pretrained import Blueprint

CARD = "README.md"
LIBRARY = "diffusion-perception"
PIPELINES = {  # task -> the hub's name of its kind
    "refer": "image-segmentation",
    "seg": "image-segmentation",
    "depth": "depth-estimation",
    "pose": "keypoint-detection",
}
METRICS = {"mIoU": "mean_iou"}  # the hub's names of scores; others keep ours
TITLES = {
    "refer": "referring segmentation",
    "seg": "semantic segmentation",
    "depth": "depth estimation",
    "pose": "human pose",
}
# Licences as the models' own pages on the hub state them; the first part of an id that fits counts.
LICENCES = {
    "stable-diffusion-v1-5/": "creativeml-openrail-m",
    "runwayml/stable-diffusion-v1-5": "creativeml-openrail-m",
    "CompVis/stable-diffusion-v1": "creativeml-openrail-m",
    "nota-ai/bk-sdm": "creativeml-openrail-m",
    "stabilityai/stable-diffusion-2": "openrail++",
}
OPENRAIL = (
    "Weights of {base} are under {name} (https://huggingface.co/spaces/CompVis/stable-diffusion-license), and so are "
    "these, which derive from them. Whoever passes them on, changed or not, passes on a copy of that licence and its "
    "use restrictions (paragraphs 4 and 5, attachment A), and says what was changed. Changed here: the UNet was "
    "{changed}, and a head was added."
)
OTHER = (
    "The UNet{encoders} derive from {base}, whose licence holds for these weights, too. Which it is, this project does "
    "not know: whoever publishes or uses them must."
)


def card(title: str, job: PublishJob, blueprint: Blueprint, record: Record, n_weights: int) -> str:
    """Markdown text; `n_weights` counts the network's numbers."""
    task = str(blueprint.task.get("name"))
    kind = TITLES.get(task.rpartition(".")[2], task)
    h, w = blueprint.size_px
    where = "inside this folder" if job.encoders == "inside" else "fetched by their hub id"
    return f"""---
{_header(title, job, blueprint, record)}---

# {title}

A model for {kind}: {method_of(blueprint)}. {n_weights / 1e6:,.1f} million weights in {job.dtype}, made for views of
{h} x {w} pixels. Its frozen encoders ({", ".join(blueprint.encoders)}) are {where}.

## Use

```python
from diffusion_perception import Predictor

predictor = Predictor.from_pretrained("{place_of(job)}")
answer = next(predictor.many(["photo.jpg"]{', ["the dog on the left"]' if task == "refer" else ""})).answers[0]
```

The files are safetensors and JSON, and `digests.json` has the sha256 of each, which are compared when the model is
loaded. `config.json` is what the network is built from, `training.json` how it was trained.

## Recipe

{recipe_in_words(blueprint, record)}

## Scores

{_scores(record)}

## Environment

{", ".join(f"{name} {value}" for name, value in sorted(record.environment.items())) or "Not recorded."}

## Terms

{_terms(job, blueprint, record)}
"""


def place_of(job: PublishJob) -> str:
    """As `from_pretrained` takes it: a hub id, a URL, or the folder's own name."""
    if job.out.startswith("hf://"):
        return job.out.removeprefix("hf://").rstrip("/").partition("@")[0]
    place = job.out.removeprefix("file://")
    return place if "://" in place else place.rstrip("/").rpartition("/")[2]


def licence_of(job: PublishJob, record: Record) -> str:
    """The hub's name of the licence; `other` where nobody said and the base is not known."""
    known = next((name for start, name in LICENCES.items() if record.base.startswith(start)), "other")
    return job.license or known


def _header(title: str, job: PublishJob, blueprint: Blueprint, record: Record) -> str:
    task, licence = str(blueprint.task.get("name")), licence_of(job, record)
    data: dict[str, Any] = {"license": licence}
    if licence == "other":
        data["license_name"] = "see-terms"
    data["library_name"] = LIBRARY
    if task in PIPELINES:
        data["pipeline_tag"] = PIPELINES[task]
    method = "ecodepth" if blueprint.vision else "meta-prompts" if blueprint.prompts else "vpd"
    data["tags"] = [LIBRARY, "stable-diffusion", method, TITLES.get(task, task).replace(" ", "-")]
    if "/" in record.base:
        data |= {"base_model": record.base, "base_model_relation": "finetune"}
    if record.datasets:
        data["datasets"] = list(record.datasets)
    if results := [_result(task, score, record) for score in record.scores if _metrics(score)]:
        data["metrics"] = sorted({metric["type"] for result in results for metric in result["metrics"]})
        data["model-index"] = [{"name": title, "results": results}]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _result(task: str, score: Score, record: Record) -> dict[str, Any]:
    dataset: dict[str, Any] = {"type": record.datasets[0] if len(record.datasets) == 1 else score.set}
    dataset["name"] = score.set
    if score.fingerprint:
        dataset["args"] = {"fingerprint": score.fingerprint}
    return {
        "task": {"type": PIPELINES.get(task, "other"), "name": TITLES.get(task, task)},
        "dataset": dataset,
        "metrics": _metrics(score),
    }


def _metrics(score: Score) -> list[dict[str, Any]]:
    return [
        {"type": METRICS.get(name, name), "name": name, "value": round(float(value), 6)}
        for name, value in score.values.items()
        if name not in ("samples", "loss")
    ]


def _scores(record: Record) -> str:
    if not record.scores:
        return "None are recorded. `diffusion-perception evaluate run=... sets=[...]` makes some."
    names = list(dict.fromkeys(name for score in record.scores for name in score.values))
    lines = [f"| set | fingerprint | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for score in record.scores:
        cells = (_cell(score.values[name]) if name in score.values else "-" for name in names)
        part = "" if score.whole else ", a part of it"
        lines.append(f"| {score.set}{part} | {_short(score.fingerprint)} | {' | '.join(cells)} |")
    how = "By this project's evaluation, whose conventions are those of the published code, at this very step."
    return "\n".join([how, "", *lines])


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _short(fingerprint: str) -> str:
    return f"`{fingerprint[:12]}`" if fingerprint else "not known"


def _terms(job: PublishJob, blueprint: Blueprint, record: Record) -> str:
    return "\n\n".join(_paragraphs(job, blueprint, record))


def _paragraphs(job: PublishJob, blueprint: Blueprint, record: Record) -> Iterator[str]:
    base, licence = record.base or "the model it began with", licence_of(job, record)
    if licence in ("creativeml-openrail-m", "openrail++"):
        name = "CreativeML Open RAIL-M" if licence == "creativeml-openrail-m" else "CreativeML Open RAIL++-M"
        changed = "left as it was" if record.settings.get("model.train") in ("frozen", "head") else "trained further"
        yield OPENRAIL.format(base=base, name=name, changed=changed)
    elif job.license:
        yield f"Published under {job.license}, as whoever published it says. It derives from {base}."
    else:
        inside = " and the encoders" if job.encoders == "inside" else ""
        yield OTHER.format(encoders=inside, base=base)
    for name in record.datasets:
        data = described(name)
        yield f"Trained on {data.title}, whose terms are: {data.terms}"
    if not record.datasets:
        yield "Which data it was trained on, and under which terms, its training set does not name."
