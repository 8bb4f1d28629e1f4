//! Many workers share the runs of a sweep: each run is done once, whatever becomes of a worker.

mod elsewhere;
mod jobs;
mod many_workers;
mod one_run;
mod status;
mod trained;
