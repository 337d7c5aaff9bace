"""Look through reconstructions: sample, modality, and how much is hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from maestro_lab.explore.base import Explorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.batches import CubeDataset
    from maestro_lab.models.maestro import Maestro

__all__ = ["ReconstructionExplorer"]


class ReconstructionExplorer(Explorer):
    """Reconstructions of a data set, made anew when a control moves.

    Parameters
    ----------
    model
        A pretrained model.
    data
        Samples, with ``train=False``.
    sample, modality, mask_ratio, seed
        What is shown first; the model's own masking ratio by default.

    Raises
    ------
    ParameterError
        If there is no such sample or modality, or the ratio lies outside its slider.
    """

    def __init__(
        self,
        model: Maestro,
        data: CubeDataset,
        *,
        sample: int = 0,
        modality: str = "",
        mask_ratio: float | None = None,
        seed: int = 0,
    ) -> None:
        from ipywidgets import BoundedIntText, Dropdown, FloatSlider

        self.model, self.data = model, data
        names = list(model.modalities)
        own = model.config.masking.ratio
        super().__init__(
            {
                "sample": BoundedIntText(0, 0, len(data) - 1, description="sample"),
                "modality": Dropdown(options=names, value=names[0], description="modality"),
                "mask_ratio": FloatSlider(
                    own,
                    min=min(own, 0.1),
                    max=max(own, 0.9),
                    step=0.05,
                    description="hidden",
                    continuous_update=False,
                ),
                "seed": BoundedIntText(0, 0, 10_000, description="seed"),
            }
        )
        ratio = own if mask_ratio is None else mask_ratio
        self.set(sample=sample, modality=modality or names[0], mask_ratio=ratio, seed=seed)

    def draw(self, sample: int, modality: str, mask_ratio: float, seed: int) -> Figure:
        """Hide patches of one sample, and draw what the model makes of the rest."""
        from maestro_lab.figures import reconstructions
        from maestro_lab.training.reconstruct import reconstruct

        config = self.model.config
        masking = replace(config.masking, ratio=mask_ratio)
        self.model.config = replace(config, masking=masking)
        try:
            found = reconstruct(self.model, self.data[sample], seed=seed)
        finally:
            self.model.config = config
        return reconstructions({modality: found[modality]})
