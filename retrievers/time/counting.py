"""The words of expressions that count from a day ("last month", "two weeks ago", "from 2015 onwards"), by language.

Names of months, weekdays and units are the library's (`fovea.retrievers.time.lexicon`), and so are words such as
"yesterday"; here is what it lacks: inflected forms, and numbers in some languages.
"""

from __future__ import annotations

from typing import NamedTuple


class Counting(NamedTuple):
    """Each a list of phrases, separated by commas."""

    numbers: str
    """One to twelve, in order."""
    one: str
    """Articles, and other forms of one."""
    two: str
    """Vague forms of two."""
    last: str
    """Before or after a unit, the one before this: "last year"; with a number, so many up to now: "last 3 years"."""
    rolling: str
    """Before a unit without a number, one up to the day: "the past year"."""
    this: str
    next: str
    ago: str
    """How a time is said that lies a number of units back: `#` stands for number and unit."""
    more: str
    """Before the number, at least as long ago as that: "more than two years ago"."""
    less: str
    month: str
    """Forms of units that the library lacks."""
    year: str
    quarter: str
    weekend: str
    century: str
    opening: str
    """Before a date, its beginning: "since the beginning of last year"."""
    closing: str
    on: str
    """Before a weekday or a month that is then a date."""
    today: str
    """The day itself, as the end of a range or behind a bound: "from 2010 to today", "until now"."""
    onward: str
    """After a date, from it on: "2015 or later"."""
    back: str
    """After a date, up to it: "2015 or earlier"."""


COUNTING: dict[str, Counting] = {
    "en": Counting(
        numbers="one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve",
        one="a, an",
        two="couple of, a couple of",
        last="last, past, previous",
        rolling="past",
        this="this, current",
        next="next, coming, upcoming",
        ago="# ago, # back",
        more="more than, over, at least",
        less="less than, under, at most",
        month="",
        year="",
        quarter="quarter, quarters",
        weekend="weekend, weekends",
        century="century, centuries",
        opening="beginning, start",
        closing="end, close",
        on="on, in, of, during, throughout, early, late, mid, as of",
        today="present, the present, today, now, date, this day, the present day",
        onward="onward, onwards, and onward, and onwards, or later, and later, and after, or after, or newer, "
        "and newer",
        back="or earlier, and earlier, or before, and before, or older, and older",
    ),
    "de": Counting(
        numbers="eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf",
        one="ein, eine, einem, einen, einer, eines",
        two="",
        last="letzte, letzten, letztem, letzter, letztes, vergangene, vergangenen, vergangenem, vergangener, "
        "vergangenes, vorige, vorigen, vorigem, voriger, voriges",
        rolling="",
        this="diese, diesen, diesem, dieser, dieses, laufenden",
        next="nächste, nächsten, nächstem, nächster, nächstes, kommende, kommenden, kommendem, kommender, kommendes",
        ago="vor #",
        more="mehr als, über, mindestens",
        less="weniger als, unter, höchstens",
        month="monats",
        year="jahres",
        quarter="quartal, quartals, quartale, quartalen",
        weekend="wochenende, wochenendes",
        century="jahrhundert, jahrhunderts",
        opening="anfang, beginn",
        closing="ende",
        on="am, im, in, den, dem, während, frühen, späten",
        today="heute, jetzt, zur gegenwart",
        onward="und später, oder später",
        back="und früher, oder früher",
    ),
    "fr": Counting(
        numbers="un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze",
        one="une",
        two="",
        last="dernier, dernière, derniers, dernières, passé, passée",
        rolling="",
        this="ce, cet, cette",
        next="prochain, prochaine",
        ago="il y a #",
        more="plus de, plus d', au moins",
        less="moins de, moins d', au plus",
        month="",
        year="an",
        quarter="trimestre, trimestres",
        weekend="week-end, weekend",
        century="siècle, siècles",
        opening="début",
        closing="fin",
        on="le, en, au, du, de",
        today="aujourd'hui, maintenant, ce jour, présent",
        onward="et après, ou après, ou plus tard, et au-delà",
        back="et avant, ou avant, ou plus tôt",
    ),
    "es": Counting(
        numbers="uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce",
        one="un, una",
        two="par de, un par de",
        last="último, última, últimos, últimas, pasado, pasada",
        rolling="último, última",
        this="este, esta",
        next="próximo, próxima, que viene",
        ago="hace #",
        more="más de, al menos",
        less="menos de",
        month="",
        year="",
        quarter="trimestre, trimestres",
        weekend="fin de semana",
        century="siglo, siglos",
        opening="principios, principio, comienzos, inicios",
        closing="finales, final, fines",
        on="el, en, de, del",
        today="hoy, ahora, la actualidad, el presente",
        onward="en adelante, y después, o después, o más tarde",
        back="o antes, y antes",
    ),
    "it": Counting(
        numbers="uno, due, tre, quattro, cinque, sei, sette, otto, nove, dieci, undici, dodici",
        one="un, una",
        two="paio di, un paio di",
        last="scorso, scorsa, scorsi, scorse, ultimo, ultima, ultimi, ultime, passato, passata",
        rolling="ultimo, ultima",
        this="questo, questa",
        next="prossimo, prossima",
        ago="# fa",
        more="più di, oltre",
        less="meno di",
        month="",
        year="",
        quarter="trimestre, trimestri",
        weekend="fine settimana, weekend",
        century="secolo, secoli",
        opening="inizio",
        closing="fine",
        on="nel, in, a, di, lo",
        today="oggi, adesso, ora",
        onward="in poi, e dopo, o dopo",
        back="o prima, e prima",
    ),
    "nl": Counting(
        numbers="een, twee, drie, vier, vijf, zes, zeven, acht, negen, tien, elf, twaalf",
        one="één",
        two="",
        last="vorig, vorige, afgelopen, laatste",
        rolling="afgelopen",
        this="dit, deze",
        next="volgend, volgende, komend, komende",
        ago="# geleden",
        more="meer dan",
        less="minder dan",
        month="",
        year="",
        quarter="kwartaal, kwartalen",
        weekend="weekend, weekeinde",
        century="eeuw, eeuwen",
        opening="begin",
        closing="eind, einde",
        on="op, in",
        today="heden, vandaag, nu",
        onward="en later, of later",
        back="en eerder, of eerder",
    ),
    "pt": Counting(
        numbers="um, dois, três, quatro, cinco, seis, sete, oito, nove, dez, onze, doze",
        one="uma, duas",
        two="par de, um par de",
        last="último, última, últimos, últimas, passado, passada",
        rolling="último, última",
        this="este, esta",
        next="próximo, próxima, que vem",
        ago="há #, # atrás",
        more="mais de",
        less="menos de",
        month="",
        year="",
        quarter="trimestre, trimestres",
        weekend="fim de semana",
        century="século, séculos",
        opening="início, começo, inícios",
        closing="fim, final, finais",
        on="em, no, na, de, do",
        today="hoje, agora",
        onward="em diante, ou depois, e depois",
        back="ou antes, e antes",
    ),
}
