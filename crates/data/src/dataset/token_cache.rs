//! The tokens of data sets, kept on disk, so that the next program that reads the same data with
//! the same tokenizer and template need not make them again. What fails here is as if there were no
//! cache.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use plw_files::{digest, digest_file};
use tempfile::NamedTempFile;

use super::encoded_row::EncodedRow;
use super::reading::Reading;
use super::token_file::{TokenReader, TokenWriter};
use crate::encode::PromptEncoder;
use crate::files::DataFile;
use crate::rows::ReadOptions;
use crate::shapes::ColumnOptions;

/// The ending of a kept file.
const ENDING: &str = "tokens";

/// Fewer tokens than these are made in a moment, and are not kept.
const FEWEST_TOKENS: u64 = 1 << 20;

/// Bytes of all kept files together. Beyond them the files that were not used for the longest time
/// go.
const MOST_BYTES: u64 = 20 << 30;

/// A folder of kept tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCache {
    directory: PathBuf,
    fewest_tokens: u64,
    most_bytes: u64,
}

/// What decides the tokens of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheKey(String);

impl TokenCache {
    /// The environment variable that names the folder; `off` keeps nothing.
    pub const VARIABLE: &str = "PLW_TOKEN_CACHE";

    /// The folder that [`Self::VARIABLE`] names, else `plw/tokens` in the user's folder of caches.
    pub fn from_env() -> Option<Self> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match of(Self::VARIABLE) {
            Some(value) if value == "off" => None,
            Some(value) => Some(Self::new(Path::new(&value))),
            None => {
                let caches = of("XDG_CACHE_HOME").map(PathBuf::from);
                let caches = caches.or_else(|| Some(Path::new(&of("HOME")?).join(".cache")))?;
                Some(Self::new(&caches.join("plw/tokens")))
            }
        }
    }

    /// A folder, made when something is kept.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            fewest_tokens: FEWEST_TOKENS,
            most_bytes: MOST_BYTES,
        }
    }

    /// Keeps data of any size, and at most so many bytes together.
    pub fn with_limits(self, fewest_tokens: u64, most_bytes: u64) -> Self {
        Self {
            fewest_tokens,
            most_bytes,
            ..self
        }
    }

    /// Checks that something can be kept here.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn check(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        NamedTempFile::with_prefix_in(".unfinished-", &self.directory).map(drop)
    }

    /// Its folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The key of data; none if a file cannot be read, or the tokenizer is not from a file.
    pub(crate) fn key(
        &self,
        files: &[DataFile],
        columns: &ColumnOptions,
        options: &ReadOptions,
        encoder: &PromptEncoder,
    ) -> Option<CacheKey> {
        let files: Option<Vec<(&str, &str, String)>> = files
            .iter()
            .map(|file| Some((&*file.name, &*file.folder, digest_file(&file.path).ok()?)))
            .collect();
        let everything = serde_json::json!({
            "plw": env!("CARGO_PKG_VERSION"),
            "files": files?,
            "columns": columns,
            "on_bad_row": options.on_bad_row,
            "limit": options.limit,
            "tokenizer": encoder.tokenizer().digest()?,
            "eos": encoder.tokenizer().eos(),
            "prompt": encoder.settings(),
            "chat_template": encoder.chat_template().identity(),
        });
        Some(CacheKey(digest(everything.to_string())))
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.directory.join(format!("{}.{ENDING}", key.0))
    }

    /// The kept rows, if they are there and whole.
    pub(crate) fn open(&self, key: &CacheKey) -> Option<TokenReader> {
        let path = self.path(key);
        let file = File::options().read(true).open(&path).ok()?;
        let Ok(reader) = TokenReader::open(file) else {
            // It is damaged, and would be found so again.
            let _ = std::fs::remove_file(&path);
            return None;
        };
        // When it was last used.
        let used = File::options().write(true).open(&path);
        let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
        Some(reader)
    }

    /// Begins to keep rows.
    pub(crate) fn write(&self, key: &CacheKey, files: &[DataFile]) -> Option<Written> {
        std::fs::create_dir_all(&self.directory).ok()?;
        let file = NamedTempFile::with_prefix_in(".unfinished-", &self.directory).ok()?;
        let names = files.iter().map(|file| file.name.clone()).collect();
        Some(Written {
            writer: Some(TokenWriter::new(file, names).ok()?),
            path: self.path(key),
            cache: self.clone(),
        })
    }

    /// Removes what was not used for the longest time, until what is kept is small enough.
    fn remove_oldest(&self) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            let metadata = entry.metadata()?;
            let is_kept = path.extension().is_some_and(|ending| ending == ENDING);
            if metadata.is_file() && is_kept {
                kept.push((metadata.modified()?, metadata.len(), path));
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in kept {
            if bytes <= self.most_bytes {
                break;
            }
            std::fs::remove_file(path)?;
            bytes -= length;
        }
        Ok(())
    }
}

/// Rows that are being kept. What cannot be written is not kept.
pub(crate) struct Written {
    writer: Option<TokenWriter<NamedTempFile>>,
    path: PathBuf,
    cache: TokenCache,
}

impl Written {
    pub(crate) fn add(&mut self, row: &EncodedRow) {
        if let Some(writer) = &mut self.writer
            && writer.add(row).is_err()
        {
            self.writer = None;
        }
    }

    /// Ends the file and gives it its name.
    pub(crate) fn finish(self, reading: &Reading) {
        let Some(writer) = self
            .writer
            .filter(|w| w.tokens() >= self.cache.fewest_tokens)
        else {
            return;
        };
        let kept = writer.finish(reading).and_then(|file| {
            file.persist(&self.path)?;
            self.cache.remove_oldest()
        });
        // Another program may have removed a file in the meantime.
        drop(kept);
    }
}
