"""`Predictor`: a trained model on pictures; no dataset, no shards, no cluster.

Owns what can be asked of a model, and puts the predictions of a picture's views together. Pictures are read ahead, and
their views go through encoder and model in full batches across pictures, in the precision of evaluation. How a picture
becomes what the model reads is `diffusion_perception.predicting.encoding`'s; loading, `diffusion_perception.trained`'s;
what is drawn of a prediction, the task's; where the pictures of a command lie,
`diffusion_perception.predicting.picture_files`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffusion_perception import plugins
from diffusion_perception.devices import chosen_device
from diffusion_perception.predicting.encoding import Encoding, PictureOnItsWay
from diffusion_perception.predicting.picture_record import Picture, Question, class_id_of
from diffusion_perception.predicting.video_files import Frame, check_part, frames
from shards.errors import ConfigError, Reject

if TYPE_CHECKING:
    import torch

Plugin = Mapping[str, Any]
AHEAD = 2  # pictures read ahead of the model; each is held at full size
CPU_BATCH = 4  # views at once without a GPU: larger batches are no faster there, only larger


@dataclass(frozen=True)
class Predicted:
    """What became of one picture.

    Attributes:
        picture: as it was given.
        image: its pixels, uint8 [H, W, 3]; None where it could not be read.
        answers: of the task (`vpd.tasks.Pictured.answers`): one for each sentence, or one.
        error: why there is none.
    """

    picture: Picture
    image: np.ndarray | None = None
    answers: tuple[np.ndarray, ...] = ()
    error: Reject | None = None


class Predictor:
    """A trained run, loaded once.

    Args:
        run: folder of a training run, or a model folder.
        checkpoint: `best`, `last` or a step number.
        device: `cpu`, `cuda`, `cuda:1` or `mps`; empty takes a GPU if there is one.
        views: view plan that cuts an image, by name and options; empty takes the run's.
        memory_gb: what one picture may take; 0: what the machine has available.
    """

    def __init__(
        self, run: str, checkpoint: str = "best", device: str = "", views: Plugin | None = None, memory_gb: float = 0.0
    ) -> None:
        from diffusion_perception.trained import load_trained

        self.device = chosen_device(device)
        self.trained = load_trained(run, checkpoint, self.device)
        self.task = self.trained.task
        spec = views or self.trained.predict_views
        self.plan = plugins.build_views(spec, "views" if views else "predict_views")
        self.encoding = Encoding.of(self.trained, self.plan, memory_gb)

    @classmethod
    def from_pretrained(
        cls, name: str, *, revision: str | None = None, device: str = "", views: Plugin | None = None
    ) -> Predictor:
        """A saved model: its folder, its URL, or its id on the Hugging Face hub (`owner/name`); fetched once.

        Raises:
            ConfigError: no such folder, nothing of that id in the cache or on the hub, or not a model of this project.
            CorruptCheckpoint: a file is not the one that was published.
        """
        from diffusion_perception.hub import model_folder

        return cls(model_folder(name, revision), device=device, views=views)

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write the model as a folder that `from_pretrained` loads on any machine, with a card.

        Args:
            options: of `diffusion_perception.zoo.job.PublishJob`, such as `dtype="float16"`, `encoders="named"`.

        Raises:
            ConfigError: there is something already, or encoders that are not at hand. Nothing is written then.
        """
        self._publish(str(folder), options)

    def push_to_hub(self, repository: str, *, private: bool = True, replace: bool = False, **options: Any) -> None:
        """The same as a repository of the Hugging Face hub, `owner/name`, in one commit.

        Args:
            private: of a repository that is made.
            replace: files may be there already, and are overwritten.
            options: as of `save_pretrained`.

        Raises:
            ConfigError: files are there already, the hub refuses, or encoders that are not at hand.
        """
        self._publish(f"hf://{repository}", options, private=private, replace_there=replace)

    def _publish(
        self, out: str, options: Mapping[str, Any], *, private: bool = True, replace_there: bool = False
    ) -> None:
        from diffusion_perception.settings import bind
        from diffusion_perception.zoo.job import PublishJob
        from diffusion_perception.zoo.writing import publish

        step = {"checkpoint": str(self.trained.step)} if self.trained.step else {}
        job = bind(PublishJob, {"run": self.trained.home, "out": out, **step, **options})
        publish(job, private=private, replace_there=replace_there)

    def __call__(
        self,
        image: Picture,
        sentences: Sequence[str] = (),
        class_name: str = "",
        boxes: Sequence[Sequence[float]] = (),
    ) -> np.ndarray:
        """Predict one image: the numbers behind every answer.

        Args:
            image: a picture's file, or RGB as uint8 [H, W, 3].
            sentences: for tasks that take sentences, one prediction each.
            class_name: for tasks conditioned on a class; empty is the mean of all classes.
            boxes: for pose, (x, y, width, height) of each person in pixels; empty: the image is one person's box.

        Returns:
            float32 [P, C, H, W]: a prediction per sentence, or one; for pose float64 [1, persons, 17, 3]. Windows are
            blended without seams.

        Raises:
            ConfigError: no sentence where the task needs one, an unknown class, or a box outside the image.
            Reject: a file that cannot be read as a picture, an array of another type or shape, or a picture too large
                for the memory there is.
        """
        import torch

        asked = self._question(sentences, class_name, boxes)
        with torch.inference_mode():
            ((one, outputs),) = self._outputs([image], asked, 0, whole=True)
            if one.error:
                raise one.error
            assert one.record is not None
            return self.task.predictions(one.record, outputs).cpu().numpy()

    def many(
        self,
        pictures: Iterable[Picture],
        sentences: Sequence[str] = (),
        class_name: str = "",
        boxes: Sequence[Sequence[float]] = (),
        batch_size: int = 0,
    ) -> Iterator[Predicted]:
        """Predict pictures one after the other, in order; read ahead and batched across them.

        Args:
            pictures: files, URLs that fsspec reads, RGB as uint8 [H, W, 3], or frames of a video; taken one by one.
            sentences, class_name, boxes: as of a call, the same for every picture.
            batch_size: views or sentences in one pass of the model; 0: the run's on a GPU, else `CPU_BATCH`.

        Returns:
            A generator. A picture that cannot be read comes in its turn, with the error, and stops no other.

        Raises:
            ConfigError: as of a call.
        """
        return self._many(pictures, self._question(sentences, class_name, boxes), batch_size)

    def video(
        self,
        place: str | Path,
        sentences: Sequence[str] = (),
        class_name: str = "",
        boxes: Sequence[Sequence[float]] = (),
        batch_size: int = 0,
        start_s: float = 0.0,
        end_s: float = 0.0,
        every: int = 1,
    ) -> Iterator[Predicted]:
        """Predict the frames of a video, in order, as `many` does pictures; needs the extra `video`.

        Args:
            place: path, or URL that fsspec reads.
            sentences, class_name, boxes, batch_size: as of `many`.
            start_s, end_s, every: which frames, as of `diffusion_perception.predicting.video_files.frames`.

        Returns:
            A generator; `picture` of what it gives is the frame, with its number and time.

        Raises:
            ConfigError: as of `many`, or a part of a video that cannot be.
            Reject: from the generator, where the video cannot be read any further; the frames before have been given.
        """
        check_part(start_s, end_s, every)
        shown = _with_ending(frames(place, start_s, end_s, every))
        return _raised(self._many(shown, self._question(sentences, class_name, boxes), batch_size))

    def _many(self, pictures: Iterable[Picture | Reject], asked: Question, batch_size: int) -> Iterator[Predicted]:
        import torch

        passes = self._outputs(pictures, asked, batch_size, whole=False)
        while True:
            with torch.inference_mode():  # not around `yield`: what the caller does is none of it
                found = next(passes, None)
                if found is None:
                    return
                one, outputs = found
                answers = () if one.record is None else tuple(self.task.answers(one.record, outputs))
            yield Predicted(one.picture, one.image, answers, one.error)

    def _question(self, sentences: Sequence[str], class_name: str, boxes: Sequence[Sequence[float]]) -> Question:
        if self.task.uses_text and not sentences:
            raise ConfigError("say what to look for: sentence='the dog on the left'.")
        if isinstance(sentences, str):
            raise ConfigError(f"sentences is the text {sentences!r}; expected a list of sentences: [{sentences!r}].")
        class_id_of(class_name, self.trained.class_names)
        return Question(tuple(sentences), class_name, tuple(tuple(box) for box in boxes))

    def _outputs(
        self, pictures: Iterable[Picture | Reject], asked: Question, batch_size: int, *, whole: bool
    ) -> Iterator[tuple[PictureOnItsWay, torch.Tensor]]:
        """Every picture with the outputs of its samples; none for one that could not be read."""
        from vpd.inference.evaluate import outputs_of, samples_of
        from vpd.inference.packing import kind_of, read_ahead
        from vpd.model.device_batch import Encoders
        from vpd.training.step.numerics import autocast_of

        size = batch_size or (CPU_BATCH if self.device.type == "cpu" else self.trained.data.eval_batch_size)
        read = read_ahead(pictures, lambda picture: self.encoding.read(picture, asked, whole=whole), AHEAD)
        fields = ("text",) if self.encoding.text else ()
        vision = self.encoding.vision is not None
        samples = (
            (one, samples_of(self.task, one.record, *fields, vision=vision) if one.record else {})
            for one in self.encoding.encoded(read, asked, size)
        )
        autocast = autocast_of(self.trained.precision, self.device)
        model, task = self.trained.model, self.task
        yield from outputs_of(model, task, samples, size, self.device, Encoders(), autocast, kind_of)


def _with_ending(shown: Iterator[Frame]) -> Iterator[Frame | Reject]:
    """The frames of a video; where it breaks off, the reason comes last, behind the frames on their way."""
    try:
        yield from shown
    except Reject as reject:
        yield reject


def _raised(predicted: Iterator[Predicted]) -> Iterator[Predicted]:
    """What came of a video's frames; raises how it ended."""
    for one in predicted:
        if isinstance(one.picture, Reject):
            raise one.picture
        yield one
