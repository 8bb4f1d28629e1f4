//! Workers at random moments, some of which fall silent, come back, or stop.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use plw_record::RunDirectory;
use plw_sweep::{EventKind, Lease, Taken, read_events, take};

use crate::trained::{LEASE, finish, made_by, on, save, silence};

/// Numbers that look random, from a seed (splitmix64).
fn random(seed: u64, counter: &mut u64) -> u64 {
    *counter += 1;
    let mut value = seed.wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[test]
fn whatever_workers_do_each_run_is_completed_once() -> Result<(), Box<dyn Error>> {
    for seed in 0..30 {
        let folder = tempfile::tempdir()?;
        let run = RunDirectory::new(folder.path().join("seed-1"));
        let mut counter = 0;
        // Stale ones among them: they go on without knowing it.
        let mut working: Vec<(Lease, String)> = Vec::new();
        let mut published = Vec::new();
        for turn in 0..60 {
            let choice = random(seed, &mut counter) % 6;
            let any = random(seed, &mut counter) as usize % working.len().max(1);
            match choice {
                0 | 1 => {
                    let host = format!("{turn}");
                    if let Taken::Lease(lease) = take(&run, &on(&host), LEASE)? {
                        working.push((lease, host));
                    }
                }
                _ if working.is_empty() => {}
                // A stale one's folder is gone.
                2 => drop(silence(&working[any].0)),
                3 if !run.is_complete() => {
                    let (lease, host) = &working[any];
                    save(&lease.directory(), turn / 7, host)?;
                }
                4 => {
                    let (lease, _) = working.swap_remove(any);
                    lease.release().stopped("SIGTERM")?;
                }
                5 if !run.is_complete() => {
                    let (lease, host) = working.swap_remove(any);
                    finish(&lease.directory(), &host)?;
                    if lease.complete()? {
                        published.push(host);
                    }
                }
                _ => {}
            }
        }
        let events = read_events(&run.path)?;
        let complete = events
            .iter()
            .filter(|e| matches!(e.kind, EventKind::Complete { .. }));
        assert_eq!(complete.count(), published.len(), "seed {seed}");
        assert!(published.len() <= 1, "seed {seed}: {published:?}");
        assert_eq!(run.is_complete(), !published.is_empty());
        if let Some(host) = published.first() {
            assert_eq!(&made_by(&run)?, host, "seed {seed}");
        }
    }
    Ok(())
}

#[test]
fn of_workers_that_come_at_once_one_has_the_run() -> Result<(), Box<dyn Error>> {
    for _ in 0..20 {
        let folder = tempfile::tempdir()?;
        let run = RunDirectory::new(folder.path().join("seed-1"));
        let published = AtomicU64::new(0);
        let failures: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let (run, published) = (&run, &published);
                    scope.spawn(move || -> Result<(), String> {
                        let host = format!("host {worker}");
                        let taken = take(run, &on(&host), LEASE).map_err(|e| e.to_string())?;
                        if let Taken::Lease(lease) = taken {
                            finish(&lease.directory(), &host).map_err(|e| e.to_string())?;
                            let ours = lease.complete().map_err(|e| e.to_string())?;
                            published.fetch_add(ours.into(), Ordering::SeqCst);
                        }
                        Ok(())
                    })
                })
                .collect();
            let ended = workers.into_iter().map(|worker| worker.join());
            ended
                .filter_map(|worker| worker.expect("no panic").err())
                .collect()
        });
        assert_eq!(failures, Vec::<String>::new());
        assert_eq!(published.into_inner(), 1);
        assert!(run.is_complete() && !made_by(&run)?.is_empty());
    }
    Ok(())
}
