//! Versions of the daemon, as far as behaviour differs by them.

/// The release of a daemon, from its version text such as `1.102.3-t0123456789`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(u32, u32, u32);

impl Release {
    /// Reads the numbers at the start; what is missing or no number counts as 0.
    pub(crate) fn of(version: &str) -> Self {
        let numbers = version.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = numbers.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }

    /// 1.102.0 and 1.102.1 refuse every Funnel connection although all looks well (issues 20739, 20746; fixed in 1.102.2).
    pub(crate) fn refuses_ingress(self) -> bool {
        self == Self(1, 102, 0) || self == Self(1, 102, 1)
    }

    /// The bus carries `SelfChange` since 1.98.
    pub(crate) fn sends_self_change(self) -> bool {
        self >= Self(1, 98, 0)
    }

    /// The bus carries the whole network map before 1.102.
    pub(crate) fn sends_network_map(self) -> bool {
        self < Self(1, 102, 0)
    }

    /// The number in the header `Tailscale-Cap`.
    pub(crate) fn capability(self) -> u32 {
        if self >= Self(1, 102, 0) { 145 } else { 133 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_suffix() {
        assert_eq!(Release::of("1.96.5-t0123456789"), Release(1, 96, 5));
        assert_eq!(Release::of("1.103.0-dev"), Release(1, 103, 0));
        assert_eq!(Release::of("new"), Release(0, 0, 0));
    }

    #[test]
    fn two_releases_refuse_ingress() {
        let refusing: Vec<&str> = ["1.100.0", "1.102.0", "1.102.1-t1", "1.102.2"]
            .into_iter()
            .filter(|version| Release::of(version).refuses_ingress())
            .collect();
        assert_eq!(refusing, ["1.102.0", "1.102.1-t1"]);
    }
}
