"""A Jupyter-first laboratory for masked pretraining on Earth-observation data.

>>> import maestro_lab as ml
>>> cube = ml.open_cube("landscape", samples=4)
"""

from __future__ import annotations

from maestro_lab.lazy import lazily

__version__ = "0.1.0"

_PLACES = {
    "maestro_lab.bands": ("BandGroups",),
    "maestro_lab.band_steps": (
        "balance_tables",
        "groups_for",
        "groups_results",
        "reference_report",
        "stability_report",
        "survey_bands",
    ),
    "maestro_lab.batches": ("CubeDataset", "contract_for", "contract_of_entry", "cut_for"),
    "maestro_lab.batches.likeness": ("compare_statistics",),
    "maestro_lab.catalogue": ("Catalog", "catalog", "open_cube"),
    "maestro_lab.collapse": ("collapse_results", "collapse_runs", "collapse_verdict"),
    "maestro_lab.contract": ("Contract", "Modality"),
    "maestro_lab.cubes.contract": ("validate",),
    "maestro_lab.cubes.describe": ("describe",),
    "maestro_lab.cubes.packed.manifest": ("check_packed",),
    "maestro_lab.cubes.packed.writing": ("pack_cube",),
    "maestro_lab.cubes.statistics": ("cube_statistics",),
    "maestro_lab.cubes.sources.arrays": ("cube_from_dataset",),
    "maestro_lab.cubes.sources.stac": ("cube_from_stac",),
    "maestro_lab.cubes.splits": ("leakage_distances",),
    "maestro_lab.cubes.store": ("save_cube",),
    "maestro_lab.cubes.windows": ("cut_windows",),
    "maestro_lab.datasets": (
        "dataset_for",
        "held_out",
        "held_out_sample",
        "inputs_of",
        "refuse_settings",
        "train_and_held_out",
    ),
    "maestro_lab.errors": ("CubeWarning", "LabError"),
    "maestro_lab.exploring": ("explorers_for",),
    "maestro_lab.models.config": ("MaestroConfig",),
    "maestro_lab.label_curves": ("label_results",),
    "maestro_lab.models.hiding": ("Hide",),
    "maestro_lab.models.heads": ("HeadConfig",),
    "maestro_lab.models.maestro": ("Maestro",),
    "maestro_lab.models.masking": ("Masking",),
    "maestro_lab.models.predictor": ("Predictor", "PredictorConfig"),
    "maestro_lab.models.olmoearth.config": ("OlmoEarthConfig",),
    "maestro_lab.models.olmoearth.model": ("OlmoEarth",),
    "maestro_lab.models.systems": ("build_model",),
    "maestro_lab.models.weights": ("load_model", "save_model"),
    "maestro_lab.olmoearth.choosing": ("olmoearth_config",),
    "maestro_lab.olmoearth.dataset": ("Crops", "OlmoEarthDataset"),
    "maestro_lab.olmoearth.months": ("embed_months",),
    "maestro_lab.olmoearth.reading": ("OlmoEarthInput",),
    "maestro_lab.published.hub": ("fetch_official",),
    "maestro_lab.published.lightning": ("read_lightning",),
    "maestro_lab.published.weights": ("heads_of_entry", "load_official", "save_official"),
    "maestro_lab.published.olmoearth": (
        "export_olmoearth",
        "fetch_olmoearth",
        "load_olmoearth",
    ),
    "maestro_lab.reopen": ("begin_from", "compared", "fingerprint", "in_memory", "pretrained"),
    "maestro_lab.runs": ("collect", "execute", "open_run", "report", "start_run"),
    "maestro_lab.training.class_scores": ("class_scores",),
    "maestro_lab.training.embed": ("embed",),
    "maestro_lab.training.config": ("TrainingConfig",),
    "maestro_lab.training.error_table": ("error_table",),
    "maestro_lab.training.pretrain": ("pretrain",),
    "maestro_lab.training.reconstruct": (
        "reconstruct",
        "reconstruction_errors",
        "reconstruction_scores",
    ),
    "maestro_lab.training.token_table": ("embed_tokens",),
    "maestro_lab.training.tune": ("predict", "score", "tune"),
    "maestro_lab.tuning": ("compare_phases", "head_for", "tune_on"),
    "maestro_lab.verdicts": (
        "groups_verdict",
        "label_verdict",
        "pretrain_verdict",
        "probe_verdict",
        "reconstruction_verdict",
    ),
    "maestro_lab.workflow": (
        "features",
        "few_shot",
        "leakage_report",
        "probe_places",
        "probe_results",
        "probe_target",
        "reconstruction_results",
    ),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOMES)
__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
