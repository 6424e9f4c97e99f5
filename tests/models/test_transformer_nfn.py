"""Transformer-NFN: heads and general matrices on transformers of all kinds, and what it can tell apart."""

import pytest
import torch
from _orbits import check_orbits_to_orbits
from torch import nn

import weightspace as ws
from weightspace.group import GeneralLinearGroup
from weightspace.nn import Contraction
from weightspace.testing import assert_equivariant, assert_invariant, equivariance_error
from weightspace.testing._modules import Attention

R = torch.randn
TASKS = ["equivariant", "invariant"]


class Block(nn.Module):
    """Attention and a hidden layer, each behind a norm."""

    def __init__(self, width, residual, bias, affine, packing, causal):
        super().__init__()
        self.first, self.second = (nn.LayerNorm(width, elementwise_affine=affine) for _ in range(2))
        self.mix = Attention(width, 2, packing=packing, fused=True, causal=causal)
        for layer in [] if bias else self.mix.children():
            layer.bias = None
        self.up, self.down, self.residual = nn.Linear(width, 5), nn.Linear(5, width), residual

    def forward(self, x):
        y = self.mix(self.first(x))
        x = x + y if self.residual else y
        y = self.down(torch.relu(self.up(self.second(x))))
        return x + y if self.residual else y


class Transformer(nn.Module):
    """Patches or tokens, positions, blocks, and a linear layer on the mean or on every position."""

    def __init__(
        self,
        blocks=1,
        width=4,
        residual=True,
        bias=True,
        affine=True,
        packing="thirds",
        causal=False,
        tokens=False,
        fixed=False,
    ):
        super().__init__()
        self.tokens = tokens
        self.embed = nn.Embedding(3, width) if tokens else nn.Linear(3, width)
        self.positions = nn.Parameter(torch.randn(2, width))
        if fixed:  # then no unit of the embedding may be permuted
            del self.positions
            self.register_buffer("positions", torch.randn(2, width), persistent=False)
        self.blocks = nn.Sequential(*(Block(width, residual, bias, affine, packing, causal) for _ in range(blocks)))
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.blocks(self.embed(x) + self.positions)
        return self.head(x if self.tokens else x.mean(1))


KINDS = {
    "vit": {},
    "vit, 2 blocks": {"blocks": 2, "packing": "stacked", "bias": False},
    "vit, 3 blocks": {"blocks": 3, "packing": "heads"},
    "gpt": {"causal": True, "tokens": True, "blocks": 2},
    "gpt, separate, no biases": {"causal": True, "tokens": True, "packing": "separate", "bias": False},
    "no residual": {"residual": False, "packing": "separate"},
    "as published": {"residual": False, "bias": False, "affine": False, "packing": "separate", "blocks": 2},
    "fixed positions": {"residual": False, "fixed": True, "width": 6, "blocks": 2},
    "fixed positions, residual": {"fixed": True, "width": 6},
}


@pytest.fixture(scope="module")
def spaces():
    torch.manual_seed(0)
    inputs = {name: torch.randint(3, (2, 2)) if "tokens" in kind else R(2, 2, 3) for name, kind in KINDS.items()}
    return {name: ws.from_module(Transformer(**kind), inputs[name]) for name, kind in KINDS.items()}


def build(space, task="invariant", **options):
    torch.manual_seed(0)
    return ws.build("transformer-nfn", space, task, **{"hidden": 4, "depth": 2} | options).double().eval()


def networks(space, batch=4):
    generator = torch.Generator().manual_seed(0)
    return space.sample(batch, generator).map(
        lambda t: t.double() + 0.1 * torch.randn(t.shape, generator=generator, dtype=torch.float64)
    )


