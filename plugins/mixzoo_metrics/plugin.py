"""Registers mixzoo's metrics through the hook that any plugin uses."""

from collections.abc import Mapping
from typing import Any

from mixzoo import hookimpl


@hookimpl
def mixzoo_metrics() -> Mapping[str, type[Any]]:
    from mixzoo_metrics.arithmetic import LabelArithmetic
    from mixzoo_metrics.beta_vae import BetaVAE
    from mixzoo_metrics.codes import EffectiveRank, LogisticRegression, MLPProbe, NearestNeighbours
    from mixzoo_metrics.conditioned import ConditionedLabels
    from mixzoo_metrics.disentanglement import Disentanglement
    from mixzoo_metrics.fidelity import Fidelity, Similarity
    from mixzoo_metrics.images import Reconstruction
    from mixzoo_metrics.importance import DCI, SAP
    from mixzoo_metrics.information import MIG, InfoMEC
    from mixzoo_metrics.lines import LineInterpolation
    from mixzoo_metrics.mixes import MixDistance
    from mixzoo_metrics.novelty import ForeignClass, MixCopies
    from mixzoo_metrics.paths import PathSmoothness

    return {
        "logistic_regression": LogisticRegression,
        "knn": NearestNeighbours,
        "mlp_probe": MLPProbe,
        "effective_rank": EffectiveRank,
        "reconstruction": Reconstruction,
        "disentanglement": Disentanglement,
        "beta_vae": BetaVAE,
        "mig": MIG,
        "dci": DCI,
        "sap": SAP,
        "infomec": InfoMEC,
        "conditioned_labels": ConditionedLabels,
        "label_arithmetic": LabelArithmetic,
        "mix_distance": MixDistance,
        "foreign_class": ForeignClass,
        "mix_copies": MixCopies,
        "path_smoothness": PathSmoothness,
        "fidelity": Fidelity,
        "similarity": Similarity,
        "line_interpolation": LineInterpolation,
    }
