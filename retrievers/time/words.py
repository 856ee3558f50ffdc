"""The words around dates: what turns a date into an interval, by language. Names of months, units of time and words
such as "yesterday" are the library's (`fovea.retrievers.time.parser`).
"""

from __future__ import annotations

from typing import NamedTuple

from fovea.retrievers.time.counting import COUNTING, Counting
from fovea.retrievers.time.days import Relation


class Words(NamedTuple):
    """Each a list of phrases, separated by commas."""

    before: str
    after: str
    since: str
    until: str
    between: str
    to: str
    """Between the two ends of a range."""
    both: str
    """Likewise, after a word of `between`."""
    origin: str
    """Before the first end."""
    in_year: str
    """Right before a number of three digits that may then be a year; so may words of relations."""
    year: str
    """Right before a number that is a year, whatever comes after it."""
    decade: str
    """Right before a year that stands for ten: "les années 1960"."""
    fill: str
    """May stand between such a word and the date."""
    early: str
    middle: str
    late: str
    recent: str
    """Asks for the newest."""
    units: str
    """After a number that is then a quantity."""
    never: str
    """Before a number that is then no year of the calendar."""


LANGUAGES: dict[str, Words] = {
    "en": Words(
        before="before, prior to, earlier than, preceding, pre, older than",
        after="after, later than, following, post, newer than",
        since="since, starting in, starting from, starting, beginning in, as from, no earlier than, not earlier than, "
        "not before, ever since, on or after, in or after, at or after",
        until="until, till, up to, up until, by, no later than, not later than, not after, ending in, "
        "on or before, in or before, at or before",
        between="between",
        to="to, until, till, through, up to",
        both="and",
        origin="from",
        in_year="in, year, anno",
        year="year, anno",
        decade="",
        fill="the, in, of, year, years, on, at, least, about, around, circa, c., ca., month",
        early="early",
        middle="mid",
        late="late",
        recent="now, current, currently, latest, newest, most recent, most recently, today, nowadays, at present",
        units="people, men, women, metre, metres, meter, meters, m, km, kilometres, kilometers, miles, foot, feet, ft, "
        "ton, tons, tonnes, kg, copies, inhabitants, residents, soldiers, troops, houses, homes, households, votes, "
        "voters, seat, seats, students, members, pounds, dollars, euros, francs, marks, points, hectares, acres, "
        "units, pages, employees, workers, hours, minutes, days, times, percent, horsepower, hp, kw, mw, volts, v, hz, "
        "cc, items, species, passengers",
        never="fiscal, fiscal year, financial year, fy, no, no., nos, nos., number, numbers, flight, route, highway, "
        "room, model, page",
    ),
    "de": Words(
        before="vor, bevor, früher als, älter als",
        after="nach, später als, neuer als",
        since="seit, ab, frühestens, nicht vor, am oder nach, im oder nach",
        until="bis, bis zum, bis zur, bis in, spätestens, bis spätestens, nicht später als, nicht nach, "
        "bis einschließlich, am oder vor, im oder vor",
        between="zwischen",
        to="bis, bis zum",
        both="und",
        origin="von, vom",
        in_year="jahr, jahre, anno",
        year="jahr, jahre, anno",
        decade="",
        fill="dem, den, der, des, das, im, am, jahr, jahre, etwa, circa, ca., um, monat",
        early="frühen",
        middle="mitte",
        late="späten",
        recent="jetzt, derzeit, aktuell, aktuelle, aktuellen, aktueller, aktuelles, heute, momentan, gegenwärtig, "
        "neueste, neuesten, neuester, neuestes",
        units="einwohner, einwohnern, menschen, personen, mann, meter, metern, kilometer, soldaten, tonnen, exemplare, "
        "häuser, stimmen, sitze, schüler, mitglieder, euro, mark, hektar, seiten, mitarbeiter, stunden, tage, tagen",
        never="geschäftsjahr, haushaltsjahr",
    ),
    "fr": Words(
        before="avant, antérieur à, antérieurs à, antérieure à",
        after="après, postérieur à, postérieurs à, postérieure à",
        since="depuis, dès, à partir de, à partir du, à partir des, à compter de, pas avant, au plus tôt en",
        until="jusque, jusqu'en, jusqu'à, jusqu'au, au plus tard en, au plus tard, pas après",
        between="entre",
        to="à, au, jusqu'en, jusqu'à, jusqu'au",
        both="et",
        origin="de, du",
        in_year="en, l'an, an, année",
        year="l'an, an, année",
        decade="années",
        fill="le, la, l'an, l'année, année, années, les, en, environ, vers, au, mois, de, du, des",
        early="",
        middle="milieu, mi",
        late="",
        recent="maintenant, actuel, actuelle, actuellement, aujourd'hui, récent, récente, à présent",
        units="habitants, personnes, hommes, femmes, mètres, kilomètres, soldats, tonnes, exemplaires, maisons, voix, "
        "sièges, élèves, membres, euros, francs, hectares, pages, employés, heures, jours, fois",
        never="exercice",
    ),
    "es": Words(
        before="antes de, antes del, anterior a, anteriores a",
        after="después de, después del, tras, posterior a, posteriores a",
        since="desde, a partir de, a partir del, no antes de, no antes del",
        until="hasta, a más tardar en, a más tardar, no después de, no después del",
        between="entre",
        to="a, al, hasta, hasta el",
        both="y",
        origin="de, del",
        in_year="en, año",
        year="año",
        decade="años",
        fill="el, la, los, las, año, años, en, de, del, hacia, mes",
        early="",
        middle="mediados",
        late="",
        recent="ahora, actual, actualmente, hoy, más reciente",
        units="habitantes, personas, hombres, mujeres, metros, kilómetros, soldados, toneladas, ejemplares, casas, "
        "votos",
        never="ejercicio",
    ),
    "it": Words(
        before="prima di, prima del",
        after="dopo, dopo il",
        since="dal, da, a partire dal",
        until="fino al, fino a, entro",
        between="tra, fra",
        to="al, a, fino al",
        both="e",
        origin="dal, dalla",
        in_year="nel, anno",
        year="anno",
        decade="anni",
        fill="il, la, lo, gli, anno, anni, nel, circa, di, del, mese",
        early="",
        middle="metà",
        late="",
        recent="adesso, ora, attuale, attualmente, oggi, più recente",
        units="abitanti, persone, uomini, donne, metri, chilometri, soldati, tonnellate, copie, case, voti",
        never="esercizio",
    ),
    "nl": Words(
        before="voor, vóór",
        after="na",
        since="sinds, vanaf",
        until="tot, uiterlijk in",
        between="tussen",
        to="tot, tot en met, t/m",
        both="en",
        origin="van",
        in_year="in, jaar",
        year="jaar",
        decade="jaren",
        fill="de, het, in, jaar, jaren, op, ongeveer, rond, maand",
        early="",
        middle="midden",
        late="",
        recent="nu, huidige, momenteel, vandaag, nieuwste",
        units="inwoners, mensen, personen, mannen, meter, kilometer, soldaten, ton, exemplaren, huizen, stemmen",
        never="boekjaar",
    ),
    "pt": Words(
        before="antes de",
        after="depois de, após",
        since="desde, a partir de",
        until="até",
        between="entre",
        to="a, até",
        both="e",
        origin="de, do",
        in_year="em, ano",
        year="ano",
        decade="anos",
        fill="o, a, os, ano, anos, em, cerca, de, do, mês",
        early="",
        middle="meados",
        late="",
        recent="agora, atual, atualmente, hoje, mais recente",
        units="habitantes, pessoas, homens, mulheres, metros, quilômetros, soldados, toneladas, cópias, casas, votos",
        never="exercício",
    ),
}
"""The languages whose expressions are read in full. Of others that the library knows, dates alone are read."""

RELATIONS: tuple[Relation, ...] = ("before", "after", "since", "until", "between")


def phrases(languages: tuple[str, ...], field: str) -> set[str]:
    """All phrases of one field in those of `languages` that are in `LANGUAGES`."""
    table = COUNTING if field in Counting._fields else LANGUAGES
    lists = (getattr(table[name], field) for name in languages if name in table)
    return {phrase.strip() for found in lists for phrase in found.split(",") if phrase.strip()}
