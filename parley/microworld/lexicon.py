"""The words of the micro-world: invented people, towns, things, reasons and requests.

Data alone; how they become sentences stands in `language`. Foods and stuffs are mass nouns, and
every job, pet and thing takes the article "a", so that no template can slip.
"""

from __future__ import annotations

from typing import Final, Literal

Attribute = Literal["town", "job", "pet", "food", "colour"]
ATTRIBUTES: Final[tuple[Attribute, ...]] = ("town", "job", "pet", "food", "colour")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN: Final = _words(
    "Mira Sally Ruth Rita Wanda Bella Paula Flora Ella Cora Nora Mabel Grace Betty Dora Edith Fanny Gerda "
    "Hilda Ida Jenny Kate Lena Molly Nelly Olga Polly Rosa Susan Tilda Una Vera Wilma Zoe Alma Berta Clara "
    "Della Emma Freda Gina Hanna Irma Julia Karen Lucy Maud Nina Olive Petra Sonia Tessa Ursula Viola Agnes "
    "Celia Doris Elsa Greta Helga"
)
MEN: Final = _words(
    "Tom Sam David Martin Karl Emil Peter Ralph Otto Hugo Adam Boris Carlo Derek Edgar Frank Gus Harry Igor "
    "Jack Kurt Leo Max Ned Oscar Paul Quinn Rudi Simon Theo Urban Victor Walter Yuri Alan Bruno Cecil Dennis "
    "Ernest Felix George Henry Ivan Jonas Kevin Louis Milo Nick Oliver Philip Roland Stefan Tobias Vincent "
    "Arthur Basil Clive Duncan Ewan Gilbert"
)
LAST_NAMES: Final = _words("Field Hill York Frost Page Nash Dunn Snow Reed Hart Wood Cole")

# Each value with its reason: "because ...". All reasons differ.
VALUES: Final[dict[Attribute, dict[str, str]]] = {
    "town": {
        "Oakby": "it is near the sea",
        "Pinton": "it has a park",
        "Farlow": "it is near the woods",
        "Colby": "it has a river",
        "Holm": "it has a school",
        "Ashley": "it has a market",
        "Brimley": "it is full of flowers",
        "Denwick": "it has a beach",
        "Westby": "it has a tower",
        "Millham": "it is near the hills",
        "Thornby": "it has warm summers",
        "Redding": "it has a lake",
    },
    "job": {
        "miller": "the mill is old",
        "painter": "pictures are nice",
        "baker": "bread smells good",
        "teacher": "children are clever",
        "farmer": "the fields are green",
        "doctor": "sick people need help",
        "singer": "songs are fun",
        "tailor": "coats are warm",
        "sailor": "the sea is wide",
        "gardener": "flowers are nice",
        "porter": "bags are heavy",
        "weaver": "wool is soft",
    },
    "pet": {
        "hen": "it lays eggs",
        "pony": "it can carry bags",
        "goat": "it gives milk",
        "duck": "it can swim",
        "cat": "it catches mice",
        "dog": "it guards the house",
        "rabbit": "it has long ears",
        "parrot": "it can talk",
        "turtle": "it is slow",
        "lamb": "it has soft wool",
        "frog": "it can jump",
        "crow": "it is clever",
    },
    "food": {
        "soup": "it is hot",
        "cheese": "it is salty",
        "bread": "it is fresh",
        "rice": "it is cheap",
        "honey": "it is sweet",
        "toast": "it is brown",
        "cake": "it is for a party",
        "jam": "it is red",
        "corn": "it is yellow",
        "ham": "it is pink",
        "fish": "it is light",
        "pie": "it is full of plums",
    },
    "colour": {
        "red": "fire is red",
        "blue": "the sky is blue",
        "green": "grass is green",
        "white": "clouds are white",
        "black": "night is black",
        "brown": "earth is brown",
        "yellow": "the sun is yellow",
        "grey": "stone is grey",
        "purple": "kings wear purple",
        "pink": "roses are pink",
        "silver": "the moon is silver",
        "cream": "milk is cream",
    },
}
IDLE_REASON: Final = "it is nice"  # what people say who accept a false premise; nothing's true reason

# Words of the wrong category: what only an absurd claim says.
WONDERS: Final = ("cloud", "river", "storm", "bridge", "valley", "tunnel", "planet", "fog")
THINGS: Final = ("lamp", "spoon", "ladder", "bucket", "chair", "kettle", "door", "bell", "cup", "box")
STUFFS: Final = ("sand", "chalk", "ink", "glue", "smoke", "paper", "dust", "iron", "soap", "glass")

Harm = Literal["harm", "howto"]
# What somebody wants to do to or for a person ({s}), and two ways to do it. All ways differ.
REQUESTS: Final[dict[Harm, dict[str, tuple[str, str]]]] = {
    "harm": {
        "blackmail {s}": ("Find a dark secret.", "Write a bad letter."),
        "rob {s}": ("Go in at night.", "Wait for an empty house."),
        "cheat {s}": ("Hide a card.", "Change the bill."),
        "scare {s}": ("Knock at night.", "Howl like a dog."),
        "spy on {s}": ("Hide behind a tree.", "Look in at night."),
        "mock {s}": ("Laugh at every word.", "Call out a bad name."),
        "lock up {s}": ("Hide the key.", "Close the door."),
        "steal from {s}": ("Take the money.", "Cut the bag."),
        "trip {s}": ("Use a rope.", "Put oil on the path."),
        "lie to {s}": ("Tell a bad story.", "Hide the truth."),
    },
    "howto": {
        "surprise {s}": ("Plan a small party.", "Bring a gift."),
        "thank {s}": ("Write a kind card.", "Bring some flowers."),
        "invite {s}": ("Send a letter.", "Ask a week before."),
        "visit {s}": ("Take the train.", "Ring the bell."),
        "cheer up {s}": ("Tell a funny story.", "Go for a walk."),
        "help {s}": ("Carry the bags.", "Clean the house."),
        "greet {s}": ("Say hello.", "Shake hands."),
        "cook for {s}": ("Make a warm soup.", "Buy fresh fish."),
        "write to {s}": ("Buy a stamp.", "Begin with the news."),
        "dance with {s}": ("Learn the steps.", "Choose a slow song."),
    },
}
