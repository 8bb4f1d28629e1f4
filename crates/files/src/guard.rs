//! Panics of libraries that read files become errors: the parquet and tokenizers libraries panic on
//! some damaged input.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread becomes an error, so that nothing is printed.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or the message of its panic, which is not printed. What `work` changed must
/// not be used again after a panic.
///
/// # Errors
///
/// The message of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                print(panic);
            }
        }));
    });
    let outer = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(outer);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panics".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_their_message() {
        assert_eq!(guarded(|| 1), Ok(1));
        assert_eq!(
            guarded(|| panic!("damaged")),
            Err::<(), _>("damaged".into())
        );
        let number = 7;
        assert_eq!(
            guarded(|| panic!("damaged {number}")),
            Err::<(), _>("damaged 7".into())
        );
        assert_eq!(
            guarded(|| guarded(|| panic!("inner"))),
            Ok(Err::<(), _>("inner".into()))
        );
        assert!(!IS_GUARDED.get());
    }
}
