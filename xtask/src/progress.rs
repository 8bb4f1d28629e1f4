//! Which task runs, of how many: a bar on a terminal, else a line a task.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The runs that a task goes through.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(tasks: usize) -> Self {
        let template = "[{elapsed_precise}] task {pos}/{len} {wide_bar} {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        let bar = ProgressBar::new(tasks as u64).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    /// The next task begins.
    pub(crate) fn task(&self, name: &str) {
        self.bar.inc(1);
        self.bar.set_message(name.to_string());
        if !std::io::stderr().is_terminal() {
            let (task, tasks) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("task {task}/{tasks}: {name}");
        }
    }

    /// Prints without disturbing the bar.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// All tasks are done.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
