"""All settings of a training run in one frozen object, and the named presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import ClassifierError
from .noise import NoiseSettings


class _Strict(BaseModel):
    # A mistyped key in a user's file is an error, not a setting that silently does nothing.
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Strict):
    """A table of labelled messages.

    Attributes:
        path: A file, or a Hub data set ``owner/name``, ``owner/name:configuration`` or
            ``owner/name:configuration@split``.
        columns: ``text`` or a task to the column that holds it, where the names differ.
        weight: How much each row counts in the loss.
    """

    path: str
    columns: dict[str, str] = {}
    weight: float = Field(default=1.0, gt=0)


class Auxiliary(_Strict):
    """A further task that is only trained, to teach the encoder; its head stays out of the model folder.

    Attributes:
        name: Name of the task, an identifier.
        path: As in `Source`.
        column: The column with the labels; the only one beside ``text`` if None.
    """

    name: str
    path: str
    column: str | None = None


class TrainSettings(_Strict):
    """Everything that decides what a training run yields.

    Attributes:
        tasks: Name of a task set that comes with the package, or a JSON file with a declaration.
        data: What to train on.
        validation: A file to validate on, or None for a split of the data.
        dev: A file for calibration and the report, or None to use the validation split. Texts that stand in
            it are dropped from the training data.
        columns: ``text`` or a task to the column of these two files that holds it, where the names differ.
        aux: Auxiliary tasks.
        unlabelled: Tables of further messages without labels, to learn the teachers' answers on.
        teachers: Trained model folders, or repositories on the Hub, with the same task set. Their mean answer
            is part of what the model learns.
        distill: Share of the teachers' answer in the target of a labelled row; the rest is its label.
        base: Folder or Hub name of a DistilBERT or BERT encoder.
        teacher: Train a teacher: `base` may then be any encoder, or a teacher to train on, and the folder has no ONNX
            file to serve.
        revision: Commit, tag or branch of a Hub encoder.
        out: The model folder to write. The run's own files stand beside it, in ``<out>.run``.
        seed: Fixes split, batches, noise, dropout and new heads.
        epochs: Passes over the data; 0 trains nothing: the model folder `base` is calibrated, exported and reported,
            and keeps its policy.
        max_steps: Stop after this many optimizer steps, also of the schedule.
        batch_size: Messages per optimizer step, over all processes together.
        accumulation: Parts into which each process cuts its share of a batch to save memory; doesn't
            change the result.
        learning_rate: Peak of the schedule.
        layer_decay: Factor on the learning rate from each layer to the one below; 1 is off.
        schedule: How the rate falls after the warm-up.
        warmup: Share of the steps in which the rate rises.
        weight_decay: AdamW's, on matrices only.
        clip: Largest norm of the gradient.
        precision: ``auto`` takes bfloat16 where the hardware computes in it.
        pooling: ``mean`` over the tokens, or the ``first`` token's vector.
        dropout: Dropout of the pooled vector before the heads.
        max_tokens: Longest message in tokens; what is longer is cut.
        label_smoothing: Share of the target that is spread over all labels.
        class_weights: Weigh labels by the inverse of their frequency.
        focal_gamma: Focusing of the focal loss (Lin et al. 2017, arXiv:1708.02002); 0 is cross-entropy.
        r_drop: Weight of R-Drop's divergence of two passes (Liang et al. 2021, arXiv:2106.14448); 0 is off.
        task_weights: Weight of a task's loss; 1 where none is given.
        aux_weight: Weight of the loss of each auxiliary task.
        noise: Noise of the training messages, new in each epoch; None is off.
        spelling: Language of the dictionary that serving mends spelling with; None is off.
        validation_share: About this share of the data becomes validation.
        patience: Epochs without a better validation score before the run stops.
        group_lengths: Batch messages of like length together, to save padding.
        checkpoint_steps: Steps between checkpoints; one is also made after each epoch.
        report_to: Experiment trackers that accelerate knows.
    """

    tasks: str = "support"
    data: tuple[Source, ...] = Field(min_length=1)
    validation: str | None = None
    dev: str | None = None
    columns: dict[str, str] = {}
    aux: tuple[Auxiliary, ...] = ()
    unlabelled: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    distill: float = Field(default=0.5, ge=0, le=1)
    base: str
    teacher: bool = False
    revision: str = "main"
    out: Path
    seed: int = 0
    epochs: int = Field(default=4, ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    accumulation: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    schedule: Literal["linear", "cosine"] = "linear"
    warmup: float = Field(default=0.06, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    pooling: Literal["mean", "first"] = "mean"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    max_tokens: int = Field(default=256, ge=3)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    class_weights: bool = False
    focal_gamma: float = Field(default=0.0, ge=0)
    r_drop: float = Field(default=0.0, ge=0)
    task_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    aux_weight: float = Field(default=0.5, gt=0)
    noise: NoiseSettings | None = NoiseSettings()
    spelling: Literal["ar", "de", "en", "es", "eu", "fa", "fr", "it", "lv", "nl", "pt", "ru"] | None = "en"
    validation_share: float = Field(default=0.1, gt=0, le=0.5)
    patience: int = Field(default=2, ge=1)
    group_lengths: bool = True
    checkpoint_steps: int = Field(default=200, ge=1)
    report_to: tuple[str, ...] = ()

    @field_validator("out")
    @classmethod
    def _is_a_folder_of_its_own(cls, out: Path) -> Path:
        if out.name in ("", ".."):
            raise ValueError(
                f"{str(out)!r} is no folder of its own, and a finished model replaces the folder; name one"
            )
        return out

    @property
    def run(self) -> Path:
        """The folder of checkpoints, log and curves, beside the model folder."""
        return self.out.with_name(f"{self.out.name}.run")

    def steps_per_epoch(self, rows: int) -> int:
        """Optimizer steps of an epoch; what doesn't fill the last batch waits for another one (`batches.plan`).

        Args:
            rows: Training messages.
        """
        return max(rows // self.batch_size, 1)

    def steps(self, rows: int) -> int:
        """Optimizer steps of a whole run, unless it runs out of patience.

        Args:
            rows: Training messages.
        """
        total = self.epochs * self.steps_per_epoch(rows)
        return min(total, self.max_steps or total)

    @classmethod
    def build(cls, *layers: Mapping[str, Any]) -> TrainSettings:
        """Put settings together; the later layer wins, key by key, also within `noise`.

        Args:
            layers: For instance a preset, a file's values and the command line's.

        Raises:
            ClassifierError: A key is unknown or missing, or a value is impossible.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            before, noise = values.get("noise"), layer.get("noise")
            values |= layer
            if isinstance(before, Mapping) and isinstance(noise, Mapping):
                values["noise"] = {**before, **noise}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise ClassifierError(f"These training settings cannot be used: {faults}.") from None


