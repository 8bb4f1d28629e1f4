//! The same work by plw and by a PyTorch program (`experiments/peer`), as `parity` and `bench` both
//! need it: what is asked of both, how each is run, and what each says it did. It compares nothing.

pub(crate) mod environment;
pub(crate) mod inputs;
pub(crate) mod outcome;
pub(crate) mod plw;
pub(crate) mod programs;
pub(crate) mod python;
pub(crate) mod pytorch;
pub(crate) mod scratch;
pub(crate) mod versions;
pub(crate) mod work;
