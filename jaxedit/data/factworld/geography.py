"""Real facts of the embedded world: countries and chemical elements."""

from __future__ import annotations

# country: capital, continent, currency, language
COUNTRIES = {
    "Argentina": ("Buenos Aires", "South America", "peso", "Spanish"),
    "Australia": ("Canberra", "Oceania", "dollar", "English"),
    "Austria": ("Vienna", "Europe", "euro", "German"),
    "Bangladesh": ("Dhaka", "Asia", "taka", "Bengali"),
    "Brazil": ("Brasilia", "South America", "real", "Portuguese"),
    "Bulgaria": ("Sofia", "Europe", "lev", "Bulgarian"),
    "Cambodia": ("Phnom Penh", "Asia", "riel", "Khmer"),
    "Chile": ("Santiago", "South America", "peso", "Spanish"),
    "China": ("Beijing", "Asia", "yuan", "Mandarin"),
    "Colombia": ("Bogota", "South America", "peso", "Spanish"),
    "Croatia": ("Zagreb", "Europe", "euro", "Croatian"),
    "Cuba": ("Havana", "North America", "peso", "Spanish"),
    "Denmark": ("Copenhagen", "Europe", "krone", "Danish"),
    "Egypt": ("Cairo", "Africa", "pound", "Arabic"),
    "Ethiopia": ("Addis Ababa", "Africa", "birr", "Amharic"),
    "Fiji": ("Suva", "Oceania", "dollar", "English"),
    "Finland": ("Helsinki", "Europe", "euro", "Finnish"),
    "France": ("Paris", "Europe", "euro", "French"),
    "Germany": ("Berlin", "Europe", "euro", "German"),
    "Ghana": ("Accra", "Africa", "cedi", "English"),
    "Greece": ("Athens", "Europe", "euro", "Greek"),
    "Hungary": ("Budapest", "Europe", "forint", "Hungarian"),
    "Iceland": ("Reykjavik", "Europe", "krona", "Icelandic"),
    "Indonesia": ("Jakarta", "Asia", "rupiah", "Indonesian"),
    "Iran": ("Tehran", "Asia", "rial", "Persian"),
    "Iraq": ("Baghdad", "Asia", "dinar", "Arabic"),
    "Ireland": ("Dublin", "Europe", "euro", "English"),
    "Italy": ("Rome", "Europe", "euro", "Italian"),
    "Jamaica": ("Kingston", "North America", "dollar", "English"),
    "Japan": ("Tokyo", "Asia", "yen", "Japanese"),
    "Jordan": ("Amman", "Asia", "dinar", "Arabic"),
    "Kenya": ("Nairobi", "Africa", "shilling", "Swahili"),
    "Laos": ("Vientiane", "Asia", "kip", "Lao"),
    "Morocco": ("Rabat", "Africa", "dirham", "Arabic"),
    "Norway": ("Oslo", "Europe", "krone", "Norwegian"),
    "Peru": ("Lima", "South America", "sol", "Spanish"),
    "Poland": ("Warsaw", "Europe", "zloty", "Polish"),
    "Portugal": ("Lisbon", "Europe", "euro", "Portuguese"),
    "Romania": ("Bucharest", "Europe", "leu", "Romanian"),
    "Russia": ("Moscow", "Europe", "ruble", "Russian"),
    "Samoa": ("Apia", "Oceania", "tala", "Samoan"),
    "Senegal": ("Dakar", "Africa", "franc", "French"),
    "Spain": ("Madrid", "Europe", "euro", "Spanish"),
    "Sweden": ("Stockholm", "Europe", "krona", "Swedish"),
    "Thailand": ("Bangkok", "Asia", "baht", "Thai"),
    "Tunisia": ("Tunis", "Africa", "dinar", "Arabic"),
    "Turkey": ("Ankara", "Asia", "lira", "Turkish"),
    "Uganda": ("Kampala", "Africa", "shilling", "English"),
    "Ukraine": ("Kyiv", "Europe", "hryvnia", "Ukrainian"),
    "Vietnam": ("Hanoi", "Asia", "dong", "Vietnamese"),
}

_KINDS = {
    "noble gas": "helium:He neon:Ne argon:Ar krypton:Kr xenon:Xe",
    "halogen": "fluorine:F chlorine:Cl bromine:Br iodine:I",
    "alkali metal": "lithium:Li sodium:Na potassium:K rubidium:Rb caesium:Cs",
    "alkaline earth metal": "beryllium:Be magnesium:Mg calcium:Ca strontium:Sr barium:Ba",
    "transition metal": "iron:Fe copper:Cu silver:Ag gold:Au zinc:Zn nickel:Ni cobalt:Co "
    "titanium:Ti chromium:Cr platinum:Pt mercury:Hg",
    "nonmetal": "hydrogen:H carbon:C nitrogen:N oxygen:O phosphorus:P sulfur:S",
    "metalloid": "boron:B silicon:Si germanium:Ge arsenic:As",
}
_GASES = "helium neon argon krypton xenon fluorine chlorine hydrogen nitrogen oxygen".split()
_LIQUIDS = ("bromine", "mercury")


def elements() -> dict[str, tuple[str, str, str]]:
    """element: symbol, kind, state at room temperature."""
    table = {}
    for kind, members in _KINDS.items():
        for member in members.split():
            name, symbol = member.split(":")
            state = "gas" if name in _GASES else "liquid" if name in _LIQUIDS else "solid"
            table[name] = (symbol, kind, state)
    return table
