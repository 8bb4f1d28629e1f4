//! How long a text may become.

use crate::rows::LONGEST_ROW;

/// Bytes of the longest prompt or conversation: twice the text of the longest row. A template may
/// print a field more than once.
pub(crate) const LONGEST_TEXT: usize = 2 * LONGEST_ROW;
