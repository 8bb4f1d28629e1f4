//! The data sets of the article's table of generation ratios (Vaughn 2024, table 1): their names,
//! and where the hub has them.

use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_data::list_files;

/// Rows of a data set that enter the table.
pub(crate) const ROWS: usize = 100_000;

/// A data set of the table.
pub(crate) struct ArticleDataset {
    /// Its name, in the table and on disk.
    pub(crate) name: &'static str,
    /// Where the hub has it.
    pub(crate) hub: &'static str,
}

const fn dataset(name: &'static str, hub: &'static str) -> ArticleDataset {
    ArticleDataset { name, hub }
}

/// The data sets, in the order of the table.
pub(crate) const DATASETS: [ArticleDataset; 8] = [
    dataset("alpaca-cleaned", "hub:yahma/alpaca-cleaned"),
    dataset("openhermes", "hub:teknium/openhermes"),
    dataset(
        "python-18k",
        "hub:iamtarun/python_code_instructions_18k_alpaca",
    ),
    dataset("dolly-15k", "hub:databricks/databricks-dolly-15k"),
    dataset("openorca", "hub:Open-Orca/OpenOrca"),
    dataset("samsum", "hub:knkarthick/samsum"),
    dataset("xsum", "hub:EdinburghNLP/xsum"),
    dataset("race", "hub:ehovy/race"),
];

impl ArticleDataset {
    /// The data set in a folder: a folder or a file of its name. `None` if it is not there.
    pub(crate) fn in_folder(&self, folder: &Path) -> Result<Option<String>> {
        if !folder.is_dir() {
            return Err(miette!(
                help = "give the directory that holds the data sets",
                "{} is not a directory",
                folder.display()
            ));
        }
        let own = folder.join(self.name);
        if own.is_dir() {
            return Ok(Some(own.display().to_string()));
        }
        let files = list_files(folder).into_diagnostic()?;
        let is_own = |file: &&String| {
            file.strip_prefix(self.name)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let file = files.iter().find(is_own);
        Ok(file.map(|file| folder.join(file).display().to_string()))
    }
}
