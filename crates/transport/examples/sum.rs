//! Adds the numbers of several processes: with the feature `mpi` and under `mpirun` those of its
//! processes, else those of three threads.

use std::error::Error;
use std::thread;

use plw_transport::{Launch, Threads, Transport, TransportError};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(launch) = Launch::of_this_process()? {
        return launched(&launch);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = Threads::new(3)
            .into_iter()
            .map(|transport| scope.spawn(move || add(&transport)))
            .collect();
        for thread in threads {
            thread.join().expect("adding does not panic")?;
        }
        Ok(())
    })
}

#[cfg(feature = "mpi")]
fn launched(_launch: &Launch) -> Result<(), Box<dyn Error>> {
    Ok(add(&plw_transport::Mpi::open()?)?)
}

#[cfg(not(feature = "mpi"))]
fn launched(launch: &Launch) -> Result<(), Box<dyn Error>> {
    Err(format!("process {} was built without the feature mpi", launch.rank).into())
}

fn add(transport: &dyn Transport) -> Result<(), TransportError> {
    let mut values = vec![transport.rank() as f32; 1 << 20];
    transport.sum(&mut values)?;
    let traffic = transport.counters().traffic();
    println!(
        "process {} of {}: the sum of ranks is {}; {} bytes sent",
        transport.rank(),
        transport.world_size(),
        values[0],
        traffic.bytes
    );
    Ok(())
}
