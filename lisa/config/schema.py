"""Every setting of a training run: frozen dataclasses, JSON in and out.

Bad values are refused when the config is made, with the field's dotted name and the value.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from lisa.config.checkpoint_every import parse_every
from lisa.config.from_plain import from_plain, parse_object
from lisa.config.label_flag import LabelFlag
from lisa.config.limits import Limited, Range, require, require_types
from lisa.config.parameter_count import count_lisa
from lisa.config.shapes import DEPTHS, HAMBURGER_RATIO, SHAPES
from lisa.errors import InputError
from lisa.labels import LabelSet, refuse_unlearnable
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import Encoding, read_encoding, write_out


@dataclass(frozen=True)
class DataConfig(Limited, section="data"):
    """Where the faces are and how they are read."""

    root: Annotated[str, tyro.conf.arg(aliases=["--data"])] = "data/synthetic"
    """Folder with {train,val,test}/{images,masks}, or labels for masks, or {train,val,test}_{image,mask}."""
    size: Annotated[int, Range(16, unit="pixels"), tyro.conf.arg(aliases=["--size"])] = 512
    """Side of the square that the network sees, in pixels. Other pictures are stretched to it."""
    workers: Annotated[int, Range(-1)] = -1
    """Decoding processes per rank; 0 decodes in the training process. -1: two, for a GPU its share of the
    machine's cores, at most 12."""
    encoding: Annotated[str, tyro.conf.arg(aliases=["--data.label-order"])] = ""
    """Which id in a mask is which label (docs/data.md): celebamask-hq, face-parsing.pytorch, lapa, ..., or
    0=background,1=skin,13=ignore, or a .toml or .json file; empty for the label set's own ids."""
    repair: str = ""
    """File with paths of training masks, one a line from root on, in which left and right labels change
    places, as lisa.data.doctor --repair-to writes it."""
    exclude: str = ""
    """File with paths to leave out, one a line from root on, as lisa.data.doctor --exclude-to writes it;
    empty for none."""
    val_share: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of train that is held out as val, by the pictures' names; for sets without a split val."""
    cache: str = ""
    """Folder for decoded training pictures, 1 MB a face at 512 pixels; empty decodes them in every epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # A file's content travels with the run, not its path.
        object.__setattr__(self, "encoding", write_out(self.encoding))


@dataclass(frozen=True)
class ModelConfig(Limited, section="model"):
    """Which network is trained."""

    name: str = "lisa"
    """A network of lisa.models, by its name in timm's registry."""
    activation: Literal["prelu", "relu", "gelu"] = "prelu"
    """Activation of LISA's units (the report's Table 5)."""
    hamburger: Literal["bottleneck", "nmf"] = "bottleneck"
    """LISA's Hamburger: as published, or with the matrix decomposition that the report cites."""
    widths: Annotated[tuple[int, int, int, int, int], Range(2, unit="channels")] = SHAPES["lisa"].widths
    """Channels of LISA's five encoder stages (Table 1). Another network's own widths count as not given: this
    network has its own."""
    depths: Annotated[tuple[int, int, int, int, int], Range(1, unit="block")] = DEPTHS
    """Blocks of LISA's five encoder stages (Table 1)."""
    hamburger_ratio: Annotated[float, Range(0, 1, open_low=True)] = HAMBURGER_RATIO
    """Channels inside LISA's Hamburger, as a share of the fifth stage's."""
    bound: Annotated[float, Range(0)] = 0.0
    """Largest absolute value of both factors of the product in each of LISA's attentions, so that no
    photograph explodes; 0: none, as published. Weights of train.init that were trained without, or within a
    wider one, are rescaled first. Other networks have none."""
    max_parameters: Annotated[int, Range(0, open_low=True)] = 2_000_000
    """Networks with this many trainable parameters or more are refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in SHAPES:
            object.__setattr__(self, "bound", 0.0)  # the recipe best has one, which is LISA's
        if self.widths in [shape.widths for shape in SHAPES.values()]:
            # They came with a recipe, or with another network's config.
            object.__setattr__(self, "widths", SHAPES.get(self.name, SHAPES["lisa"]).widths)

    def count(self, classes: int) -> int:
        """Trainable parameters of a LISA of any shape, without building it."""
        prelu, fold = self.activation == "prelu", SHAPES[self.name].fold
        return count_lisa(self.widths, self.depths, self.hamburger_ratio, prelu, classes, fold)

    def require_under_cap(self, classes: int) -> None:
        """Raises InputError for a LISA at or above the cap: it is counted before it is built."""
        if self.name not in SHAPES:
            return
        count = self.count(classes)
        if count >= self.max_parameters:
            raise InputError(
                f"model: widths {self.widths}, depths {self.depths}, hamburger_ratio {self.hamburger_ratio} "
                f"have {count:,} trainable parameters, the cap is {self.max_parameters:,}: "
                "make it smaller or raise model.max_parameters"
            )


@dataclass(frozen=True)
class AugmentConfig(Limited, section="augment"):
    """Random changes of a training picture; 0 switches an operation off."""

    flip: Annotated[float, Range(0, 1)] = 0.5
    """Probability of a mirrored picture (left and right labels change places)."""
    rotation: Annotated[float, Range(0, 180, "degrees")] = 10.0
    """Largest rotation either way, in degrees. What rotation, scale and shift move in is ignored."""
    scale: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Largest relative change of size: 0.25 draws factors from 0.75 to 1.25."""
    shift: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Largest shift, as a fraction of the side."""
    brightness: Annotated[float, Range(0, 1, open_high=True)] = 0.2
    """Factors from 1 - b to 1 + b."""
    contrast: Annotated[float, Range(0, 1, open_high=True)] = 0.2
    """Factors from 1 - c to 1 + c."""
    saturation: Annotated[float, Range(0, 1, open_high=True)] = 0.2
    """Factors from 1 - s to 1 + s."""
    hue: Annotated[float, Range(0, 0.5, "of a turn")] = 0.1
    """Largest change of hue, as a fraction of a full turn."""
    texture: Annotated[float, Range(0, 1)] = 0.0
    """Share of the pictures that get a texture: stripes, checks, dots, print, lace or foliage over all or
    some of background, clothes, ears, hair and hats."""
    blur: Annotated[float, Range(0, 10, "pixels")] = 0.0
    """Largest sigma of a Gaussian blur, in pixels; for three pictures in ten."""
    noise: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Standard deviation of Gaussian noise, for pictures in 0..1; for three pictures in ten."""
    jpeg: Annotated[float, Range(0, 99)] = 0.0
    """JPEG artefacts: the largest loss of quality, 50 draws qualities from 50 to 100; for three in ten."""
    paste: Annotated[float, Range(0, 1)] = 0.0
    """Probability that a picture puts on the hat, glasses, earrings and necklace of another one."""
    wide: Annotated[float, Range(0, 1)] = 0.0
    """Share of the pictures whose face is placed anywhere on clutter, at 0.33 to 1.6 of its size and turned
    by up to 40 degrees: for networks that find faces in photographs (docs/predict.md)."""
    negatives: Annotated[float, Range(0, 1)] = 0.0
    """Share of the pictures that are replaced by clutter without a face, all of it background."""


