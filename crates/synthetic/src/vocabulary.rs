//! The words of synthetic passages. Each is one word, so that most options are one token.

/// Names of women.
pub(crate) const WOMEN: &[&str] = &[
    "Anna", "Clara", "Diana", "Ella", "Emma", "Fiona", "Grace", "Helen", "Irene", "Julia", "Karen",
    "Laura", "Maria", "Nora", "Olga", "Paula", "Rosa", "Sara", "Tina", "Vera",
];

/// Names of men.
pub(crate) const MEN: &[&str] = &[
    "Adam", "Brian", "Carl", "David", "Erik", "Frank", "George", "Henry", "Ivan", "Jack", "Kevin",
    "Lucas", "Martin", "Nathan", "Oscar", "Peter", "Robert", "Simon", "Thomas", "Victor",
];

/// Places.
pub(crate) const TOWNS: &[&str] = &[
    "Athens", "Berlin", "Boston", "Cairo", "Delhi", "Dublin", "Geneva", "Hanoi", "Havana",
    "Jakarta", "Lagos", "Lima", "Lisbon", "London", "Madrid", "Milan", "Moscow", "Munich",
    "Nairobi", "Naples", "Oslo", "Ottawa", "Paris", "Porto", "Prague", "Quito", "Riga", "Rome",
    "Seoul", "Sofia", "Tokyo", "Tunis", "Turin", "Venice", "Vienna", "Vilnius", "Warsaw", "York",
    "Zagreb", "Zurich",
];

/// Things that are bought, sold, found and so on.
pub(crate) const OBJECTS: &[&str] = &[
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

/// Causes.
pub(crate) const CAUSES: &[&str] = &[
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

/// Amounts.
pub(crate) const AMOUNTS: &[&str] = &[
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

/// Days, in order. All times of a passage are days, or months, or years.
pub(crate) const DAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Months, in order.
pub(crate) const MONTHS: &[&str] = &[
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

/// Years, in order.
pub(crate) const YEARS: &[&str] = &[
    "1900", "1901", "1902", "1903", "1904", "1905", "1906", "1907", "1908", "1909", "1910", "1911",
    "1912", "1913", "1914", "1915", "1916", "1917", "1918", "1919", "1920", "1921", "1922", "1923",
    "1924", "1925", "1926", "1927", "1928", "1929", "1930", "1931", "1932", "1933", "1934", "1935",
    "1936", "1937", "1938", "1939",
];

/// Sentences that tell no fact.
pub(crate) const REMARKS: &[&str] = &[
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
pub(crate) struct Verb {
    /// The past form, which passages use.
    pub(crate) past: &'static str,
    /// The base form, which questions with `did` use.
    pub(crate) base: &'static str,
}

/// What people do.
pub(crate) const VERBS: &[Verb] = &[
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