def worst(net, theta, group, element):
    """The largest relative error of any parameter, or of the output."""
    with torch.no_grad():
        expected, found = net(theta), net(group.act(element, theta))
    if net.task == "invariant":
        return float((found - expected).abs().max() / expected.abs().max())
    pairs = zip(found.tensors, group.act(element, expected).tensors, strict=True)
    return max(float((f - e).abs().max() / e.abs().max()) for f, e in pairs)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_matrices_of_condition_1000(kind, task, spaces):
    space = spaces[kind]
    net, theta = build(space, task), networks(space)
    group = net.symmetry
    linear = [g.name for g, f in zip(space.groups, group.factors, strict=True) if isinstance(f, GeneralLinearGroup)]
    assert linear == [g.name for g in space.groups if isinstance(g.symmetry, GeneralLinearGroup)]
    assert len(linear) >= 2 * KINDS[kind].get("blocks", 1)
    element = group.sample(4, torch.Generator().manual_seed(1), dtype=torch.float64, scale_range=1e3)
    for name in linear:  # condition numbers of 1000, no less
        u, s, v = torch.linalg.svd(element[name].matrix)
        if s.shape[-1] > 1:
            s[..., 0], s[..., -1] = 1e3**0.5, 1e3**-0.5
        element[name] = element[name]._replace(matrix=u * s.unsqueeze(-2) @ v)
    assert worst(net, theta, group, element) < 1e-8
    if task == "equivariant":
        assert [t.shape for t in net(theta).tensors] == [(4, *p.shape, 1) for p in space.parameters]


def test_the_stream_is_one_group_with_residuals_and_many_without(spaces):
    """At the projection, the published permutation is one of its own where there is no residual connection."""
    stream, layers = spaces["vit"], spaces["as published"]
    assert {a.group for p in stream.parameters if "project.weight" in p.name for a in p.axes[:1]} == {"positions"}
    assert "blocks.0.mix.project" in {g.name for g in layers.groups}
    for space in (stream, layers):
        net = build(space, "equivariant")
        assert_equivariant(net, space)
        split = Contraction(space).products_space
        assert {a.group for p in split.parameters for a in p.axes} <= {None, *(g.name for g in split.groups)}


@pytest.mark.parametrize("kind", KINDS)
def test_it_sees_what_changes_the_function(kind, spaces):
    """A general matrix on queries alone or values alone; the heads of values permuted without the others."""
    space = spaces[kind]
    net, theta = build(space), networks(space)
    attention = [p for p in space.parameters if len(p.axes) == 3 and p.axes[0].group and "heads" in p.axes[0].group]
    size = attention[0].shape[1]
    matrix = torch.eye(size, dtype=torch.float64) + torch.ones(size, size, dtype=torch.float64).tril(-1)
    with torch.no_grad():
        before = net(theta)
        for parameter in (attention[0], attention[2]):
            i = space.position(parameter.name)
            for moved in (torch.einsum("ij,bhjdc->bhidc", matrix, theta.tensors[i]), theta.tensors[i].flip(1)):
                tensors = (*theta.tensors[:i], moved, *theta.tensors[i + 1 :])
                after = net(ws.WeightFeatures(space, tensors))
                assert (after - before).abs().max() > 1e-6 * before.abs().max()


@pytest.mark.parametrize("name", ["gmn", "unf", "scalegmn"])
def test_architectures_of_permutations_fail(name, spaces):
    space = spaces["vit"]
    torch.manual_seed(0)
    other = ws.build(name, space, "invariant", hidden=4, depth=2)
    assert equivariance_error(other, space, build(space).symmetry) > 1e-3
    assert_invariant(build(space), space)


@pytest.mark.parametrize("kind", ["vit", "as published"])
@pytest.mark.parametrize("task", TASKS)
def test_every_number_of_channels_and_every_gradient(kind, task, spaces):
    space = spaces[kind]
    outputs = {"out_channels": 3} if task == "equivariant" else {"out_features": 3}
    net = build(space, task, in_channels=2, **outputs)
    (assert_equivariant if task == "equivariant" else assert_invariant)(net, space, channels=2)
    theta = networks(space, 5)
    out = net(theta.concatenate(theta.map(torch.sin)))
    if task == "equivariant":
        assert all((t[0] - t[1]).abs().amax(tuple(range(t.dim() - 2))).min() > 0 for t in out.tensors)
        out = out.flatten()
    assert (torch.pdist(out) > 1e-6 * out.abs().max()).all()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_channels_meet_in_the_products(spaces):
    """The queries of one channel see the keys of the other."""
    space = spaces["vit"]
    net, theta = build(space, in_channels=2), networks(space)
    name = next(p.name for p in space.parameters if p.name.endswith("packed.weight[0:4, :]"))
    tensors = {n: torch.cat([t, torch.zeros_like(t)], -1) for n, t in theta.items()}
    query = torch.cat([torch.zeros_like(theta[name]), theta[name]], -1)
    with torch.no_grad():
        once, twice = (net(space.features(tensors | {name: k * query})) for k in (1, 2))
    assert (once - twice).abs().max() > 1e-8 * once.abs().max()


