use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::route::{RouteAttribute, RouteMetric, RouteProtocol};

use super::*;

fn subject(uplink: &IfName) -> Subject<'_> {
    Subject {
        uplink,
        index: 2,
        mac: "02:00:00:00:00:02".parse().unwrap(),
    }
}

fn address(text: &str) -> AddressMessage {
    let net: IpNet = text.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.family = address::family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.index = 2;
    message.attributes = vec![
        AddressAttribute::Local(net.addr()),
        AddressAttribute::Label("eth0:1".to_owned()),
        AddressAttribute::RoutePriority(77),
    ];
    message
}

fn default_route(gateway: &str) -> RouteMessage {
    let gateway: IpAddr = gateway.parse().unwrap();
    let mut message = RouteMessage::default();
    message.header.address_family = match gateway {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.protocol = RouteProtocol::Dhcp;
    message.header.kind = netlink_packet_route::route::RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Gateway(gateway.into()),
        RouteAttribute::Oif(2),
        RouteAttribute::Priority(100),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
    ];
    message
}

fn taken(uplink: &IfName) -> Snapshot {
    let addresses = [address("10.20.1.10/24"), address("fd00:1::10/64")];
    let routes = [default_route("10.20.1.1"), default_route("fe80::1")];
    Snapshot::take(subject(uplink), &addresses, &routes).unwrap()
}

#[test]
fn nothing_the_kernel_said_is_lost_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let uplink: IfName = "eth0".parse().unwrap();
    let snapshot = taken(&uplink);
    snapshot.store(folder.path()).unwrap();
    let read = Snapshot::load(folder.path(), subject(&uplink))
        .unwrap()
        .unwrap();
    assert_eq!(read, snapshot);
    assert_eq!(
        read.addresses(folder.path()).unwrap(),
        [address("10.20.1.10/24"), address("fd00:1::10/64")]
    );
    assert_eq!(
        read.routes(folder.path()).unwrap(),
        [default_route("10.20.1.1"), default_route("fe80::1")]
    );
}

#[test]
fn gateways_are_asked_from_an_address_of_their_subnet_or_family() {
    let folder = tempfile::tempdir().unwrap();
    let gateways = taken(&"eth0".parse().unwrap())
        .gateways(folder.path())
        .unwrap();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(
        gateways,
        [
            (ip("10.20.1.1"), Some(ip("10.20.1.10"))),
            (ip("fe80::1"), Some(ip("fd00:1::10")))
        ]
    );
}

#[test]
fn snapshot_of_another_interface_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let uplink: IfName = "eth0".parse().unwrap();
    taken(&uplink).store(folder.path()).unwrap();
    let load = |subject| Snapshot::load(folder.path(), subject).unwrap();
    let index = Subject {
        index: 3,
        ..subject(&uplink)
    };
    let mac = Subject {
        mac: "02:00:00:00:00:03".parse().unwrap(),
        ..subject(&uplink)
    };
    assert_eq!((load(index), load(mac)), (None, None));
}

#[test]
fn damaged_snapshot_is_an_error_and_never_an_absent_one() {
    let folder = tempfile::tempdir().unwrap();
    let uplink: IfName = "eth0".parse().unwrap();
    taken(&uplink).store(folder.path()).unwrap();
    let file = folder.path().join("eth0.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert!(matches!(
        Snapshot::load(folder.path(), subject(&uplink)),
        Err(SnapshotError::Damaged { .. })
    ));
    Snapshot::remove(folder.path(), &uplink).unwrap();
    assert_eq!(
        Snapshot::load(folder.path(), subject(&uplink)).unwrap(),
        None
    );
    Snapshot::remove(folder.path(), &uplink).unwrap();
}
