//! Multiple-choice scoring of a causal language model.
