"""What a MAESTRO model is made of: sizes, fusion, masking, loss, and the contract of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from maestro_lab.contract import Contract
from maestro_lab.errors import ParameterError
from maestro_lab.models.layout import FUSIONS
from maestro_lab.models.masking import Masking

__all__ = ["LOSSES", "SIZES", "MaestroConfig", "Size"]

LOSSES = ("l1_norm", "l2_norm", "l1", "l2")


@dataclass(frozen=True)
class Size:
    """Widths and depths of encoder and decoder."""

    width: int
    depth: int
    heads: int
    head_width: int
    hidden: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    decoder_head_width: int
    decoder_hidden: int


SIZES = {
    "nano": Size(64, 6, 2, 32, 128, 64, 1, 2, 32, 128),
    "tiny": Size(192, 12, 3, 64, 384, 512, 1, 16, 32, 768),
    "small": Size(384, 12, 6, 64, 768, 512, 2, 16, 32, 1536),
    "base": Size(768, 12, 12, 64, 3072, 512, 3, 16, 32, 3072),
    "large": Size(1024, 24, 16, 64, 4096, 512, 4, 16, 32, 4096),
}
"""Published sizes ("base" is medium in the authors' code), and ``nano``, ours, for laptops."""


@dataclass(frozen=True)
class MaestroConfig:
    """Everything that makes a MAESTRO model.

    Parameters
    ----------
    contract
        The input: modalities, bands, units, patches, groups.
    size
        A name in :data:`SIZES`, or a :class:`Size` of one's own.
    fusion
        "group", "mod", "monotemp" or "shared": what shares a sequence and an encoder.
    joint_depth
        Blocks over the tokens of all sequences together; they replace as many blocks of the
        encoders. Needs "group" or "mod".
    masking
        How tokens are hidden while pretraining.
    loss
        "l1_norm", "l2_norm" (targets normalised per patch and band group), "l1" or "l2".
    use_dates
        Whether tokens know their date.

    Raises
    ------
    ParameterError
        For an unknown name or an illegal combination; says what is legal.
    """

    contract: Contract
    size: Size | str = "tiny"
    fusion: str = "group"
    joint_depth: int = 3
    masking: Masking = field(default_factory=Masking)
    loss: str = "l1_norm"
    use_dates: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            if self.size not in SIZES:
                raise ParameterError("size", expected=", ".join(SIZES), found=repr(self.size))
            object.__setattr__(self, "size", SIZES[self.size])
        if self.fusion not in FUSIONS:
            raise ParameterError("fusion", expected=", ".join(FUSIONS), found=repr(self.fusion))
        if self.loss not in LOSSES:
            raise ParameterError("loss", expected=", ".join(LOSSES), found=repr(self.loss))
        joint = self.fusion in ("group", "mod")
        most = self.size.depth if joint else 0
        if not 0 <= self.joint_depth <= most:
            raise ParameterError(
                f"joint_depth with fusion {self.fusion!r}",
                expected=f"0 to {most}" if joint else "0: only group and mod have joint blocks",
                found=self.joint_depth,
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON data."""
        return {**asdict(self), "contract": self.contract.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MaestroConfig:
        """Build a configuration from :meth:`to_dict` data."""
        plain = dict(data)
        plain["contract"] = Contract.from_dict(plain["contract"])
        plain["masking"] = Masking(**plain["masking"])
        if not isinstance(plain["size"], str):
            plain["size"] = Size(**plain["size"])
        return cls(**plain)
