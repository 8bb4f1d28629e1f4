//! The words that synthetic passages are made of. Each is one word, so that an option of most kinds is one token.

/// Names of people who are called she.
pub(super) const WOMEN: &[&str] = &[
    "Anna", "Clara", "Diana", "Ella", "Emma", "Fiona", "Grace", "Helen", "Irene", "Julia", "Karen",
    "Laura", "Maria", "Nora", "Olga", "Paula", "Rosa", "Sara", "Tina", "Vera",
];

/// Names of people who are called he.
pub(super) const MEN: &[&str] = &[
    "Adam", "Brian", "Carl", "David", "Erik", "Frank", "George", "Henry", "Ivan", "Jack", "Kevin",
    "Lucas", "Martin", "Nathan", "Oscar", "Peter", "Robert", "Simon", "Thomas", "Victor",
];

/// Places.
pub(super) const TOWNS: &[&str] = &[
    "Athens", "Berlin", "Boston", "Cairo", "Delhi", "Dublin", "Geneva", "Hanoi", "Havana",
    "Jakarta", "Lagos", "Lima", "Lisbon", "London", "Madrid", "Milan", "Moscow", "Munich",
    "Nairobi", "Naples", "Oslo", "Ottawa", "Paris", "Porto", "Prague", "Quito", "Riga", "Rome",
    "Seoul", "Sofia", "Tokyo", "Tunis", "Turin", "Venice", "Vienna", "Vilnius", "Warsaw", "York",
    "Zagreb", "Zurich",
];

/// Things that are bought, sold, found and so on.
pub(super) const OBJECTS: &[&str] = &[
    "apples",
    "baskets",
    "bells",
    "blankets",
    "boats",
    "books",
    "bottles",
    "boxes",
    "bricks",
    "candles",
    "caps",
    "carpets",
    "chairs",
    "clocks",
    "coats",
    "cups",
    "dolls",
    "drums",
    "eggs",
    "flags",
    "flutes",
    "gloves",
    "hats",
    "kites",
    "knives",
    "lamps",
    "letters",
    "maps",
    "mirrors",
    "paintings",
    "pens",
    "plates",
    "pots",
    "rings",
    "ropes",
    "shoes",
    "spoons",
    "stamps",
    "tables",
    "tents",
    "toys",
    "vases",
];

/// What something is done because of.
pub(super) const CAUSES: &[&str] = &[
    "anger",
    "boredom",
    "cold",
    "curiosity",
    "debt",
    "duty",
    "envy",
    "fear",
    "fog",
    "friendship",
    "greed",
    "grief",
    "habit",
    "heat",
    "hunger",
    "illness",
    "joy",
    "kindness",
    "love",
    "luck",
    "noise",
    "pity",
    "poverty",
    "pride",
    "rain",
    "shame",
    "snow",
    "storms",
    "thirst",
    "wind",
];

/// How many.
pub(super) const AMOUNTS: &[&str] = &[
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
];

/// Times, in their order: an article has only one kind.
pub(super) const DAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Times, in their order.
pub(super) const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Times, in their order.
pub(super) const YEARS: &[&str] = &[
    "1900", "1901", "1902", "1903", "1904", "1905", "1906", "1907", "1908", "1909", "1910", "1911",
    "1912", "1913", "1914", "1915", "1916", "1917", "1918", "1919", "1920", "1921", "1922", "1923",
    "1924", "1925", "1926", "1927", "1928", "1929", "1930", "1931", "1932", "1933", "1934", "1935",
    "1936", "1937", "1938", "1939",
];

/// Sentences that tell no fact.
pub(super) const REMARKS: &[&str] = &[
    "The streets were quiet.",
    "Nobody else knew about it.",
    "It is a short story.",
    "Many people talked about it later.",
    "The newspapers wrote nothing about it.",
    "Everyone was tired in the end.",
    "It was a long way home.",
    "Some of it is still a secret.",
];

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verb {
    /// As a passage tells it.
    pub(super) past: &'static str,
    /// As a question with `did` asks for it.
    pub(super) base: &'static str,
}

/// What people do.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        past: "bought",
        base: "buy",
    },
    Verb {
        past: "sold",
        base: "sell",
    },
    Verb {
        past: "found",
        base: "find",
    },
    Verb {
        past: "lost",
        base: "lose",
    },
    Verb {
        past: "painted",
        base: "paint",
    },
    Verb {
        past: "carried",
        base: "carry",
    },
    Verb {
        past: "repaired",
        base: "repair",
    },
    Verb {
        past: "counted",
        base: "count",
    },
    Verb {
        past: "washed",
        base: "wash",
    },
    Verb {
        past: "borrowed",
        base: "borrow",
    },
    Verb {
        past: "hid",
        base: "hide",
    },
    Verb {
        past: "packed",
        base: "pack",
    },
    Verb {
        past: "drew",
        base: "draw",
    },
    Verb {
        past: "broke",
        base: "break",
    },
];
