"""A drop-in for `loss.backward()` that trains multimodal models in balance.

>>> import torch, torch.nn.functional as F
>>> from msam import MSAM, FusionModel, LateFusion
>>> encoders = {"audio": torch.nn.Linear(8, 4), "image": torch.nn.Linear(6, 3)}
>>> model = FusionModel(encoders, LateFusion({"audio": 4, "image": 3}, classes=2))
>>> backward = MSAM(rho=0.05).on(model, F.cross_entropy)
>>> batch = {"audio": torch.randn(5, 8), "image": torch.randn(5, 6)}, torch.tensor([0, 1, 0, 1, 1])
>>> outcome = backward(*batch)                       # instead of F.cross_entropy(model(inputs), target).backward()
>>> outcome.notes["dominant"] in {"audio", "image"}
True
"""

from msam import deprecation
from msam.attribution import Shapley, shapley
from msam.method import Method
from msam.methods.aesam import AESAM
from msam.methods.agm import AGM
from msam.methods.arl import ARL
from msam.methods.auxiliary import Auxiliary
from msam.methods.cggm import CGGM
from msam.methods.cml import CML
from msam.methods.dgl import DGL
from msam.methods.esam import ESAM
from msam.methods.feature_dropout import FeatureDropout
from msam.methods.fsam import FSAM
from msam.methods.functional_sam import FunctionalSAM
from msam.methods.gblending import GBlending
from msam.methods.gnp import GNP
from msam.methods.gsam import GSAM
from msam.methods.inforeg import InfoReg
from msam.methods.joint import Joint
from msam.methods.lfm import LFM
from msam.methods.looksam import LookSAM
from msam.methods.masam import MASAM
from msam.methods.mbsd import MBSD
from msam.methods.mla import MLA
from msam.methods.mmcosine import MMCosine
from msam.methods.mmpareto import MMPareto
from msam.methods.modality_dropout import ModalityDropout
from msam.methods.momentum_sam import MomentumSAM
from msam.methods.msam import MSAM
from msam.methods.mslr import MSES, MSLR
from msam.methods.ogm_ge import OGM, OGMGE
from msam.methods.opm import OPM
from msam.methods.pdmp import PDMP
from msam.methods.pmr import PMR
from msam.methods.reconboost import ReconBoost
from msam.methods.relearning import Relearning
from msam.methods.sam import ASAM, SAM
from msam.methods.synib import SynIB
from msam.methods.umt import UMT
from msam.methods.unimodal import Unimodal
from msam.model import EarlyFusion, FusionModel, LateFusion
from msam.objective import Objective
from msam.types import Contributions, Outcome

__version__ = "0.1.0"

deprecation.install()

__all__ = [
    "AESAM",
    "AGM",
    "ARL",
    "ASAM",
    "CGGM",
    "CML",
    "DGL",
    "ESAM",
    "FSAM",
    "GNP",
    "GSAM",
    "LFM",
    "MASAM",
    "MBSD",
    "MLA",
    "MSAM",
    "MSES",
    "MSLR",
    "OGM",
    "OGMGE",
    "OPM",
    "PDMP",
    "PMR",
    "SAM",
    "UMT",
    "Auxiliary",
    "Contributions",
    "EarlyFusion",
    "FeatureDropout",
    "FunctionalSAM",
    "FusionModel",
    "GBlending",
    "InfoReg",
    "Joint",
    "LateFusion",
    "LookSAM",
    "MMCosine",
    "MMPareto",
    "Method",
    "ModalityDropout",
    "MomentumSAM",
    "Objective",
    "Outcome",
    "ReconBoost",
    "Relearning",
    "Shapley",
    "SynIB",
    "Unimodal",
    "shapley",
]
