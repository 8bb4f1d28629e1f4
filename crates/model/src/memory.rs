//! Whether the machine gives the memory that weights need, asked before any of it is used.

/// Asks for so many bytes and gives them back untouched. A program that runs out of memory later is
/// ended without a message.
pub(crate) fn is_available(bytes: u64) -> bool {
    let mut asked: Vec<u8> = Vec::new();
    let given = usize::try_from(bytes).is_ok_and(|bytes| asked.try_reserve_exact(bytes).is_ok());
    // The compiler may leave out an allocation that nobody sees.
    std::hint::black_box(&asked);
    given
}
