//! Changes of JSON documents. Most leave JSON, so that the checks behind the parser are reached.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A change: where (as shares of the ways at each level), and what.
#[derive(Debug, Clone)]
pub struct Mutation {
    path: Vec<u16>,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Rename(String),
    Nest(u16),
}

/// One to three changes of a document.
pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let change = prop_oneof![
        6 => value().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        1 => text().prop_map(Change::Rename),
        1 => (1u16..200).prop_map(Change::Nest),
    ];
    let mutation = (prop::collection::vec(any::<u16>(), 1..5), change)
        .prop_map(|(path, change)| Mutation { path, change });
    prop::collection::vec(mutation, 1..4)
}

/// Values that are easily misread: of another type, at the ends of a type, beyond a size.
fn value() -> impl Strategy<Value = Value> {
    let integers = [
        0,
        1,
        -1,
        2,
        7,
        32,
        65_535,
        1 << 20,
        1 << 31,
        1 << 32,
        1 << 42,
        i64::MAX,
        i64::MIN,
    ];
    prop_oneof![
        prop::sample::select(integers.to_vec()).prop_map(Value::from),
        Just(json!(u64::MAX)),
        prop::sample::select(vec![0.0, -0.5, 1e-46, 1e-300, 1e38, 1e308, f64::MIN])
            .prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([0, u64::MAX])),
        text().prop_map(Value::from),
    ]
}

/// Texts that are easily misread: paths that lead elsewhere, numbers, nothing, much.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/../../b",
        "x",
        "1",
        "NaN",
        "none",
        "\0",
        "F32",
        "F64",
        "I4",
        "llama",
        "LORA",
        "all-linear",
        "r",
        "__metadata__",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        ".{0,9}",
        Just("x".repeat(10_000)),
    ]
}

/// The document with the changes made.
pub fn mutated(document: &Value, mutations: &[Mutation]) -> Value {
    let mut document = document.clone();
    for Mutation { path, change } in mutations {
        apply(&mut document, path, change);
    }
    document
}

fn apply(value: &mut Value, path: &[u16], change: &Change) {
    let Some((&way, rest)) = path.split_first() else {
        return replace(value, change);
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(usize::from(way) % map.len()).cloned();
            let key = key.expect("there are so many");
            if rest.is_empty() || !map[&key].is_object() && !map[&key].is_array() {
                change_entry(map, &key, change);
            } else {
                apply(&mut map[&key], rest, change);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = usize::from(way) % items.len();
            match change {
                Change::Remove => drop(items.remove(index)),
                _ => apply(&mut items[index], rest, change),
            }
        }
        other => replace(other, change),
    }
}

fn change_entry(map: &mut Map<String, Value>, key: &str, change: &Change) {
    match change {
        Change::Remove => drop(map.remove(key)),
        Change::Rename(name) => {
            if let Some(value) = map.remove(key) {
                map.insert(name.clone(), value);
            }
        }
        _ => replace(&mut map[key], change),
    }
}

fn replace(value: &mut Value, change: &Change) {
    match change {
        Change::Replace(other) => *value = other.clone(),
        Change::Remove => *value = Value::Null,
        Change::Rename(name) => *value = Value::from(name.as_str()),
        Change::Nest(depth) => {
            for _ in 0..*depth {
                *value = json!([value.take()]);
            }
        }
    }
}

/// A JSON object as TOML, whose values are much the same; `null` becomes `nan`, which JSON lacks.
/// Integers beyond 64 bits with a sign stay, though TOML has none.
pub fn toml_of(document: &Value) -> String {
    let Some(keys) = document.as_object() else {
        return document.to_string();
    };
    let lines = keys.iter().map(|(key, value)| {
        let key = Value::from(key.as_str());
        format!("{key} = {}\n", inline_toml(value))
    });
    lines.collect()
}

fn inline_toml(value: &Value) -> String {
    match value {
        Value::Object(keys) => {
            let key = |key: &String| Value::from(key.as_str());
            let pairs = keys.iter();
            let pairs =
                pairs.map(|(name, value)| format!("{} = {}", key(name), inline_toml(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline_toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Null => "nan".to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_toml() {
        let document = json!({"a b": [1, 2.5, true], "c": {"d": "e\n\"f\"", "g": null}});
        let expected =
            "\"a b\" = [1, 2.5, true]\n\"c\" = {\"d\" = \"e\\n\\\"f\\\"\", \"g\" = nan}\n";
        assert_eq!(toml_of(&document), expected);
    }
}
