//! Token weights, normalisation and weighted cross-entropy for Burn.
