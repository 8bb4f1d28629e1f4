//! Drives the plw binary.
fn main() {}
