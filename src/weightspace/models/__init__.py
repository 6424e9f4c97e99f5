"""Published architectures, each a thin composition of the engines, and the registry."""

from ._canon_mlp import canon_mlp
from ._dws import dws
from ._gmn import gmn
from ._gradmetanet import gradmetanet
from ._metanetwork import Body, Metanetwork, Ports, Task
from ._mixed import MixedMetanetwork
from ._mlp import mlp
from ._monomial import monomial_nfn
from ._nfn import hnp_nfn, np_nfn, unf
from ._nft import nft
from ._ng_gnn import ng_gnn
from ._ng_t import ng_t
from ._registry import architectures, build, register
from ._scalegmn import scalegmn, scalegmn_b
from ._stack import all_permutations
from ._statnet import StatisticsPredictor, statnet, weight_statistics
from ._transformer_nfn import transformer_nfn

__all__ = [
    "Body",
    "Metanetwork",
    "MixedMetanetwork",
    "Ports",
    "StatisticsPredictor",
    "Task",
    "all_permutations",
    "architectures",
    "build",
    "canon_mlp",
    "dws",
    "gmn",
    "gradmetanet",
    "hnp_nfn",
    "mlp",
    "monomial_nfn",
    "nft",
    "ng_gnn",
    "ng_t",
    "np_nfn",
    "register",
    "scalegmn",
    "scalegmn_b",
    "statnet",
    "transformer_nfn",
    "unf",
    "weight_statistics",
]
