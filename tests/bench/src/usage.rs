//! What this process has used so far, and another one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// One moment of the process.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: Instant,
    /// User and system time of all threads.
    pub cpu: Duration,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { at: Instant::now(), cpu: cpu() }
    }
}

/// User and system time of all threads of the process since its start.
pub fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure and nothing else; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// User and system time of another process since its start, in the kernel's ticks.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    // SAFETY: a call without memory.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let file = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    // The name, the second field, is in brackets and may hold anything. The 14th and 15th are the times.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).context(file)?;
    let ticks: f64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks / ticks_per_s.max(1) as f64))
}

/// A field of `/proc/self/status` in MiB: `VmHWM` is the peak of the resident memory, `RssAnon` what of it no file
/// backs.
pub fn memory_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    rounded(kib / 1024.0, 1)
}

/// For numbers that people read.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// How many a second, without a fraction.
pub fn rate(count: u64, time: Duration) -> f64 {
    rounded(count as f64 / time.as_secs_f64().max(1e-9), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_a_process_what_it_tells_of_itself() -> Result<()> {
        let begun = cpu();
        while cpu() - begun < Duration::from_millis(200) {}
        let (told, own) = (cpu_of(std::process::id())?, cpu());
        assert!(told <= own + Duration::from_millis(50) && told + Duration::from_millis(50) >= own, "{told:?} {own:?}");
        Ok(())
    }
}
