//! A repository of the hub at a revision: its names in URLs, in the cache and in errors. Knows
//! names; downloads nothing.

use std::fmt;

use crate::error::HubError;
use crate::names::is_name;
use crate::repository_kind::RepositoryKind;

/// A repository at a revision, written `hub:owner/name[@revision]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    kind: RepositoryKind,
    name: String,
    revision: Option<String>,
}

impl Repository {
    /// The repository `owner/name` (old ones have no owner) at a branch, tag, `refs/pr/N` or
    /// commit; at `main` if no revision is given.
    ///
    /// # Errors
    /// [`HubError::Name`]: the parts become URLs and paths, so that a few characters are allowed.
    pub fn new(kind: RepositoryKind, name: &str, revision: Option<&str>) -> Result<Self, HubError> {
        let owner_and_name = name.split('/').count() <= 2;
        let mut parts = name
            .split('/')
            .chain(revision.into_iter().flat_map(|r| r.split('/')));
        let repository = Self {
            kind,
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
        };
        if owner_and_name && parts.all(is_name) {
            Ok(repository)
        } else {
            Err(HubError::Name(repository.to_string()))
        }
    }

    /// What it holds.
    pub fn kind(&self) -> RepositoryKind {
        self.kind
    }

    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision, `main` by default.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// What a file or folder of it is called in errors and on the command line:
    /// `hub:owner/name/path@revision`.
    pub fn name_of(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        let revision = self.revision.iter().map(|revision| format!("@{revision}"));
        let revision: String = revision.collect();
        format!("hub:{}{slash}{path}{revision}", self.name)
    }

    /// Its folder in the cache: `datasets--owner--name`.
    pub(crate) fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.name.replace('/', "--"))
    }

    /// The path of its listing below the hub's address.
    pub(crate) fn listing_path(&self) -> String {
        let revision = percent_encoded(self.revision(), "");
        format!(
            "api/{}/{}/revision/{revision}",
            self.kind.plural(),
            self.name
        )
    }

    /// The path of a file at a commit below the hub's address.
    pub(crate) fn file_path(&self, commit: &str, file: &str) -> String {
        let kind = match self.kind {
            RepositoryKind::Dataset => "datasets/",
            RepositoryKind::Model => "",
        };
        format!(
            "{kind}{}/resolve/{commit}/{}",
            self.name,
            percent_encoded(file, "/")
        )
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name_of(""))
    }
}

/// The text with `%XX` for every byte but unreserved ones (RFC 3986) and those in `kept`.
fn percent_encoded(text: &str, kept: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| match byte {
        byte if is_kept(byte) || kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_urls_and_folders_as_in_huggingface_hub() {
        let race = Repository::new(RepositoryKind::Dataset, "ehovy/race", Some("refs/pr/1"));
        let race = race.expect("a repository");
        assert_eq!(race.to_string(), "hub:ehovy/race@refs/pr/1");
        assert_eq!(
            race.name_of("all/a.txt"),
            "hub:ehovy/race/all/a.txt@refs/pr/1"
        );
        assert_eq!(race.folder(), "datasets--ehovy--race");
        assert_eq!(
            race.listing_path(),
            "api/datasets/ehovy/race/revision/refs%2Fpr%2F1"
        );
        assert_eq!(
            race.file_path("1a", "a b/é"),
            "datasets/ehovy/race/resolve/1a/a%20b/%C3%A9"
        );

        let gpt2 = Repository::new(RepositoryKind::Model, "gpt2", None).expect("a repository");
        assert_eq!(gpt2.to_string(), "hub:gpt2");
        assert_eq!(gpt2.folder(), "models--gpt2");
        assert_eq!(gpt2.listing_path(), "api/models/gpt2/revision/main");
        assert_eq!(
            gpt2.file_path("1a", "config.json"),
            "gpt2/resolve/1a/config.json"
        );
    }

    #[test]
    fn names_that_would_leave_the_cache_or_the_url_are_refused() {
        for (name, revision) in [
            ("", None),
            ("/race", None),
            ("ehovy/..", None),
            ("../../race", None),
            ("a/b/c", None),
            ("a/b?c", None),
            ("a/b#c", None),
            ("a/b", Some("")),
            ("a/b", Some("../x")),
            ("a/b", Some("/x")),
        ] {
            let error = Repository::new(RepositoryKind::Model, name, revision).expect_err(name);
            assert!(error.to_string().contains("owner/name"), "{error}");
        }
    }
}
