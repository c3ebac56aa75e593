//! `berth` as the first plugin of a chain with Debian's `tuning`, `bandwidth`, `sbr` and `portmap`.

use serde_json::{Value, json};
use tests::plugin::{Answer, Call, Chain};
use tests::site::{Ask, Pod, Setup, Site};
use tests::wait::{holds, wait_until};

/// A ping to the TOR that names its source: `sbr` has emptied the Pod's main table.
const FROM_POD: [&str; 9] = [
    "ping",
    "-n",
    "-c",
    "1",
    "-W",
    "1",
    "-I",
    "10.20.1.100",
    "10.20.1.1",
];

fn chain(site: &Site, more: &[Value]) -> Chain {
    let mut first = site.config("1.0.0", &site.networks());
    first["bandwidth"] = json!("chained");
    let plugins: Vec<Value> = std::iter::once(first).chain(more.iter().cloned()).collect();
    Chain::new(json!({"cniVersion": "1.0.0", "name": "bank", "plugins": plugins}))
}

fn call(site: &Site, ask: &Ask, verb: &str) -> (Call, impl Fn(&str, &Call) -> Answer) {
    (ask.call(verb), |plugin: &str, call: &Call| {
        site.run(plugin, call)
    })
}

/// ADD, CHECK, DEL of a chain, with a look at the world between. No CHECK where Debian's `portmap` is in it: it looks for
/// IPv4 rules in the IPv6 tables, after any main plugin.
fn lives(site: &Site, chain: &Chain, look: impl Fn(&Pod<'_>, &Value)) {
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod);
    let (add, run) = call(site, &ask, "ADD");
    let result = chain.add(&add, &run).result();
    let names: Vec<&Value> = result["ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ip| &ip["address"])
        .filter(|address| !address.as_str().unwrap().contains(':'))
        .collect();
    assert_eq!(
        names,
        ["10.20.1.100/24", "10.30.1.100/24"],
        "the chain keeps our result"
    );
    pod.run(&FROM_POD);
    look(&pod, &result);
    if !chain.types().contains(&"portmap".to_owned()) {
        let (check, run) = call(site, &ask, "CHECK");
        chain.check(&check, &result, &run).silence();
    }
    let (del, run) = call(site, &ask, "DEL");
    chain.del(&del, Some(&result), &run).silence();
    assert_eq!(pod.interfaces(), ["lo"]);
    assert_eq!(site.ports(), Vec::<String>::new());
    site.assert_no_attachment();
    // Debian's `sbr` cannot be asked twice: it fails where its interface is gone.
    if !chain.types().contains(&"sbr".to_owned()) {
        chain.del(&del, None, &run).silence();
    }
}

#[test]
fn tuning_after_berth_sets_its_sysctl() {
    let site = Site::serving("chn-tuning");
    let chain = chain(
        &site,
        &[json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}})],
    );
    lives(&site, &chain, |pod, _| {
        let value = pod.run(&["cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"]);
        assert_eq!(value.trim(), "1");
    });
}

