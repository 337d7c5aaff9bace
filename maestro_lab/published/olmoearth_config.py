"""The configuration in a published OlmoEarth folder, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maestro_lab.errors import LabError, WeightsError
from maestro_lab.models.olmoearth.config import (
    BASE_PATCH,
    MAPS,
    MODALITIES,
    VERSIONS,
    Modality,
    OlmoEarthConfig,
    Size,
)

__all__ = ["config_from_official", "config_to_official"]

_ABSOLUTE, _ROTARY = "absolute", "rope_3d_mixed"
_ONLY = {
    "position_encoding": (_ABSOLUTE, _ROTARY),
    "max_patch_size": (BASE_PATCH,),
    "num_register_tokens": (0,),
    "qk_norm": (False,),
    "learnable_channel_embeddings": (True,),
    "num_projection_layers": (1,),
    "rope_coordinate_scale": (1.0,),
    "post_proj_hidden_sizes": (None, [], ()),
    "output_embedding_size": (None,),
    "attention_pooler_config": (None,),
    "use_attention_pooler": (False, None),
}
"""What a field may be, where it is there: other values make models that this lab does not have."""

_MONTH = 1 / 30
_PACKAGE = "olmoearth_pretrain.nn"


def config_from_official(content: Mapping[str, Any]) -> OlmoEarthConfig:
    """Translate the content of a published ``config.json``.

    Parameters
    ----------
    content
        With ``model`` and, in it, ``encoder_config`` and ``decoder_config``. Modalities that are
        predicted and never seen stand in ``only_decode_modalities`` of the masking; without that
        field they are the six maps.

    Raises
    ------
    WeightsError
        If a field is missing, or asks for something that this lab does not have.
    """
    try:
        encoder, decoder = (content["model"][f"{end}_config"] for end in ("encoder", "decoder"))
        for part, fields in (("encoder", encoder), ("decoder", decoder)):
            _check_known(part, fields)
        rotary = _position(encoder) == _ROTARY
        size = Size(
            encoder["embedding_size"], encoder["depth"], encoder["num_heads"], decoder["depth"],
            encoder["mlp_ratio"],
        )  # fmt: skip
        modalities = _modalities(encoder)
        split = any(len(m.groups) > 1 for m in modalities.values())
        version = VERSIONS["v1" if split else "v1.2" if rotary else "v1.1"]
        hidden = encoder.get("patch_embed_hidden_sizes") or [0]
        return OlmoEarthConfig(
            modalities,
            size,
            hidden[0],
            rotary,
            tuple(_predicted_only(content)),
            version.masking,
            version.contrastive,
            MAPS if version.spare_alike else (),
            encoder.get("band_dropout_rate") or 0.0,
            encoder.get("drop_path", 0.0),
            tuple(encoder.get("band_dropout_modalities") or ()),
        )
    except WeightsError:
        raise
    except (LabError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WeightsError(
            "config.json describes no OlmoEarth model",
            expected="model with encoder_config and decoder_config, as published",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            do="fetch the folder again from where it was published",
        ) from error


def _check_known(part: str, fields: Mapping[str, Any]) -> None:
    """Refuse a part whose fields ask for something else than :data:`_ONLY`."""
    width = fields.get("decoder_embedding_size"), fields.get("encoder_embedding_size")
    hidden = fields.get("patch_embed_hidden_sizes") or []
    wrong = {
        name: fields[name] for name, legal in _ONLY.items()
        if name in fields and fields[name] not in legal
    }  # fmt: skip
    if width[0] != width[1]:
        wrong["decoder_embedding_size"] = width[0]
    if len(hidden) > 1:
        wrong["patch_embed_hidden_sizes"] = hidden
    scale = fields.get("rope_temporal_coordinate_scale", _MONTH)
    if _position(fields) == _ROTARY and abs(scale - _MONTH) > 1e-6:
        wrong["rope_temporal_coordinate_scale"] = scale
    if wrong:
        name, value = next(iter(wrong.items()))
        raise WeightsError(
            f"{part}_config: {name}",
            expected=" or ".join(map(repr, _ONLY[name])) if name in _ONLY else "that of v1 to v1.2",
            found=repr(value),
            do="take weights of v1, v1.1 or v1.2; v1.3 and ablations are not built here",
        )


def _position(fields: Mapping[str, Any]) -> str:
    return fields.get("position_encoding") or fields.get("spatial_pos_encoding") or _ABSOLUTE


def _modalities(encoder: Mapping[str, Any]) -> dict[str, Modality]:
    """Read names and band groups; those not told are those of v1."""
    told = (encoder.get("tokenization_config") or {}).get("overrides") or {}
    found = {}
    for name in encoder["supported_modality_names"]:
        usual = MODALITIES[name]
        groups = told[name]["band_groups"] if name in told else usual.groups
        found[name] = Modality(groups, usual.dated, usual.spatial)
        if sorted(found[name].bands) != sorted(usual.bands):
            raise ValueError(f"{name} has bands {' '.join(usual.bands)}")
    return found


def _predicted_only(content: Mapping[str, Any]) -> list[str]:
    for place in ("train_module", "data_loader"):
        strategy = ((content.get(place) or {}).get("masking_config") or {}).get("strategy_config")
        if strategy and "only_decode_modalities" in strategy:
            return list(strategy["only_decode_modalities"])
    return list(MAPS)


def config_to_official(config: OlmoEarthConfig) -> dict[str, Any]:
    """Translate our configuration into what published loaders read; the target is its projection.

    Examples
    --------
    >>> from maestro_lab.models.olmoearth.config import OlmoEarthConfig
    >>> config = OlmoEarthConfig.of("v1.1", "tiny")
    >>> config_from_official(config_to_official(config)) == config
    True
    """
    return {
        "model": {
            "_CLASS_": f"{_PACKAGE}.latent_mim.LatentMIMConfig",
            "encoder_config": _encoder_fields(config),
            "decoder_config": _decoder_fields(config),
            "projection_only_target": True,
        },
        "train_module": {
            "masking_config": {
                "strategy_config": {"only_decode_modalities": list(config.predicted_only)}
            }
        },
    }


def _encoder_fields(config: OlmoEarthConfig) -> dict[str, Any]:
    fields = {
        "_CLASS_": f"{_PACKAGE}.flexi_vit.EncoderConfig",
        **_common_fields(config),
        "embedding_size": config.size.width,
        "depth": config.size.depth,
        "max_patch_size": BASE_PATCH,
        "min_patch_size": 1,
        "drop_path": config.drop_path,
        "use_linear_patch_embed": bool(config.pixel_width),
        "band_dropout_rate": config.band_dropout,
        "random_band_dropout": config.band_dropout > 0,
        "band_dropout_modalities": list(config.dropout_modalities),
    }
    return fields | (
        {"patch_embed_hidden_sizes": [config.pixel_width]} if config.pixel_width else {}
    )


def _decoder_fields(config: OlmoEarthConfig) -> dict[str, Any]:
    return {
        "_CLASS_": f"{_PACKAGE}.flexi_vit.PredictorConfig",
        **_common_fields(config),
        "encoder_embedding_size": config.size.width,
        "decoder_embedding_size": config.size.width,
        "depth": config.size.predictor_depth,
        "drop_path": 0.0,
    }


def _common_fields(config: OlmoEarthConfig) -> dict[str, Any]:
    """Return what encoder and decoder have in common; band groups of v1 need not be told."""
    return {
        "supported_modality_names": list(config.modalities),
        "num_heads": config.size.heads,
        "mlp_ratio": config.size.hidden_ratio,
        "max_sequence_length": 12,
        "learnable_channel_embeddings": True,
        "position_encoding": _ROTARY if config.rotary else _ABSOLUTE,
        "rope_coordinate_scale": 1.0,
        "rope_mixed_base": 10_000.0,
        "rope_temporal_coordinate_scale": _MONTH,
        "tokenization_config": {
            "_CLASS_": f"{_PACKAGE}.tokenization.TokenizationConfig",
            "overrides": {
                name: {
                    "_CLASS_": f"{_PACKAGE}.tokenization.ModalityTokenization",
                    "band_groups": [list(group) for group in m.groups],
                }
                for name, m in config.modalities.items()
                if m.groups != MODALITIES[name].groups
            },
        },
    }
