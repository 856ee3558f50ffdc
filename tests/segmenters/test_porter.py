"""The Porter stemmer: the examples of the paper, step by step."""

import pytest

from fovea.segmenters import porter
from fovea.segmenters.porter import stem

MEASURES = {0: "tr ee tree y by", 1: "trouble oats trees ivy", 2: "troubles private oaten orrery"}
STEPS = {
    porter._plural: "caresses:caress ponies:poni ties:ti caress:caress cats:cat",
    porter._participle: (
        "feed:feed agreed:agree plastered:plaster bled:bled motoring:motor sing:sing conflated:conflate "
        "troubled:trouble sized:size hopping:hop tanned:tan falling:fall hissing:hiss fizzed:fizz failing:fail "
        "filing:file"
    ),
    lambda word: porter._replaced(word, porter._DOUBLE, 0): (
        "relational:relate conditional:condition rational:rational valenci:valence hesitanci:hesitance "
        "digitizer:digitize conformabli:conformable radicalli:radical differentli:different vileli:vile "
        "analogousli:analogous vietnamization:vietnamize predication:predicate operator:operate feudalism:feudal "
        "decisiveness:decisive hopefulness:hopeful callousness:callous formaliti:formal sensitiviti:sensitive "
        "sensibiliti:sensible"
    ),
    lambda word: porter._replaced(word, porter._SINGLE, 0): (
        "triplicate:triplic formative:form formalize:formal electriciti:electric electrical:electric hopeful:hope "
        "goodness:good"
    ),
    lambda word: porter._replaced(word, porter._LAST, 1): (
        "revival:reviv allowance:allow inference:infer airliner:airlin gyroscopic:gyroscop adjustable:adjust "
        "defensible:defens irritant:irrit replacement:replac adjustment:adjust dependent:depend adoption:adopt "
        "homologou:homolog communism:commun activate:activ angulariti:angular homologous:homolog effective:effect "
        "bowdlerize:bowdler"
    ),
    porter._tidied: "probate:probat rate:rate cease:ceas controll:control roll:roll",
}


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_of_the_paper(measure):
    assert [porter._measure(word) for word in MEASURES[measure].split()] == [measure] * len(MEASURES[measure].split())


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_steps_of_the_paper(step):
    function, pairs = list(STEPS.items())[step]
    for pair in pairs.split():
        word, expected = pair.split(":")
        assert function(word) == expected


def test_whole_words():
    assert {stem(w) for w in ["connect", "connected", "connecting", "connection", "connections"]} == {"connect"}
    assert [stem(w) for w in ["happy", "sky", "generalizations", "oscillators", "is", "a", ""]] == [
        "happi", "sky", "gener", "oscil", "is", "a", "",
    ]  # fmt: skip
