"""The words of the closed world: numbers, days and months, things and their colors, and so on.

Spelling is American in what is spoken, as recognisers write it.
"""

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number(n: int) -> str:
    """The words of a number from 0 to 100."""
    if n < 20:
        return _UNITS[n]
    if n == 100:
        return "one hundred"
    return _TENS[n // 10 - 2] + (f"-{_UNITS[n % 10]}" if n % 10 else "")


SPELLING = "The letters are "
"""What begins a spelling: letters alone are hard to recognise, above all the first."""

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

COUNTED = (
    ("days", "are in a week", "are in a week", 7),
    ("months", "are in a year", "are in a year", 12),
    ("hours", "are in a day", "are in a day", 24),
    ("minutes", "are in an hour", "are in an hour", 60),
    ("seconds", "are in a minute", "are in a minute", 60),
    ("legs", "does a dog have", "a dog has", 4),
    ("legs", "does a cat have", "a cat has", 4),
    ("legs", "does a horse have", "a horse has", 4),
    ("legs", "does a bird have", "a bird has", 2),
    ("legs", "does a spider have", "a spider has", 8),
    ("legs", "does a fly have", "a fly has", 6),
    ("wheels", "does a car have", "a car has", 4),
    ("wheels", "does a bike have", "a bike has", 2),
    ("sides", "does a square have", "a square has", 4),
    ("sides", "does a triangle have", "a triangle has", 3),
    ("fingers", "are on one hand", "are on one hand", 5),
    ("eyes", "does a cat have", "a cat has", 2),
    ("ears", "does a rabbit have", "a rabbit has", 2),
    ("seasons", "are in a year", "are in a year", 4),
    ("letters", "are in the alphabet", "are in the alphabet", 26),
)
"""(things, how a question goes on after them, how a clause does, how many)"""

OPPOSITES = (
    *(("hot", "cold"), ("big", "small"), ("up", "down"), ("left", "right"), ("day", "night")),
    *(("old", "young"), ("fast", "slow"), ("happy", "sad"), ("open", "closed"), ("wet", "dry")),
    *(("good", "bad"), ("light", "dark"), ("rich", "poor"), ("strong", "weak"), ("hard", "soft")),
    *(("early", "late"), ("full", "empty"), ("high", "low"), ("long", "short"), ("black", "white")),
    *(("clean", "dirty"), ("first", "last"), ("front", "back"), ("inside", "outside"), ("loud", "quiet")),
    *(("near", "far"), ("push", "pull"), ("always", "never"), ("win", "lose"), ("love", "hate")),
    *(("thick", "thin"), ("true", "false"), ("yes", "no"), ("sweet", "sour")),
    *(("begin", "end"), ("above", "below"), ("smooth", "rough"), ("wide", "narrow"), ("awake", "asleep")),
)
"""Pairs; no word stands in two of them."""

COLORED = (
    *(("grass", "is", "green"), ("the sky", "is", "blue"), ("snow", "is", "white"), ("blood", "is", "red")),
    *(("bananas", "are", "yellow"), ("tomatoes", "are", "red"), ("carrots", "are", "orange")),
    *(
        ("milk", "is", "white"),
        ("coal", "is", "black"),
        ("chocolate", "is", "brown"),
        ("frogs", "are", "green"),
    ),
    *(("lemons", "are", "yellow"), ("strawberries", "are", "red"), ("elephants", "are", "gray")),
    *(("flamingos", "are", "pink"), ("pumpkins", "are", "orange"), ("leaves", "are", "green")),
    *(
        ("the sun", "is", "yellow"),
        ("the sea", "is", "blue"),
        ("sugar", "is", "white"),
        ("salt", "is", "white"),
    ),
    *(
        ("coffee", "is", "brown"),
        ("cherries", "are", "red"),
        ("peas", "are", "green"),
        ("mice", "are", "gray"),
    ),
    *(("pigs", "are", "pink"), ("the night", "is", "black"), ("cucumbers", "are", "green")),
    *(("plums", "are", "purple"), ("oranges", "are", "orange"), ("honey", "is", "yellow")),
    *(("fire trucks", "are", "red"), ("chalk", "is", "white"), ("tires", "are", "black")),
    *(("spinach", "is", "green"), ("polar bears", "are", "white"), ("wood", "is", "brown")),
    *(("roses", "are", "red"), ("corn", "is", "yellow"), ("beavers", "are", "brown")),
)
"""(thing, verb, color)"""

SPELLED = (
    *("apple", "arm", "baby", "bad", "bag", "ball", "bank", "barn", "bat", "bath", "bed", "bell", "belt"),
    *("bench", "bike", "bird", "boat", "body", "bone", "book", "boot", "bowl", "box", "boy", "bride"),
    *("brick", "brown", "brush", "bug", "bus", "bush", "cab", "cage", "cake", "calf", "camp", "can"),
    *("candy", "cap", "car", "card", "cart", "cat", "cave", "chair", "chalk", "cheese", "chest", "chin"),
    *("city", "clay", "clock", "cloud", "club", "coal", "coat", "coin", "cold", "comb", "cook", "cool"),
    *("corn", "cow", "crab", "crow", "crown", "cup", "dance", "dark", "day", "deck", "desk", "dish", "dog"),
    *("doll", "door", "dove", "down", "dress", "drink", "drum", "duck", "dust", "eagle", "ear", "earth"),
    *("egg", "elbow", "face", "fan", "farm", "fast", "fence", "fig", "film", "fin", "fire", "fish", "five"),
    *("flag", "flat", "floor", "fog", "foot", "fork", "fox", "frog", "fruit", "fun", "game", "gate"),
    *("gift", "girl", "glass", "glove", "goat", "gold", "good", "grape", "grass", "green", "gum", "ham"),
    *("hand", "happy", "hat", "head", "heart", "hen", "hill", "hip", "home", "honey", "hook", "house"),
    *("ice", "ink", "iron", "jam", "jar", "job", "juice", "jump", "kid", "king", "kiss", "kite", "knee"),
    *("lake", "lamb", "lamp", "leaf", "leg", "lemon", "letter", "lid", "light", "lion", "lip", "list"),
    *("log", "lunch", "mad", "man", "map", "mask", "mat", "milk", "mill", "mint", "mix", "moon", "mouth"),
    *("mud", "mug", "nail", "name", "neck", "nest", "net", "nice", "north", "nut", "ocean", "oil", "olive"),
    *("onion", "open", "oven", "owl", "page", "paint", "palm", "pan", "paper", "park", "path", "pen"),
    *("pencil", "pet", "piano", "pie", "pig", "pin", "pink", "pipe", "plan", "plant", "plate", "play"),
    *("pocket", "pond", "pony", "pool", "porch", "pot", "pump", "puppy", "queen", "quick", "quiet"),
    *("rabbit", "ramp", "rat", "red", "ribbon", "rice", "rich", "river", "robot", "rock", "roof", "room"),
    *("root", "rope", "rug", "run", "salt", "sand", "sandal", "seed", "sheep", "shelf", "ship", "shirt"),
    *("shoe", "shop", "sister", "skirt", "sleep", "slow", "small", "smile", "snack", "snake", "snow"),
    *("soap", "sock", "sofa", "soft", "song", "soup", "south", "spider", "spoon", "spring", "stamp"),
    *("star", "stick", "stone", "stove", "street", "sugar", "swan", "swim", "table", "tall", "tank"),
    *("tape", "taxi", "teeth", "ten", "tent", "thumb", "tiger", "toad", "toast", "tomato", "top", "towel"),
    *("town", "toy", "track", "train", "tray", "tree", "trip", "truck", "tub", "turtle", "uncle", "van"),
    *("vase", "vest", "violin", "visit", "voice", "wagon", "wall", "warm", "wash", "watch", "water"),
    *("wave", "web", "west", "wet", "white", "wind", "window", "wing", "winter", "wolf", "wool", "word"),
    *("work", "worm", "yard", "year", "yellow", "yes", "zebra", "zero", "zoo"),
)
"""Words to spell; no two of them sound alike, and no other word that is as common sounds like one."""

NAMES = (
    *("Anna", "Ben", "Tom", "Lucy", "Max", "Emma", "Jack", "Peter", "Mary", "David", "Kate", "Paul"),
    *("Alice", "Daniel", "Laura", "Sam", "Julia", "Henry", "Nina", "Oscar"),
)
COLORS = ("green", "red", "blue", "yellow", "white", "black", "orange", "pink", "purple", "brown", "gray")
ANIMALS = (
    *("dog", "cat", "horse", "rabbit", "bird", "mouse", "lion", "tiger", "bear", "frog", "fox", "wolf"),
    *("duck", "sheep", "goat", "monkey", "turtle", "spider", "snake", "elephant"),
)
FOODS = (
    *("bread", "rice", "pizza", "soup", "cheese", "chocolate", "apples", "bananas", "pasta", "cake"),
    *("honey", "salad", "potatoes", "eggs", "grapes", "corn"),
)

TRAITS = (
    *("old", "young", "small", "big", "happy", "sad", "little", "brown", "white", "black", "tired", "hungry"),
    *("clever", "funny", "quiet", "lazy"),
)
PEOPLE = ("man", "woman", "boy", "girl", "teacher", "doctor", "farmer", "baker")
DEEDS = (
    *("slept", "waited", "played", "danced", "walked", "sat", "smiled", "jumped", "worked", "rested"),
    *("laughed", "stopped"),
)
PLACES = (
    *("in the garden", "in the kitchen", "at the window", "behind the house", "near the river"),
    *("under the tree", "on the roof", "at the station", "in the park", "by the door", "on the hill"),
    *("in the school", "at the market", "on the bridge", "in the forest", "at the beach"),
)
