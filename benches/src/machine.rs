//! Where figures were taken; they mean nothing without it.

use std::{fs, thread};

use serde::Serialize;

/// The machine and the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) processor: String,
    /// Processors this process may use.
    pub(crate) processors: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// `release` or `debug`; figures of a debug build are no figures.
    pub(crate) build: &'static str,
}

impl Machine {
    /// This machine; what cannot be found out is `unknown`.
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: known(model_name(&cpuinfo).unwrap_or_default()),
            processors: thread::available_parallelism().map_or(1, usize::from),
            kernel: known(&kernel),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// For the head of a report.
    pub(crate) fn describe(&self) -> String {
        let Self { processor, processors, kernel, build } = self;
        format!("{processors} × {processor}, Linux {kernel}, {build} build")
    }

    /// What to say behind it if the figures mean nothing; else empty.
    pub(crate) fn warning(&self) -> &'static str {
        if self.build == "debug" {
            "This is a debug build: the figures mean nothing. Use --release.\n\n"
        } else {
            ""
        }
    }
}

fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1)
}

fn known(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_when_the_kernel_names_it() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Example 9000\n\nprocessor\t: 1\n";
        assert_eq!(model_name(cpuinfo).map(known), Some("Example 9000".to_owned()));
        assert_eq!(known("\n"), "unknown");
    }
}