@dataclass(frozen=True)
class LossConfig(Limited, section="loss"):
    """Weights of the loss's terms; the report's Section 2.3 has the first two."""

    cross_entropy: Annotated[float, Range(0)] = 1.0
    """Weight of the cross entropy (Eq. 1)."""
    dice: Annotated[float, Range(0)] = 1.0
    """Weight of the soft Dice loss (Eq. 2)."""
    lovasz: Annotated[float, Range(0)] = 0.0
    """Weight of the Lovasz-softmax loss (Berman et al., CVPR 2018)."""
    dice_lambda: Annotated[float, Range(0, open_low=True)] = 1e-4
    """Eq. 2's lambda, added to its denominator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        total = self.cross_entropy + self.dice + self.lovasz
        require(total > 0, "loss", "all weights 0", "one must be above 0")


@dataclass(frozen=True)
class OptimConfig(Limited, section="optim"):
    """Optimizer and schedule: timm's, and our Muon."""

    name: Literal["adam", "adamw", "muon"] = "adamw"
    """Optimizer; muon moves matrices, and leaves the rest to AdamW at the same rate."""
    lr: Annotated[float, Range(0, open_low=True), tyro.conf.arg(aliases=["--lr"])] = 2e-3
    """Learning rate after warm-up."""
    weight_decay: Annotated[float, Range(0)] = 1e-2
    """Weight decay; biases, norms and PReLU slopes have none."""
    schedule: Literal["cosine", "poly", "plateau"] = "cosine"
    """How the rate falls; plateau follows the validation loss (factor 0.1, patience 5 epochs)."""
    warmup: Annotated[float, Range(0, 1, open_high=True)] = 0.05
    """Share of all steps in which the rate rises linearly; plateau has no warm-up."""
    min_lr: Annotated[float, Range(0)] = 1e-5
    """The rate never falls below this once it has warmed up."""
    clip_norm: Annotated[float, Range(0)] = 5.0
    """Gradients are scaled down to this norm; 0 leaves them alone."""
    ema_decay: Annotated[float, Range(0, 1, open_high=True)] = 0.999
    """Decay per step of the averaged weights; 0 keeps none. Of an epoch's raw and averaged weights the better
    ones count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.min_lr <= self.lr, "optim.min_lr", self.min_lr, "0 to optim.lr")


@dataclass(frozen=True)
class TrainConfig(Limited, section="train"):
    """The loop."""

    init: Annotated[str, tyro.conf.arg(aliases=["--init"])] = ""
    """Checkpoint whose weights the run begins with: fine-tuning, or the next stage at a larger size; also the
    report's author's best_model.pth, or drawn, the weights in the box. Empty begins with random ones."""
    epochs: Annotated[int, Range(1), tyro.conf.arg(aliases=["--epochs"])] = 100
    """Passes over the training split."""
    batch_size: Annotated[int, Range(1), tyro.conf.arg(aliases=["--batch-size"])] = 16
    """Pictures per optimizer step over all ranks."""
    accumulate: Annotated[int, Range(1)] = 1
    """Parts in which each rank's share of a batch goes through the network: less memory, the same gradient,
    one forward pass more. BatchNorm alone sees one part at a time; the loss sees all of the share."""
    auto_batch: Annotated[bool, tyro.conf.arg(aliases=["--auto-batch"])] = False
    """Try before the first step, and raise accumulate until a part fits into memory."""
    activation_checkpointing: bool = False
    """Keep the blocks' inputs alone, compute the rest again in the backward pass: less memory, more time."""
    compile: bool = False
    """Network and loss through torch.compile, for GPUs: fewer, larger kernels. A batch's first step, and an
    epoch's smaller last one's, then take a minute or more."""
    views: Annotated[int, Range(1)] = 1
    """Augmented views of each picture per epoch; the report's offline set of 30,000 from 5,000 is 6."""
    patience: Annotated[int, Range(1)] = 20
    """Epochs without a better val mIoU before training stops early (the report's 20)."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """auto: bf16 autocast where every process's device multiplies bf16 in hardware, fp32 elsewhere. tf32 is
    fp32 whose products CUDA rounds to 10 bits. Evaluation is in fp32 always."""
    deterministic: bool = False
    """On CUDA, take the kernels that give the same bits in every run, where there are such; slower. The CPU
    does so always."""
    gradients: Literal["fp32", "bf16"] = "fp32"
    """What ranks exchange gradients as; bf16 halves the bytes, for links that training waits for."""
    checkpoint_every: Annotated[str, tyro.conf.arg(aliases=["--checkpoint-every"])] = "10min"
    """Within an epoch last.pt is written every 200steps, 10min, or both: 200steps,10min. At an epoch's end it
    always is; "epoch" does only that."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of the weights, the order of the pictures and the augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_every(self.checkpoint_every)


