"""Every setting of a training run: frozen dataclasses, JSON in and out.

Bad values are refused when the config is made, with the field's dotted name and the value.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lisa.config.checkpoint_every import parse_every
from lisa.config.parameter_count import count_lisa
from lisa.errors import InputError
from lisa.label_orders import CELEBAMASK


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise InputError(f"{name} = {value!r}: {rule}")


@dataclass(frozen=True)
class DataConfig:
    """Where the faces are and how they are read."""

    root: str = "data/synthetic"
    """Folder with {train,val,test}/{images,masks} or {train,val,test}_{image,mask}."""
    size: int = 512
    """Side of the square that the network sees, in pixels. Other pictures are stretched to it."""
    workers: int = 2
    """Decoding processes per rank; 0 decodes in the training process."""
    label_order: str = CELEBAMASK
    """Order of the masks' ids: celebamask-hq, face-parsing.pytorch, or your own names from id 0 on, comma
    separated."""
    exclude: str = ""
    """File with paths to leave out, one a line from root on, as lisa.data.doctor --exclude-to writes it;
    empty for none."""
    cache: str = ""
    """Folder for decoded training pictures, 1 MB a face at 512 pixels; empty decodes them in every epoch."""

    def __post_init__(self) -> None:
        _require(self.size >= 16, "data.size", self.size, "at least 16 pixels")
        _require(self.workers >= 0, "data.workers", self.workers, "0 or more")


@dataclass(frozen=True)
class ModelConfig:
    """Which network is trained."""

    name: str = "lisa"
    """A network of lisa.models, by its name in timm's registry."""
    activation: Literal["prelu", "relu", "gelu"] = "prelu"
    """Activation of LISA's units (the report's Table 5)."""
    hamburger: Literal["bottleneck", "nmf"] = "bottleneck"
    """LISA's Hamburger: as published, or with the matrix decomposition that the report cites."""
    widths: tuple[int, int, int, int, int] = (32, 64, 142, 320, 512)
    """Channels of LISA's five encoder stages (Table 1)."""
    depths: tuple[int, int, int, int, int] = (1, 2, 2, 3, 1)
    """Blocks of LISA's five encoder stages (Table 1)."""
    hamburger_ratio: float = 0.5
    """Channels inside LISA's Hamburger, as a share of the fifth stage's."""
    auxiliary: bool = False
    """Train LISA with a classifier on each decoder stage too. They count against the cap (lower the widths)
    and are gone in the exported file."""
    max_parameters: int = 2_000_000
    """Networks with this many trainable parameters or more are refused."""

    def __post_init__(self) -> None:
        _require(self.max_parameters > 0, "model.max_parameters", self.max_parameters, "above 0")
        _require(min(self.widths) >= 2, "model.widths", self.widths, "at least 2 channels each")
        _require(min(self.depths) >= 1, "model.depths", self.depths, "at least 1 block each")
        _require(0 < self.hamburger_ratio <= 1, "model.hamburger_ratio", self.hamburger_ratio, "above 0 to 1")
        _require(
            self.name == "lisa" or not self.auxiliary, "model.auxiliary", self.auxiliary, "for lisa alone"
        )
        if self.name == "lisa":
            self._require_under_cap()

    def _require_under_cap(self) -> None:
        """LISA is counted before it is built: a config over the cap can't be written (contract 6)."""
        count = count_lisa(
            self.widths, self.depths, self.hamburger_ratio, self.activation == "prelu", self.auxiliary
        )
        if count >= self.max_parameters:
            raise InputError(
                f"model: widths {self.widths}, depths {self.depths}, hamburger_ratio {self.hamburger_ratio}"
                f"{', auxiliary classifiers' if self.auxiliary else ''} have {count:,} trainable parameters, "
                f"the cap is {self.max_parameters:,}: make it smaller or raise model.max_parameters"
            )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training picture; 0 switches an operation off."""

    flip: float = 0.5
    """Probability of a mirrored picture (left and right labels change places)."""
    rotation: float = 10.0
    """Largest rotation either way, in degrees."""
    scale: float = 0.0
    """Largest relative change of size: 0.25 draws factors from 0.75 to 1.25."""
    shift: float = 0.0
    """Largest shift, as a fraction of the side."""
    border: Literal["ignore", "background"] = "ignore"
    """Label of the pixels that rotation, scale and shift move in from outside."""
    crop: float = 0.0
    """Random resized crop: the largest share of the area that is cut away."""
    brightness: float = 0.2
    """Factors from 1 - b to 1 + b."""
    contrast: float = 0.2
    """Factors from 1 - c to 1 + c."""
    saturation: float = 0.2
    """Factors from 1 - s to 1 + s."""
    hue: float = 0.1
    """Largest change of hue, as a fraction of a full turn."""
    blur: float = 0.0
    """Largest sigma of a Gaussian blur, in pixels; for three pictures in ten."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise, for pictures in 0..1; for three pictures in ten."""
    jpeg: float = 0.0
    """JPEG artefacts: the largest loss of quality, 50 draws qualities from 50 to 100; for three in ten."""
    erase: float = 0.0
    """Largest share of the picture that one erased rectangle covers; for three in ten. Labels stay."""
    mixup: float = 0.0
    """Probability that a batch is blended with itself in another order (Zhang et al., ICLR 2018)."""
    cutmix: float = 0.0
    """Probability that a picture gets a rectangle of another one (Yun et al., ICCV 2019)."""
    paste: float = 0.0
    """Probability that a picture puts on the hat, glasses, earrings and necklace of another one."""

    def __post_init__(self) -> None:
        for name in ("flip", "mixup", "cutmix", "paste"):
            _require(0 <= getattr(self, name) <= 1, f"augment.{name}", getattr(self, name), "0 to 1")
        _require(0 <= self.rotation <= 180, "augment.rotation", self.rotation, "0 to 180 degrees")
        _require(0 <= self.hue <= 0.5, "augment.hue", self.hue, "0 to 0.5 of a turn")
        _require(0 <= self.blur <= 10, "augment.blur", self.blur, "0 to 10 pixels")
        _require(0 <= self.jpeg <= 99, "augment.jpeg", self.jpeg, "0 to 99")
        for name in ("scale", "shift", "crop", "brightness", "contrast", "saturation", "noise", "erase"):
            _require(0 <= getattr(self, name) < 1, f"augment.{name}", getattr(self, name), "0 to below 1")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss's terms; the report's Section 2.3 has the first two."""

    cross_entropy: float = 1.0
    """Weight of the cross entropy (Eq. 1)."""
    dice: float = 1.0
    """Weight of the soft Dice loss (Eq. 2)."""
    lovasz: float = 0.0
    """Weight of the Lovasz-softmax loss (Berman et al., CVPR 2018)."""
    focal: float = 0.0
    """Weight of the focal loss (Lin et al., ICCV 2017)."""
    dice_lambda: float = 1e-4
    """Eq. 2's lambda, added to its denominator."""
    focal_gamma: float = 2.0
    """The focal loss's exponent."""
    label_smoothing: float = 0.0
    """Share of the cross entropy's target that is spread over all classes."""
    class_balance: float = 0.0
    """Cross entropy weights classes by their frequency in the training masks to the power of minus this."""
    auxiliary: float = 0.4
    """Weight of the mean loss of the auxiliary classifiers, where model.auxiliary has them."""

    def __post_init__(self) -> None:
        for name in ("cross_entropy", "dice", "lovasz", "focal", "focal_gamma", "auxiliary"):
            _require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "0 or more")
        total = self.cross_entropy + self.dice + self.lovasz + self.focal
        _require(total > 0, "loss", "all weights 0", "one must be above 0")
        _require(self.dice_lambda > 0, "loss.dice_lambda", self.dice_lambda, "above 0")
        _require(0 <= self.label_smoothing < 1, "loss.label_smoothing", self.label_smoothing, "0 to below 1")
        _require(0 <= self.class_balance <= 1, "loss.class_balance", self.class_balance, "0 to 1")


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and schedule, both timm's."""

    name: Literal["adam", "adamw"] = "adamw"
    """Optimizer."""
    lr: float = 2e-3
    """Learning rate after warm-up."""
    weight_decay: float = 1e-2
    """Weight decay; biases, norms and PReLU slopes have none."""
    schedule: Literal["cosine", "poly", "plateau"] = "cosine"
    """How the rate falls; plateau follows the validation loss (factor 0.1, patience 5 epochs)."""
    warmup: float = 0.05
    """Share of all steps in which the rate rises linearly; plateau has no warm-up."""
    min_lr: float = 1e-5
    """The rate never falls below this once it has warmed up."""
    clip_norm: float = 5.0
    """Gradients are scaled down to this norm; 0 leaves them alone."""
    ema_decay: float = 0.999
    """Decay per step of the averaged weights; 0 keeps none. Of an epoch's raw and averaged weights the better
    ones count."""

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optim.lr", self.lr, "above 0")
        _require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, "0 or more")
        _require(0 <= self.warmup < 1, "optim.warmup", self.warmup, "0 to below 1")
        _require(0 <= self.min_lr <= self.lr, "optim.min_lr", self.min_lr, "0 to optim.lr")
        _require(self.clip_norm >= 0, "optim.clip_norm", self.clip_norm, "0 or more")
        _require(0 <= self.ema_decay < 1, "optim.ema_decay", self.ema_decay, "0 to below 1")


