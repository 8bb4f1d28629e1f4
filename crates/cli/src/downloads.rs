//! The files of data, and what the terminal shows while they are downloaded from the hub.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use miette::{IntoDiagnostic, Result};
use plw_data::{DataFile, Source, Split};
use plw_hub::{Hub, Progress, ProgressFunction};

use crate::progress::bar;

/// Without a terminal a line is logged for each tenth of a file, but not for less than this.
const BYTES_PER_LINE: u64 = 32 << 20;

/// The files of a source's split; shows how far a download is.
pub(crate) fn files(source: &Source, split: Split) -> Result<Vec<DataFile>> {
    let hub = || {
        Hub::from_env().map(|hub| Hub {
            progress: Some(shown()),
            ..hub
        })
    };
    source.files(split, hub).into_diagnostic()
}

/// The file that is downloaded now.
struct Download {
    file: String,
    bar: ProgressBar,
    lines: u64,
}

impl Download {
    fn new(file: &str, total: u64) -> Self {
        let template = "{prefix} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
        Self {
            file: file.to_owned(),
            bar: bar(total, template).with_prefix(file.to_owned()),
            lines: 0,
        }
    }

    fn show(&mut self, bytes: u64, total: u64) {
        self.bar.set_position(bytes);
        let lines = bytes / (total / 10).max(BYTES_PER_LINE);
        if bytes == total {
            self.bar.finish_and_clear();
            tracing::info!("{}: downloaded {bytes} bytes", self.file);
        } else if self.bar.is_hidden() && lines > self.lines {
            tracing::info!("{}: downloaded {bytes} of {total} bytes", self.file);
        }
        self.lines = lines;
    }
}

/// Shows downloads one after the other.
fn shown() -> ProgressFunction {
    let current: Mutex<Option<Download>> = Mutex::new(None);
    Arc::new(move |progress: Progress<'_>| match progress {
        Progress::Waiting { file } => {
            tracing::info!("{file}: waiting for another process that downloads it");
        }
        Progress::Downloaded { file, bytes, total } => {
            let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
            if current
                .as_ref()
                .is_none_or(|download| download.file != file)
            {
                *current = Some(Download::new(file, total));
            }
            if let Some(download) = current.as_mut() {
                download.show(bytes, total);
            }
        }
    })
}
