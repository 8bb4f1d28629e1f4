//! The plw binary.
fn main() {}
