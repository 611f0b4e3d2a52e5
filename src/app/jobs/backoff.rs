//! Exponential backoff between attempts.

use std::time::Duration;

/// `base` × 2^(n−1), at most `cap`, plus a random jitter of up to a fifth, so that jobs that failed together are not retried
/// together.
pub(super) fn backoff(base: Duration, n: u32, cap: Duration) -> Duration {
    let delay = base.saturating_mul(1 << n.clamp(1, 20).saturating_sub(1)).min(cap);
    let random = crate::platform::crypto::random::<1>().map_or(0, |[byte]| byte);
    delay + delay / 5 * u32::from(random) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let second = Duration::from_secs(1);
        for (n, from, to) in
            [(0, 1000, 1200), (1, 1000, 1200), (2, 2000, 2400), (4, 8000, 9600), (7, 60_000, 72_000), (4000, 60_000, 72_000)]
        {
            let delay = backoff(second, n, Duration::from_secs(60)).as_millis();
            assert!((from..=to).contains(&delay), "{n}: {delay} ms");
        }
    }
}