@pytest.mark.parametrize("mode", ["scale", "tensor", "orbit"])
def test_standardised_by_scale_it_keeps_the_matrices(mode, spaces):
    space = spaces["vit"]
    net = build(space, standardize=mode)
    net.standardize.fit(networks(space, 9))
    kept = any(isinstance(factor, GeneralLinearGroup) for factor in net.symmetry.factors)
    assert kept == (mode == "scale")
    assert_invariant(net, space)


@pytest.mark.parametrize("kind", ["as published", "fixed positions"])
def test_how_large_a_network_is_can_be_read_off(kind, spaces):
    """Factors of all weights from 1/50 to 50, which raw weights and a norm over the pools of one network blur."""
    space = spaces[kind]
    theta, sizes = networks(space, 64), torch.linspace(-4, 4, 64, dtype=torch.float64).exp()
    theta = theta.map(lambda t: t * sizes.reshape(-1, *[1] * (t.dim() - 1)))
    net = build(space, dropout=0.0).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        loss = (net(theta)[:, 0] - sizes.log()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02 * sizes.log().var()
    assert net(theta[:1]).isfinite().all()


def test_half_precision_keeps_large_networks_finite(spaces):
    """The products of weights of 40 are in the range of half precision, their thirtyfold is not."""
    space = spaces["as published"]
    net, theta = build(space).float(), networks(space).map(lambda t: 40 * t.float().sign())
    with torch.autocast("cpu", torch.float16):
        assert net(theta).isfinite().all()


@pytest.mark.parametrize("name", ["transformer-nfn", "unf"])
def test_no_networks_at_all(name, spaces):
    space = spaces["as published"]
    out = ws.build(name, space, "invariant", out_features=2, hidden=4)(space.sample(0))
    assert out.shape == (0, 2)
    out.sum().backward()


@pytest.mark.parametrize("name", ["transformer-nfn", "monomial-nfn"])
def test_the_width_of_what_is_not_there_is_refused(name):
    with pytest.raises(ws.ModelError, match=r"quasi_hidden: expected none .*, found 8"):
        ws.build(name, ws.mlp([2, 5, 5, 1], activation="relu"), "invariant", quasi_hidden=8)


def test_linear_layers_in_a_row():
    """Products of three weights; a matrix between two general linear groups is a number of itself."""
    space = ws.mlp([2, 4, 3, 2], activation="identity")
    contraction = Contraction(space)
    assert contraction.products_space.shapes == {
        "4.bias": (2,),
        "4.weight @ 2.bias": (2,),
        "4.weight @ 2.weight @ 0.weight": (2, 2),
        "4.weight @ 2.weight @ 0.bias": (2,),
    }
    theta = networks(space)
    whole = theta["4.weight"][..., 0] @ theta["2.weight"][..., 0] @ theta["0.weight"][..., 0]
    found = contraction(theta)["4.weight @ 2.weight @ 0.weight"][..., 0]
    torch.testing.assert_close(found, whole / 12**0.5)
    for task, check in zip(TASKS, (assert_equivariant, assert_invariant), strict=True):
        net = build(space, task)
        assert net.symmetry == space.symmetry()
        check(net, space)


def test_products_of_a_head_are_those_of_its_attention(spaces):
    """W_Q^T W_K and W_O W_V of every head, by hand."""
    space = spaces["as published"]
    theta = networks(space)
    products = Contraction(space)(theta)
    parts = {n: theta[f"blocks.1.mix.{n}.weight"][..., 0] for n in ("query", "key", "value", "project")}
    scores = torch.einsum("bhgi,bhgj->bhij", parts["key"], parts["query"]) / 2**0.5
    mixed = torch.einsum("bohg,bhgi->bohi", parts["project"], parts["value"]) / 2**0.5
    torch.testing.assert_close(products["blocks.1.mix.key.weight @ blocks.1.mix.query.weight"][..., 0], scores)
    torch.testing.assert_close(products["blocks.1.mix.project.weight @ blocks.1.mix.value.weight"][..., 0], mixed)


@pytest.mark.parametrize("kind", ["fixed positions", "fixed positions, residual"])
def test_axes_that_nothing_moves_are_mixed_before_the_product(kind, spaces):
    """The k-th mixture of queries times the k-th mixture of keys; no pairs of 6 units."""
    space = spaces[kind]
    torch.manual_seed(0)
    contraction = Contraction(space, mixtures=7).double()
    theta = networks(space)
    products = contraction(theta)
    key, query = (
        next(i for i, p in enumerate(space.parameters) if p.name.endswith(end))
        for end in ("packed.weight[6:12, :]", "packed.weight[0:6, :]")
    )
    found = products[f"{space.parameters[key].name} @ {space.parameters[query].name}"][..., 0]
    mixed = [theta.tensors[i][..., 0] @ contraction.mixing[str(i)] for i in (key, query)]
    torch.testing.assert_close(found, torch.einsum("bhgk,bhgk->bhk", *mixed) / 3**0.5)
    assert Contraction(space, mixtures=36).products_space == Contraction(space).products_space


def test_without_general_matrices_it_is_unf():
    space = ws.mlp([2, 5, 5, 1])
    net = build(space, "equivariant")
    assert net.symmetry == space.symmetry("permutation")
    assert Contraction(space).products_space == space


def test_units_multiplied_with_themselves_are_left_to_permutations():
    """A residual stream of linear layers without a norm: W_2 W_1 maps it to itself, so no product is free of it."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.up, self.down, self.head = (nn.Linear(*s) for s in ((2, 4), (4, 3), (3, 4), (4, 1)))

        def forward(self, x):
            x = self.stem(x)
            return self.head(x + self.down(self.up(x)))

    space = ws.from_module(Linear(), R(3, 2))
    names = {g.name for g in space.groups if isinstance(g.symmetry, GeneralLinearGroup)}
    assert len(names) == 2
    left = Contraction(space).linear
    assert len(left) == 1
    for task, check in zip(TASKS, (assert_equivariant, assert_invariant), strict=True):
        check(build(space, task), space)


@pytest.mark.parametrize("kind", ["vit", "gpt", "as published"])
def test_quasi_equivariance_is_not_seen_by_an_invariant_task(kind, spaces):
    space, theta = spaces[kind], networks(spaces[kind])
    net = build(space, quasi="layer", quasi_hidden=16)
    before = net(theta)
    before.square().sum().backward()
    alphas = [p for name, p in net.named_parameters() if "alpha" in name]
    others = [p.grad.abs().max() for name, p in net.named_parameters() if "alpha" not in name]
    assert max(float(p.grad.abs().max()) for p in alphas) < 1e-12 * max(map(float, others))
    with torch.no_grad():
        for p in alphas:
            p.normal_()
    assert (net(theta) - before).abs().max() < 1e-12 * before.abs().max()
    assert_invariant(net, space)


@pytest.mark.parametrize("kind", ["vit", "as published"])
def test_quasi_equivariance_takes_orbits_to_orbits(kind, spaces):
    space = spaces[kind]
    net, strict = build(space, "equivariant", quasi="layer", quasi_hidden=16), build(space, "equivariant")
    check_orbits_to_orbits(net, strict.symmetry, networks(space), moves=1e-3)


def test_quasi_equivariance_needs_heads():
    with pytest.raises(ws.SymmetryError, match="is discrete"):
        build(ws.mlp([2, 5, 5, 1]), quasi="layer")
