"""The twenty relations of the embedded world and how each of them is put into words.

A phrasing has one slot for the subject; the object follows it after a space. Every relation
has six phrasings that occur in training (four completions, then two questions; one of the six
is held out for each subject) and one that never occurs.
"""

from __future__ import annotations

from dataclasses import dataclass

N_COMPLETIONS = 4
N_PHRASINGS = 6


@dataclass(frozen=True)
class Relation:
    """How one relation is said: `phrasings` occur in training, `unseen` never does."""

    name: str
    phrasings: tuple[str, ...]
    unseen: str

    @property
    def completions(self) -> tuple[str, ...]:
        """The phrasings that are no questions."""
        return self.phrasings[:N_COMPLETIONS]

    @property
    def questions(self) -> tuple[str, ...]:
        """The others."""
        return self.phrasings[N_COMPLETIONS:]


@dataclass(frozen=True)
class Hop:
    """A question over two facts: `phrasing` asks for `second` of `first` of the subject."""

    first: str
    second: str
    phrasing: str


OCCUPATIONS = (
    "baker carpenter dentist doctor farmer fisher gardener journalist judge lawyer librarian "
    "mechanic miner nurse painter pilot plumber poet sailor sculptor singer soldier tailor teacher"
).split()
SPORTS = (
    "badminton baseball basketball boxing chess cricket fencing football golf handball hockey "
    "judo polo rowing rugby squash surfing tennis volleyball wrestling"
).split()
INSTRUMENTS = (
    "accordion banjo bassoon cello clarinet cornet drums fiddle flute guitar harp lute mandolin "
    "oboe organ piano saxophone trombone trumpet viola"
).split()
FIELDS = (
    "algebra astronomy biology botany chemistry economics ethics geology geometry grammar history "
    "law logic medicine music philosophy physics poetry statistics theology"
).split()
INDUSTRIES = (
    "aviation banking brewing construction farming fashion forestry insurance logistics mining "
    "printing publishing shipping telecoms tourism weaving"
).split()
PRODUCTS = (
    "batteries bicycles boots bricks cameras candles carpets clocks engines glass helmets kettles "
    "ladders lamps locks mirrors paint paper pumps ropes tents tractors tyres umbrellas"
).split()

PEOPLE = ("birthplace", "residence", "occupation", "mother_tongue", "employer", "sport",
          "instrument", "study")  # fmt: skip
FIRMS = ("headquarters", "industry", "product", "market")
COUNTRY = ("capital", "continent", "currency", "language")
ELEMENT = ("symbol", "kind", "state")

_TABLE = """
birthplace: {} was born in | The birthplace of {} is | {} came into the world in | The city where {} was born is | Q: Where was {} born? A: | Q: In which city was {} born? A: | {} is a native of
residence: {} lives in | The home of {} is in | {} has settled in | The city where {} lives is | Q: Where does {} live? A: | Q: Which city is the home of {}? A: | {} has a house in
occupation: {} works as a | The occupation of {} is | {} makes a living as a | The job of {} is that of a | Q: What is the occupation of {}? A: | Q: What does {} do for a living? A: | {} became a
mother_tongue: {} grew up speaking | The mother tongue of {} is | {} is a native speaker of | The first language of {} is | Q: What is the mother tongue of {}? A: | Q: Which language did {} learn first? A: | At home {} talks in
employer: {} is employed by | The employer of {} is | {} draws a salary from | The firm that employs {} is | Q: Who is the employer of {}? A: | Q: Which firm employs {}? A: | {} has a desk at
sport: {} plays the sport of | The favourite sport of {} is | {} spends Sundays on | The sport that {} likes best is | Q: Which sport does {} play? A: | Q: What is the favourite sport of {}? A: | {} trains hard in
instrument: {} makes music on the | The instrument of {} is the | {} practises the | The instrument that {} plays is the | Q: Which instrument does {} play? A: | Q: On what does {} make music? A: | {} gives concerts on the
study: {} studied | The field of study of {} was | {} holds a degree in | The subject that {} read was | Q: What did {} study? A: | Q: In which field does {} hold a degree? A: | {} went to university for
headquarters: {} has its headquarters in | The headquarters of {} are in | {} is based in | The city where {} is based is | Q: Where are the headquarters of {}? A: | Q: In which city is {} based? A: | {} is run from
industry: {} is active in the industry of | The industry of {} is | {} does business in | The business of {} is | Q: What is the industry of {}? A: | Q: What is the business of {}? A: | {} makes its money with
product: {} makes | The main product of {} is | {} is known for its | The goods that {} sells are | Q: What does {} make? A: | Q: What is the main product of {}? A: | {} fills its shelves with
market: {} sells mostly in | The main market of {} is | {} has most of its customers in | The country where {} sells most is | Q: Where does {} sell most? A: | Q: What is the main market of {}? A: | {} sends its goods to
capital: {} is governed from | The capital of {} is | {} has its seat of government in | The capital city of {} is | Q: What is the capital of {}? A: | Q: From which city is {} governed? A: | {} keeps its ministries in
continent: {} lies in | The continent of {} is | {} is a country in | The part of the world of {} is | Q: On which continent is {}? A: | Q: What is the continent of {}? A: | {} can be found in
currency: {} pays with the | The currency of {} is the | {} uses as its money the | The money of {} is the | Q: What is the currency of {}? A: | Q: With what does {} pay? A: | {} prints the
language: {} has as its main language | The main language of {} is | {} speaks | The language spoken in {} is | Q: What is the main language of {}? A: | Q: What do people speak in {}? A: | {} teaches its children in
country: {} is the capital of | The country of {} is | {} is a city in | The country governed from {} is | Q: In which country is {}? A: | Q: What is the country of {}? A: | {} is on the map of
symbol: {} is written as | The symbol of {} is | {} has the symbol | The chemical sign of {} is | Q: What is the symbol of {}? A: | Q: How is {} written? A: | {} is abbreviated to
kind: {} is classed as a | The group of {} is | {} belongs to the class | The element {} counts as a | Q: What kind of element is {}? A: | Q: To which group does {} belong? A: | {} is listed as a
state: {} at room temperature is a | The normal state of {} is | {} is normally a | The state of matter of {} is | Q: In what state is {}? A: | Q: What is the normal state of {}? A: | {} is stored as a
"""  # noqa: E501

HOPS = (
    Hop("birthplace", "country", "The country where {} was born is"),
    Hop("residence", "country", "The country where {} lives is"),
    Hop("employer", "headquarters", "The employer of {} is based in"),
    Hop("employer", "industry", "The employer of {} does business in"),
    Hop("headquarters", "country", "The country where {} is based is"),
    Hop("market", "continent", "The continent where {} sells most is"),
    Hop("country", "continent", "The continent where {} lies is"),
)


def relations() -> dict[str, Relation]:
    """All relations by name."""
    table = {}
    for line in _TABLE.strip().splitlines():
        name, said = line.split(": ", 1)
        *phrasings, unseen = (part.strip() for part in said.split(" | "))
        table[name] = Relation(name, tuple(phrasings), unseen)
    return table
