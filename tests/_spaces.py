"""Weight spaces of networks that are no plain chains of layers, by hand: a case of everything that labels can say."""

from weightspace.group import GENERAL_LINEAR, MONOMIAL, PERMUTATION, MonomialGroup
from weightspace.space import Activation, Axis, NeuronGroup, Parameter, WeightSpace

__all__ = [
    "attention_space",
    "conv_space",
    "depthwise_space",
    "grouped_space",
    "input_norm_space",
    "instance_norm_space",
    "norm_space",
    "residual_space",
    "small_spaces",
]


class _Builder:
    """Collects neuron groups and parameters.

    An axis is written as a size, as "group>" (out), "<group" (in) or "group" (permuted alone), or as "group>|<other"
    where a parameter is the diagonal of a matrix.
    """

    def __init__(self):
        self.groups, self.parameters = {}, []

    def group(self, name, size, kind="hidden", activation="identity", largest=None, tied=None, over=None):
        if tied is not None:
            size = self.groups[tied].size
        self.groups[name] = NeuronGroup(name, size, kind, Activation(activation), largest, tied, over)

    def scaled(self, name, tied, scales):
        """The units of another group further on, with scales of their own."""
        largest = MonomialGroup(f"{scales}_scales", permutes=False, scales=scales)
        self.group(name, 0, tied=tied, largest=largest, activation="relu" if scales == "positive" else "identity")

    def add(self, name, *axes):
        self.parameters.append(Parameter(name, tuple(map(self._axis, axes)), bound=0.5))

    def _axis(self, text):
        if isinstance(text, int):
            return Axis(text)
        (name, side), *other = (self._side(part) for part in text.split("|"))
        return Axis(self.groups[name].size, name, side, other[0] if other else None)

    @staticmethod
    def _side(text):
        side = "out" if text.endswith(">") else "in" if text.startswith("<") else None
        return text.strip("<>"), side

    def space(self):
        return WeightSpace(tuple(self.groups.values()), tuple(self.parameters))


def conv_space(activation="relu", channels=(2, 3, 3), taps=2, positions=4, outputs=2):
    """Two convolutions, then flatten and a linear layer: taps are plain axes, so are the positions."""
    b = _Builder()
    b.group("image", channels[0], "input")
    b.group("a", channels[1], activation=activation)
    b.group("b", channels[2], activation=activation)
    b.group("output", outputs, "output")
    b.add("first.weight", "a>", "<image", taps, taps)
    b.add("first.bias", "a>")
    b.add("second.weight", "b>", "<a", taps, taps)
    b.add("second.bias", "b>")
    b.add("head.weight", "output>", "<b", positions)
    b.add("head.bias", "output>")
    return b.space()


def residual_space(activation="relu", width=4, hidden=3, blocks=2, taps=2):
    """A stream that all blocks add to: through a hidden layer, through a shortcut beside it, and by itself.

    The shortcut carries the stream twice, the branches of a block are parallel; the stem is also read by the head.
    """
    b = _Builder()
    b.group("image", 2, "input")
    b.group("stream", width, activation=activation)
    for i in range(blocks):
        b.group(f"hidden{i}", hidden, activation=activation)
    b.group("output", 2, "output")
    b.add("stem.weight", "stream>", "<image", taps)
    b.add("stem.bias", "stream>")
    for i in range(blocks):
        b.add(f"{i}.up.weight", f"hidden{i}>", "<stream")
        b.add(f"{i}.up.bias", f"hidden{i}>")
        b.add(f"{i}.down.weight", "stream>", f"<hidden{i}", taps)
        b.add(f"{i}.beside.weight", "stream>", f"<hidden{i}")
    b.add("shortcut.weight", "stream>", "<stream")
    b.add("head.weight", "output>", "<stream")
    b.add("head.bias", "output>")
    return b.space()


def norm_space(channels=(2, 3, 4), taps=2, positions=2):
    """Convolutions with BatchNorm and ReLU: tied groups, gains on a diagonal, running variances that nothing scales."""
    b = _Builder()
    b.group("image", channels[0], "input")
    source = "image"
    for i, size in enumerate(channels[1:]):
        pre, post = f"pre{i}", f"post{i}"
        b.group(pre, size, largest=MONOMIAL)
        b.scaled(post, pre, "positive")
        b.add(f"conv{i}.weight", f"{pre}>", f"<{source}", taps)
        b.add(f"norm{i}.weight", f"{post}>|<{pre}")
        b.add(f"norm{i}.bias", f"{post}>")
        b.add(f"norm{i}.running_mean", f"{pre}>")
        b.add(f"norm{i}.running_var", pre)
        source = post
    b.group("output", 2, "output")
    b.add("head.weight", "output>", f"<{source}", positions)
    b.add("head.bias", "output>")
    return b.space()


