//! `model.safetensors.index.json`: which file of a model's directory holds which tensor.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::{Component, Path};

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Why an index of shards cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not JSON, lacks `weight_map`, or names a tensor twice.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    /// It names no tensor.
    #[error("`weight_map` is empty")]
    Empty,
    /// A shard is not a file of the model's directory.
    #[error("the shard of tensor `{tensor}` is {shard:?}, which is outside the model's directory")]
    Outside {
        /// The tensor.
        tensor: String,
        /// The name of its shard.
        shard: String,
    },
}

/// The shard of each tensor. No shard is outside the model's directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ShardIndex {
    /// The shard's name, by the tensor's.
    #[serde(deserialize_with = "each_once")]
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Parses and checks the text of a `model.safetensors.index.json`.
    ///
    /// # Errors
    ///
    /// If it is malformed, names no tensor or names one twice, or a shard's name leads out of the
    /// directory.
    pub fn from_json(text: &str) -> Result<Self, IndexError> {
        let index: Self = serde_json::from_str(text)?;
        if index.weight_map.is_empty() {
            return Err(IndexError::Empty);
        }
        match index.weight_map.iter().find(|(_, shard)| !is_inside(shard)) {
            None => Ok(index),
            Some((tensor, shard)) => Err(IndexError::Outside {
                tensor: tensor.clone(),
                shard: shard.clone(),
            }),
        }
    }

    /// The shard of a tensor, if the index names it.
    pub fn shard(&self, tensor: &str) -> Option<&str> {
        self.weight_map.get(tensor).map(String::as_str)
    }

    /// Each tensor and its shard.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.weight_map
            .iter()
            .map(|(tensor, shard)| (tensor.as_str(), shard.as_str()))
    }
}

/// Whether a name leads to a place below the directory that it is joined to.
fn is_inside(name: &str) -> bool {
    let is_normal = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && Path::new(name).components().all(is_normal)
}

/// A map whose keys are unique: JSON leaves open which of equal keys counts.
fn each_once<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct EachOnce;

    impl<'de> Visitor<'de> for EachOnce {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("the name of a file for each tensor")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((tensor, shard)) = access.next_entry::<String, String>()? {
                match map.entry(tensor) {
                    Entry::Vacant(place) => place.insert(shard),
                    Entry::Occupied(place) => {
                        let tensor = place.key();
                        return Err(A::Error::custom(format!(
                            "tensor `{tensor}` is named twice"
                        )));
                    }
                };
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(EachOnce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_each_tensor_once_and_stays_in_the_directory() {
        let parse = |map: &str| ShardIndex::from_json(&format!(r#"{{"weight_map": {map}}}"#));
        let index = parse(r#"{"a": "1.safetensors", "b": "more/2.safetensors"}"#).expect("valid");
        assert_eq!(index.shard("b"), Some("more/2.safetensors"));
        for (map, says) in [
            (
                r#"{"a": "../1"}"#,
                "tensor `a` is \"../1\", which is outside",
            ),
            (r#"{"a": "/etc/passwd"}"#, "outside the model's directory"),
            (r#"{"a": "x/../../1"}"#, "outside the model's directory"),
            (r#"{"a": ""}"#, "outside the model's directory"),
            (r#"{"a": "."}"#, "outside the model's directory"),
            (r#"{"a": "1", "a": "2"}"#, "tensor `a` is named twice"),
            ("{}", "`weight_map` is empty"),
            (r#"["a"]"#, "the name of a file for each tensor"),
            (r#"{"a": 1}"#, "invalid type: integer"),
        ] {
            let error = parse(map).expect_err(map).to_string();
            assert!(error.contains(says), "{map}: {error}");
        }
    }
}
