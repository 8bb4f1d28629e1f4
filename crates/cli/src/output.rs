//! Standard output. Text from data is made safe to print here, and a reader that has gone, as in
//! `plw plan | head -1`, ends a command quietly.

use std::io::{self, Write};

use miette::{IntoDiagnostic, Result, WrapErr};
use plw_report::printable;

/// Whether somebody still reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Present,
    Gone,
}

/// Prints text, whatever it holds.
pub(crate) fn print(text: &str) -> Result<Reader> {
    print_styled(&printable(text))
}

/// Prints text whose control characters are styles of ours: the data in it is [`printable`].
pub(crate) fn print_styled(text: &str) -> Result<Reader> {
    let mut out = io::stdout().lock();
    reader_after(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn reader_after(written: io::Result<()>) -> Result<Reader> {
    match written {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error)
            .into_diagnostic()
            .wrap_err("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_no_error() {
        let after = |kind: io::ErrorKind| reader_after(Err(kind.into())).ok();
        assert_eq!(reader_after(Ok(())).ok(), Some(Reader::Present));
        assert_eq!(after(io::ErrorKind::BrokenPipe), Some(Reader::Gone));
        assert_eq!(after(io::ErrorKind::StorageFull), None);
    }
}