def attention_space(blocks=1, width=4, heads=2, coordinates=2, mlp=3, tokens=3, vocabulary=3):
    """Pre-norm transformer blocks on a stream: heads, their coordinates on both sides, layer norms, embeddings."""
    b = _Builder()
    b.group("vocabulary", vocabulary, "input")
    b.group("stream", width, largest=PERMUTATION)
    b.add("token.weight", "<vocabulary", "stream>")
    b.add("position", 1, tokens, "stream>")
    for i in range(blocks):
        first, second, hidden, head, qk, v = (f"{name}{i}" for name in ("first", "second", "mlp", "heads", "qk", "v"))
        b.scaled(first, "stream", "nonzero")
        b.group(head, heads, largest=PERMUTATION)
        b.group(qk, coordinates, largest=GENERAL_LINEAR, over=head)
        b.group(v, coordinates, largest=GENERAL_LINEAR, over=head)
        b.scaled(second, "stream", "nonzero")
        b.group(hidden, mlp, activation="gelu")
        b.add(f"{i}.norm1.weight", f"{first}>")
        b.add(f"{i}.norm1.bias", f"{first}>")
        b.add(f"{i}.query.weight", f"{head}>", f"{qk}>", f"<{first}")
        b.add(f"{i}.query.bias", f"{head}>", f"{qk}>")
        b.add(f"{i}.key.weight", f"{head}>", f"<{qk}", f"<{first}")
        b.add(f"{i}.key.bias", f"{head}>", f"<{qk}")
        b.add(f"{i}.value.weight", f"{head}>", f"{v}>", f"<{first}")
        b.add(f"{i}.value.bias", f"{head}>", f"{v}>")
        b.add(f"{i}.out.weight", "stream>", f"<{head}", f"<{v}")
        b.add(f"{i}.out.bias", "stream>")
        b.add(f"{i}.norm2.weight", f"{second}>")
        b.add(f"{i}.norm2.bias", f"{second}>")
        b.add(f"{i}.up.weight", f"{hidden}>", f"<{second}")
        b.add(f"{i}.up.bias", f"{hidden}>")
        b.add(f"{i}.down.weight", "stream>", f"<{hidden}")
        b.add(f"{i}.down.bias", "stream>")
    b.group("output", 2, "output")
    b.add("head.weight", "output>", "<stream")
    b.add("head.bias", "output>")
    return b.space()


def depthwise_space(channels=3, taps=2):
    """A depthwise convolution between two pointwise ones, and a number that scales the output."""
    b = _Builder()
    b.group("image", 2, "input")
    b.group("a", channels, activation="relu")
    b.scaled("b", "a", "positive")
    b.group("c", channels + 1, activation="tanh")
    b.group("output", 1, "output")
    b.add("first.weight", "a>", "<image")
    b.add("depthwise.weight", "b>|<a", 1, taps)
    b.add("depthwise.bias", "b>")
    b.add("last.weight", "c>", "<b", 1)
    b.add("last.bias", "c>")
    b.add("head.weight", "output>", "<c")
    b.add("temperature")
    return b.space()


def input_norm_space():
    """A norm of the inputs: units behind it that are scaled, and stay where they are."""
    b = _Builder()
    b.group("input", 3, "input")
    b.scaled("normed", "input", "nonzero")
    b.group("a", 4, activation="relu")
    b.group("output", 2, "output")
    b.add("norm.weight", "normed>")
    b.add("norm.bias", "normed>")
    b.add("first.weight", "a>", "<normed")
    b.add("first.bias", "a>")
    b.add("head.weight", "output>", "<a")
    return b.space()


def grouped_space(groups=3):
    """Two convolutions in groups, one after the other: their groups number channels on both sides."""
    b = _Builder()
    b.group("image", 2, "input")
    b.group("groups", groups, largest=PERMUTATION)
    for name, size in (("a", 2), ("b", 3), ("c", 2)):
        b.group(name, size, largest=PERMUTATION)
    b.group("output", 2, "output")
    b.add("first.weight", "groups>", "a>", "<image")
    b.add("first.bias", "groups>", "a>")
    b.add("second.weight", "groups>", "b>", "<a", 2)
    b.add("second.bias", "groups>", "b>")
    b.add("third.weight", "groups>", "c>", "<b")
    b.add("head.weight", "output>", "<groups", "<c", 4)
    b.add("head.bias", "output>")
    return b.space()


def instance_norm_space():
    """A norm without parameters: what comes before it and what comes behind it have scales of their own."""
    b = _Builder()
    b.group("image", 2, "input")
    b.group("pre", 4, largest=MONOMIAL)
    b.scaled("post", "pre", "positive")
    b.group("output", 2, "output")
    b.add("first.weight", "pre>", "<image", 3)
    b.add("first.bias", "pre>")
    b.add("head.weight", "output>", "<post")
    b.add("head.bias", "output>")
    return b.space()


def small_spaces():
    """One of each, by name."""
    return {
        "conv": conv_space(),
        "conv-tanh": conv_space("tanh"),
        "residual": residual_space(),
        "residual-tanh": residual_space("tanh"),
        "norm": norm_space(),
        "attention": attention_space(),
        "depthwise": depthwise_space(),
    }
