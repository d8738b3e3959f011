//! Which addresses are on the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a Funnel relay could have this address. Ranges for private, local and shared use, for tunnels and for
/// groups are not public (IANA's special-purpose registries); those for documentation count as public, because the
/// sandbox's relays have them and nobody else.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_ipv4(address),
        IpAddr::V6(address) => is_public_ipv6(address),
    }
}

fn is_public_ipv4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0, _]
            | [198, 18..=19, ..]
    )
}

/// Only global unicast, without what carries an IPv4 address or a protocol of its own inside.
fn is_public_ipv6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x01ff, ..] | [0x2002, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOT_PUBLIC_IPV4: [(&str, u32); 13] = [
        ("0.0.0.0", 8),
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.0.0.0", 24),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("224.0.0.0", 4),
        ("240.0.0.0", 4),
        ("255.255.255.255", 32),
        ("100.100.100.100", 32),
    ];

    const NOT_PUBLIC_IPV6: [(&str, u32); 11] = [
        ("::", 128),
        ("::1", 128),
        ("::ffff:0:0", 96),
        ("64:ff9b::", 96),
        ("100::", 64),
        ("2001::", 32),
        ("2002::", 16),
        ("fc00::", 7),
        ("fd7a:115c:a1e0::", 48),
        ("fe80::", 10),
        ("ff00::", 8),
    ];

    fn inside_ipv4(network: &str, bits: u32, random: u32) -> Ipv4Addr {
        let network: Ipv4Addr = network.parse().unwrap();
        let host = u32::MAX.checked_shr(bits).unwrap_or(0);
        Ipv4Addr::from_bits(network.to_bits() | (random & host))
    }

    fn inside_ipv6(network: &str, bits: u32, random: u128) -> Ipv6Addr {
        let network: Ipv6Addr = network.parse().unwrap();
        let host = u128::MAX.checked_shr(bits).unwrap_or(0);
        Ipv6Addr::from_bits(network.to_bits() | (random & host))
    }

    proptest! {
        #[test]
        fn nothing_inside_a_special_range_is_public(
            ipv4 in prop::sample::select(NOT_PUBLIC_IPV4.to_vec()),
            ipv6 in prop::sample::select(NOT_PUBLIC_IPV6.to_vec()),
            random in any::<u128>(),
        ) {
            #[expect(clippy::cast_possible_truncation, reason = "random bits")]
            let short = random as u32;
            prop_assert!(!is_public(inside_ipv4(ipv4.0, ipv4.1, short).into()));
            prop_assert!(!is_public(inside_ipv6(ipv6.0, ipv6.1, random).into()));
        }

        #[test]
        fn everything_outside_them_is_public(bits in any::<u32>()) {
            let special = NOT_PUBLIC_IPV4.iter().any(|(network, prefix)| {
                inside_ipv4(network, *prefix, bits) == Ipv4Addr::from_bits(bits)
            });
            prop_assert_eq!(is_public(Ipv4Addr::from_bits(bits).into()), !special);
        }
    }

    #[test]
    fn relays_and_documentation_are_public() {
        for address in [
            "208.111.34.178",
            "185.40.234.37",
            "1.1.1.1",
            "203.0.113.10",
            "192.0.2.1",
            "198.51.100.1",
            "2607:f740:50::1",
            "2a04:3543::1",
            "2001:db8::10",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
