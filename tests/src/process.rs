//! What the system says about a process.

use std::time::Duration;

/// User and system time so far.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let (_, behind_the_name) = stat.rsplit_once(')').expect("a name stands in parentheses");
    let fields: Vec<&str> = behind_the_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    // Linux tells them in hundredths of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Memory of its own that it has in use, in bytes: without the files it has mapped.
pub fn anonymous_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the system says");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}