@dataclass(frozen=True)
class Config:
    """A training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    labels: LabelFlag = CELEBAMASK
    """Classes that the network tells apart: a built-in label set, or a .toml or .json file (docs/data.md)."""
    output: str = "runs/lisa"
    """Run folder: checkpoints, logs, figures."""

    def __post_init__(self) -> None:
        told = "a LabelSet, as lisa.labels.read_label_set gives it for a name or file"
        is_set = isinstance(self.labels, LabelSet)  # pyright: ignore[reportUnnecessaryIsInstance]
        require(is_set, "labels", self.labels, told)
        require_types(self)
        self.model.require_under_cap(len(self.labels))
        read_encoding(self.data.encoding, self.labels)
        blur = self.augment.blur
        require(math.ceil(2 * blur) < self.data.size, "augment.blur", blur, "below half of data.size")

    def require_learnable(self) -> None:
        """Raises InputError for labels that a mirrored picture would show under the other side's name."""
        refuse_unlearnable(self.labels)
        if self.augment.flip > 0:
            self.labels.require_both_sides("give --augment.flip 0, add that label, or name both in pairs")

    @property
    def encoding(self) -> Encoding:
        """Which id in the run's masks is which label."""
        return read_encoding(self.data.encoding, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as JSON holds them; the label set is written out."""
        return {**dataclasses.asdict(self), "labels": self.labels.to_dict()}

    def to_json(self) -> str:
        """The config as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def by_name(self) -> dict[str, Any]:
        """Every value by its dotted name, as JSON holds it, but the output: that is a place, no setting."""
        sections = json.loads(self.to_json())
        del sections["output"]
        return {
            f"{section}.{name}": value for section in sections for name, value in sections[section].items()
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Config":
        """The inverse of to_dict. Missing fields keep their defaults; unknown ones are InputErrors.

        ``labels`` may be a built-in set's name too.
        """
        return from_plain(Config, values)

    @staticmethod
    def from_json(text: str) -> "Config":
        """The inverse of to_json. Raises InputError for what is no config."""
        return Config.from_dict(parse_object(text))
