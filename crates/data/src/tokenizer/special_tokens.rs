//! The special tokens of a model directory, by role.

use std::collections::BTreeMap;
use std::path::Path;

use super::json_files::{ModelFileError, read_optional_json};

/// Special tokens by role: `bos_token`, `eos_token` and so on. Chat templates use these names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens(BTreeMap<String, String>);

impl SpecialTokens {
    /// Reads `special_tokens_map.json` and `tokenizer_config.json`, which wins; either may be
    /// missing. A token is a string, or an object whose `content` is its text.
    ///
    /// # Errors
    /// A file cannot be read or is not JSON.
    pub fn from_directory(directory: &Path) -> Result<Self, ModelFileError> {
        let mut tokens = BTreeMap::new();
        for file in ["special_tokens_map.json", "tokenizer_config.json"] {
            let json = read_optional_json(&directory.join(file))?;
            for (role, token) in json.as_object().into_iter().flatten() {
                let content = token.as_str().or_else(|| token.get("content")?.as_str());
                if let (true, Some(content)) = (role.ends_with("_token"), content) {
                    tokens.insert(role.clone(), content.to_owned());
                }
            }
        }
        Ok(Self(tokens))
    }

    /// The token of a role such as `eos_token`.
    pub fn get(&self, role: &str) -> Option<&str> {
        self.0.get(role).map(String::as_str)
    }

    /// All roles and tokens.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(role, token)| (role.as_str(), token.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for SpecialTokens {
    fn from(tokens: [(&str, &str); N]) -> Self {
        Self(
            tokens
                .map(|(role, token)| (role.to_owned(), token.to_owned()))
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_strings_or_objects_and_the_configuration_wins() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect(name);
        assert_eq!(
            SpecialTokens::from_directory(directory.path()).expect("no file"),
            SpecialTokens::default()
        );
        write(
            "special_tokens_map.json",
            r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "<old>"}"#,
        );
        write(
            "tokenizer_config.json",
            r#"{"eos_token": "</s>", "add_bos_token": true, "pad_token": null}"#,
        );
        let tokens = SpecialTokens::from_directory(directory.path()).expect("both files");
        assert_eq!(
            tokens,
            SpecialTokens::from([("bos_token", "<s>"), ("eos_token", "</s>")])
        );
        write("tokenizer_config.json", "{");
        let error = SpecialTokens::from_directory(directory.path()).expect_err("no JSON");
        assert!(
            error
                .to_string()
                .contains("tokenizer_config.json is not valid JSON"),
            "{error}"
        );
    }
}
