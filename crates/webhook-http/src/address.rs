//! Which IP addresses are global: reachable from anywhere, and so nobody's private network.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ipnet::{Ipv4Net, Ipv6Net};

/// What is not global in IPv4, by the registry of special-purpose addresses.
const NOT_GLOBAL_V4: [&str; 15] = [
    "0.0.0.0/8",       // this network
    "10.0.0.0/8",      // private
    "100.64.0.0/10",   // shared by customers of a provider
    "127.0.0.0/8",     // loopback
    "169.254.0.0/16",  // link-local; metadata of cloud instances
    "172.16.0.0/12",   // private
    "192.0.0.0/24",    // protocol assignments
    "192.0.2.0/24",    // documentation
    "192.88.99.0/24",  // relays of 6to4, deprecated
    "192.168.0.0/16",  // private
    "198.18.0.0/15",   // benchmarks
    "198.51.100.0/24", // documentation
    "203.0.113.0/24",  // documentation
    "224.0.0.0/4",     // multicast
    "240.0.0.0/4",     // reserved, and broadcast
];

/// What is not global within [`GLOBAL_V6`]. All that is outside it is not global either: loopback,
/// addresses that embed one of IPv4, private, link-local, multicast, and what is not assigned.
const NOT_GLOBAL_V6: [&str; 4] = [
    "2001::/23",     // protocol assignments, Teredo among them
    "2001:db8::/32", // documentation
    "2002::/16",     // 6to4: embeds an IPv4 address
    "3fff::/20",     // documentation
];

/// Where the global addresses of IPv6 are.
const GLOBAL_V6: &str = "2000::/3";
/// Addresses that a NAT64 translates to the IPv4 address in their last 32 bits.
const NAT64: &str = "64:ff9b::/96";

struct Networks {
    not_global_v4: Vec<Ipv4Net>,
    not_global_v6: Vec<Ipv6Net>,
    global_v6: Ipv6Net,
    nat64: Ipv6Net,
}

static NETWORKS: LazyLock<Networks> = LazyLock::new(|| {
    let v6 = |text: &str| text.parse::<Ipv6Net>().expect("a network of IPv6");
    Networks {
        not_global_v4: NOT_GLOBAL_V4.map(|it| it.parse().expect("a network of IPv4")).into(),
        not_global_v6: NOT_GLOBAL_V6.map(v6).into(),
        global_v6: v6(GLOBAL_V6),
        nat64: v6(NAT64),
    }
});

/// Whether an address is global.
pub(crate) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !NETWORKS.not_global_v4.iter().any(|network| network.contains(&address))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    if NETWORKS.nat64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return is_global_v4(Ipv4Addr::new(a, b, c, d));
    }
    NETWORKS.global_v6.contains(&address)
        && !NETWORKS.not_global_v6.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: bool) {
        for address in addresses {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_global(parsed), expected, "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_global() {
        check(&["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1"], true);
        check(
            &["172.32.0.1", "192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255"],
            true,
        );
        check(&["2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"], true);
    }

    #[test]
    fn no_special_address_of_ipv4_is_global() {
        check(&["0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1"], false);
        check(&["100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254"], false);
        check(&["172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1"], false);
        check(&["192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"], false);
        check(&["203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"], false);
    }

    #[test]
    fn no_special_address_of_ipv6_is_global() {
        check(&["::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8"], false);
        check(&["::ffff:0:10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1"], false);
        check(&["2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1"], false);
        check(&["fec0::1", "ff02::1"], false);
    }

    #[test]
    fn an_address_of_nat64_is_what_it_embeds() {
        check(&["64:ff9b::8.8.8.8"], true);
        check(&["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"], false);
    }
}