#[test]
fn bandwidth_after_berth_limits_the_first_interface() {
    let site = Site::serving("chn-rate");
    let mut chain = chain(
        &site,
        &[json!({"type": "bandwidth", "capabilities": {"bandwidth": true}})],
    );
    let rates = json!({"ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000});
    chain.runtime_config.insert("bandwidth".into(), rates);
    lives(&site, &chain, |_, result| {
        let port = result["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|interface| interface["name"].as_str())
            .find(|name| name.starts_with("bth"))
            .unwrap()
            .to_owned();
        let text = site
            .node()
            .run(&["tc", "qdisc", "show", "dev", &port])
            .unwrap();
        assert!(text.contains("tbf"), "{text}");
    });
}

#[test]
fn sbr_after_berth_routes_by_source() {
    let site = Site::serving("chn-sbr");
    let chain = chain(&site, &[json!({"type": "sbr"})]);
    let pod = site.pod("p");
    let ask = Ask::new("web-x", &pod).external_only();
    let mut first = chain.list["plugins"][0].clone();
    first["networks"] = json!([{"name": "external", "uplink": "eth0", "default": true}]);
    let mut chain = chain;
    chain.list["plugins"][0] = first;
    let (add, run) = call(&site, &ask, "ADD");
    let result = chain.add(&add, &run).result();
    let rules = pod.run(&["ip", "rule", "show"]);
    assert!(rules.contains("10.20.1.100"), "{rules}");
    pod.run(&FROM_POD);
    let (del, run) = call(&site, &ask, "DEL");
    chain.del(&del, Some(&result), &run).silence();
    assert_eq!(pod.interfaces(), ["lo"]);
}

#[test]
fn portmap_after_berth_maps_a_host_port() {
    let site = Site::build("chn-portmap", Setup::dual_stack());
    let mut chain = chain(
        &site,
        &[json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true})],
    );
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    chain.runtime_config.insert("portMappings".into(), mappings);
    lives(&site, &chain, |_, _| {
        let rules = site.node().run(&["iptables-save", "-t", "nat"]).unwrap();
        assert!(rules.contains("10.20.1.100:80"), "{rules}");
    });
    let rules = site.node().run(&["iptables-save", "-t", "nat"]).unwrap();
    assert!(!rules.contains("10.20.1.100:80"), "{rules}");
}

#[test]
fn all_five_together() {
    let site = Site::build("chn-all", Setup::dual_stack());
    site.add_management_nic();
    let mut chain = chain(
        &site,
        &[
            json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}}),
            json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
            json!({"type": "sbr"}),
            json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
        ],
    );
    let rates = json!({"ingressRate": 8_000_000, "ingressBurst": 8_000_000});
    chain.runtime_config.insert("bandwidth".into(), rates);
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    chain.runtime_config.insert("portMappings".into(), mappings);
    lives(&site, &chain, |pod, result| {
        // The chain's own CHECK is left out with `portmap`. Ours is the first of the chain, and CHECK gives it the result of the last.
        let check = Ask::new("web-x", pod).call("CHECK");
        let config = chain.config(0, Some(result));
        site.run("berth", &check.config(&config)).silence();

        let value = pod.run(&["cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"]);
        assert_eq!(value.trim(), "1");
        let rules = pod.run(&["ip", "rule", "show"]);
        assert!(rules.contains("10.20.1.100"), "{rules}");
        host_port_leads_to_the_pod(&site, pod);
    });
}

/// A TCP server that says who it is and answers one line with the same line.
const ECHO: &str = r#"
    use IO::Socket::INET;
    my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 4, ReuseAddr => 1) or die "$!";
    $| = 1;
    print "listening\n";
    while (my $client = $server->accept) {
        my $line = <$client>;
        print $client "the Pod heard $line";
        close $client;
    }
"#;

/// From the TOR by a port of the node's to a server in the Pod, and back.
#[track_caller]
fn host_port_leads_to_the_pod(site: &Site, pod: &Pod<'_>) {
    let node = site.node();
    // A Pod on the underlay answers by its own way, not by the node that translated: as anywhere with direct routing, who
    // wants host ports masquerades what was translated. Plain `portmap` does so for the node's own connections only.
    node.script(
        "echo 1 > /proc/sys/net/ipv4/ip_forward
        ip addr add 10.20.1.50/24 dev br-eth0
        iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
    )
    .unwrap();
    let mut server = node.pod_command(pod.name(), "perl");
    server.args(["-e", ECHO]);
    let server = node.spawn_command("echo", server).unwrap();
    wait_until("the server listens", || {
        holds(server.log().contains("listening"), || server.log())
    });
    let said = site
        .tor()
        .run(&[
            "timeout",
            "10",
            "bash",
            "-c",
            "exec 3<>/dev/tcp/10.20.1.50/8080; echo hello >&3; cat <&3",
        ])
        .unwrap();
    assert_eq!(said.trim(), "the Pod heard hello");
}
