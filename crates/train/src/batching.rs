//! Settings of batching: which examples a step holds, and how they are laid out.

use plw_batch::Layout;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How sequences are grouped into packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Each sequence by itself.
    #[default]
    None,
    /// Packs of up to `max_length` tokens: [`plw_batch::shortest_pack_first`].
    ShortestPackFirst,
}

/// What is moved as one piece when examples are shuffled and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShuffleUnit {
    /// A passage with its questions.
    #[default]
    #[serde(alias = "article")]
    Passage,
    /// Each question by itself.
    Question,
}

/// Which examples a step holds, and how they are laid out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchingArguments {
    /// Tokens of the longest sequence, and of a pack.
    pub max_length: usize,
    /// How sequences are grouped into packs.
    pub packing: Packing,
    /// Units packed at a time. None: all of an epoch, or 1000 with
    /// `cross_document_attention`, as in the reference implementation of Vaughn 2024.
    pub packing_window: Option<usize>,
    /// Whether packed documents attend to those before them, as in the reference implementation.
    pub cross_document_attention: bool,
    /// Whether each epoch takes the examples in a new order, drawn from the seed.
    pub shuffle: bool,
    /// What is moved as one piece.
    pub shuffle_unit: ShuffleUnit,
    /// Whether the prefixes that sequences of a micro-batch have in common are computed once, which
    /// changes the cost and no result. None: yes, except with `cross_document_attention`, where no
    /// two documents begin alike.
    pub share_prefixes: Option<bool>,
}

impl Default for BatchingArguments {
    fn default() -> Self {
        Self {
            max_length: 2048,
            packing: Packing::None,
            packing_window: None,
            cross_document_attention: false,
            shuffle: true,
            shuffle_unit: ShuffleUnit::Passage,
            share_prefixes: None,
        }
    }
}

impl BatchingArguments {
    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.packing_window == Some(0) {
            return Err(TrainError::setting("packing_window", 0, "at least 1"));
        }
        if self.cross_document_attention && self.packing == Packing::None {
            return Err(TrainError::setting(
                "cross_document_attention",
                true,
                "false where nothing is packed (packing = \"none\")",
            ));
        }
        if self.cross_document_attention && self.share_prefixes == Some(true) {
            return Err(TrainError::setting(
                "share_prefixes",
                true,
                "false with cross_document_attention: there each document follows others, \
                 so no two begin alike",
            ));
        }
        Ok(())
    }

    /// The layout of training's micro-batches.
    pub fn layout(&self) -> Layout {
        match self.cross_document_attention {
            true => Layout::CrossDocument,
            false => self.evaluation_layout(),
        }
    }

    /// The layout of evaluation's batches, which are never packed: no document precedes another.
    pub fn evaluation_layout(&self) -> Layout {
        match self.share_prefixes {
            Some(false) => Layout::Concatenated,
            Some(true) | None => Layout::SharedPrefixes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_follows_from_the_settings() {
        use Layout::{Concatenated, CrossDocument, SharedPrefixes};
        for (cross_document_attention, share_prefixes, training, evaluation) in [
            (false, None, SharedPrefixes, SharedPrefixes),
            (false, Some(true), SharedPrefixes, SharedPrefixes),
            (false, Some(false), Concatenated, Concatenated),
            (true, None, CrossDocument, SharedPrefixes),
            (true, Some(false), CrossDocument, Concatenated),
        ] {
            let batching = BatchingArguments {
                cross_document_attention,
                share_prefixes,
                ..BatchingArguments::default()
            };
            let layouts = (batching.layout(), batching.evaluation_layout());
            assert_eq!(layouts, (training, evaluation), "{batching:?}");
        }
    }
}
