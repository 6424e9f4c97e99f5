import torch

import weightspace as ws
from weightspace.theory import wl_pair


def gap(scale_of_scores):
    """Relative difference of an invariant NFT's outputs on two networks that message passing takes for one."""
    first, second = wl_pair("c8")
    torch.manual_seed(0)
    net = ws.build("nft", first.space, task="invariant", out_features=4, hidden=16, depth=3).double().eval()
    for name, p in net.named_parameters():
        if "project" in name:
            p.data[: 2 * len(p) // 3] *= scale_of_scores
    with torch.no_grad():
        a, b = net(first), net(second)
    return float((a - b).abs().max() / a.abs().max())


def test_separates_networks_that_message_passing_does_not():
    """The scores contract over neurons: they hold Gram matrices of the weights, which differ for this pair."""
    assert gap(1.0) > 1e-9
    assert gap(0.0) < 1e-13  # uniform attention only has means of rows and columns


def test_published_configuration():
    space = ws.siren([2, 32, 32, 1])
    net = ws.build("nft", space)
    assert len([m for m in net.modules() if type(m).__name__ == "NeuronAttention"]) == 6
    attention = next(m for m in net.modules() if type(m).__name__ == "NeuronAttention")
    assert (attention.channels, attention.heads) == (256, 4)