@dataclass(frozen=True)
class TrainConfig:
    """The loop."""

    init: str = ""
    """Checkpoint whose weights the run begins with: fine-tuning, or the next stage at a larger size. Empty
    begins with random ones."""
    epochs: int = 100
    """Passes over the training split."""
    batch_size: int = 16
    """Pictures per optimizer step over all ranks."""
    accumulate: int = 1
    """Parts in which each rank's share of a batch goes through the network: less memory, the same gradient,
    one forward pass more. BatchNorm alone sees one part at a time; the loss sees all of the share."""
    auto_batch: bool = False
    """Try before the first step, and raise accumulate until a part fits into memory."""
    activation_checkpointing: bool = False
    """Keep the blocks' inputs alone, compute the rest again in the backward pass: less memory, more time."""
    views: int = 1
    """Augmented views of each picture per epoch; the report's offline set of 30,000 from 5,000 is 6."""
    patience: int = 20
    """Epochs without a better val mIoU before training stops early (the report's 20)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where every process's device multiplies bf16 in hardware, fp32 elsewhere."""
    gradients: Literal["fp32", "bf16"] = "fp32"
    """What ranks exchange gradients as; bf16 halves the bytes, for links that training waits for."""
    checkpoint_every: str = "10min"
    """Within an epoch last.pt is written every 200steps, 10min, or both: 200steps,10min. At an epoch's end it
    always is; "epoch" does only that."""
    seed: int = 0
    """Seed of the weights, the order of the pictures and the augmentation."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "views", "patience"):
            value = getattr(self, name)
            _require(value >= 1, f"train.{name}", value, "at least 1")
        parse_every(self.checkpoint_every)
        _require(0 <= self.seed < 2**31, "train.seed", self.seed, "0 to 2**31 - 1")


@dataclass(frozen=True)
class Config:
    """A training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    output: str = "runs/lisa"
    """Run folder: checkpoints, logs, figures."""

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as JSON holds them."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The config as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Config":
        """The inverse of to_dict. Missing fields keep their defaults; unknown ones are InputErrors."""
        return _from_dict(Config, values, "")

    @staticmethod
    def from_json(text: str) -> "Config":
        """The inverse of to_json."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"config is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError(f"config must be a JSON object, not {type(values).__name__}")
        return Config.from_dict(values)


def _from_dict(cls: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise InputError(f"{name} is no field of the config (known here: {', '.join(hints)})")
        if dataclasses.is_dataclass(hints[key]):
            _require(isinstance(value, Mapping), name, value, "must be an object")
            arguments[key] = _from_dict(hints[key], value, f"{name}.")  # pyright: ignore[reportArgumentType]
        else:
            arguments[key] = _checked(hints[key], value, name)
    return cls(**arguments)


def _checked(kind: Any, value: Any, name: str) -> Any:
    """The value if it is of the field's type; whole numbers pass as floats."""
    if get_origin(kind) is Literal:
        _require(value in get_args(kind), name, value, f"one of {', '.join(get_args(kind))}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if get_origin(kind) is tuple:
        fits = isinstance(value, list | tuple) and len(value) == len(get_args(kind))
        _require(
            fits and all(type(item) is int for item in value), name, value, f"{len(get_args(kind))} ints"
        )
        return tuple(value)
    _require(type(value) is kind, name, value, f"must be of type {kind.__name__}")
    return value