#: Recipes by name. The first three are the usual grid for fine-tuning an encoder of this kind; `ours` is
#: the one that the embedded model was trained with, beside teachers.
PRESETS: dict[str, dict[str, Any]] = {
    "config1": {"learning_rate": 2e-5, "epochs": 3, "batch_size": 16, "warmup": 0.1},
    "config2": {"learning_rate": 3e-5, "epochs": 4, "batch_size": 8, "warmup": 0.1},
    "config3": {"learning_rate": 5e-5, "epochs": 5, "batch_size": 16, "warmup": 0.1},
    "ours": {
        "learning_rate": 1e-4,
        "epochs": 4,
        "batch_size": 32,
        "warmup": 0.06,
        "noise": {"rate": 0.7, "typos": 0.65, "strength": 0.045, "names": 0.1},
    },
}


def preset(name: str) -> dict[str, Any]:
    """The values of a preset.

    Raises:
        ClassifierError: There is none of that name.
    """
    if name not in PRESETS:
        raise ClassifierError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def read_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Read settings of a command line.

    Args:
        texts: ``NAME=VALUE`` each; the value as in YAML.

    Raises:
        ClassifierError: One has no value, or one that is no YAML.
    """
    import yaml

    values = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not (name and found):
            raise ClassifierError(f"The setting {text!r} has no value; expected NAME=VALUE, such as max_steps=20.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ClassifierError(f"The value of the setting {text!r} is not YAML: {error}.") from None
    return values


def read_settings_file(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """Read a YAML file of settings.

    Args:
        path: The file.

    Returns:
        The preset that it starts from, if it names one under ``preset``, and its values.

    Raises:
        ClassifierError: It cannot be read, or is no mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClassifierError(f"The settings {str(path)!r} cannot be read as YAML: {error}.") from None
    if not isinstance(values, dict):
        raise ClassifierError(f"The settings {str(path)!r} hold no mapping; expected lines such as `epochs: 5`.")
    return values.pop("preset", None), values
