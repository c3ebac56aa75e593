//! The CNI protocol, case by case, against any plugin.
//!
//! Every case runs twice: against Debian's `bridge` with `host-local`, which shows that the case itself is right, and
//! against the plugin under test: `berth`, or what `CNI_PLUGIN` names. Where the reference is known to deviate from
//! the specification, [`Subject::expects`] says so beside the code that the specification asks for.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::plugin::{Answer, Call, flag};
use tests::site::{Pod, Setup, Site};

/// Versions that the plugin under test must speak, oldest first.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A plugin on a node of its own.
struct Subject {
    site: Site,
    binary: PathBuf,
    is_reference: bool,
}

impl Subject {
    fn reference(test: &str) -> Self {
        Self {
            site: Site::bare(&format!("r-{test}")),
            binary: "bridge".into(),
            is_reference: true,
        }
    }

    fn under_test(test: &str) -> Self {
        match flag("CNI_PLUGIN").map(PathBuf::from) {
            Some(binary) => Self {
                site: Site::bare(&format!("g-{test}")),
                is_reference: binary.ends_with("bridge"),
                binary,
            },
            None => Self {
                // Four addresses, so that they can be used up; free again at once, so that a case may add often.
                site: Site::build(
                    &format!("c-{test}"),
                    Setup::default()
                        .external_range("10.20.1.100-10.20.1.103")
                        .without_quarantine(),
                ),
                binary: "berth".into(),
                is_reference: false,
            },
        }
    }

    /// The versions that this plugin speaks.
    fn versions(&self) -> &'static [&'static str] {
        if self.is_reference {
            &VERSIONS[..4]
        } else {
            &VERSIONS
        }
    }

    fn newest(&self) -> &'static str {
        self.versions().last().copied().unwrap()
    }

    /// A configuration of one network, of this version of the protocol.
    fn config(&self, version: &str) -> Value {
        if self.is_reference {
            return json!({
                "cniVersion": version, "name": "bank", "type": "bridge", "bridge": "br0",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.20.1.0/24", "rangeStart": "10.20.1.100",
                                 "rangeEnd": "10.20.1.103", "gateway": "10.20.1.1"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            });
        }
        self.site.config(
            version,
            &json!([{"name": "external", "uplink": "eth0", "default": true}]),
        )
    }

    fn run(&self, call: &Call) -> Answer {
        call.run(self.site.command(&self.binary))
    }

    fn call(&self, verb: &str, container: &str, netns: &Path) -> Call {
        Call::new(verb, container, netns, "eth0").config(&self.config(self.newest()))
    }

    fn add(&self, container: &str, pod: &Pod) -> Answer {
        self.run(&self.call("ADD", container, pod.path()))
    }

    /// Runs a call that must fail with `specified`, or with `deviating` when the plugin is the reference.
    #[track_caller]
    fn refuses(&self, call: &Call, specified: u64, deviating: u64) -> String {
        let fault = self.run(call).fault();
        let expected = if self.is_reference {
            deviating
        } else {
            specified
        };
        assert_eq!(fault.code, expected, "{fault:?} of {call:?}");
        fault.text()
    }
}

/// Each case as a test of the reference and as a test of the plugin under test.
macro_rules! cases {
    ($($(#[$attribute:meta])* $case:ident),* $(,)?) => {
        mod reference_bridge {
            $($(#[$attribute])* #[test] fn $case() { super::$case(&super::Subject::reference(stringify!($case))); })*
        }
        mod under_test {
            $($(#[$attribute])* #[test] fn $case() { super::$case(&super::Subject::under_test(stringify!($case))); })*
        }
    };
}

cases!(
    version_needs_nothing_but_the_command,
    every_version_is_answered_in_its_own_format,
    interface_carries_what_the_result_says,
    routes_of_the_result_are_in_the_pod,
    second_add_of_one_attachment_leaves_the_first_whole,
    unknown_version_is_refused_with_the_versions_spoken,
    version_that_is_no_text_is_refused,
    configuration_without_name_is_refused,
    configuration_with_a_name_that_could_escape_is_refused,
    configuration_that_is_no_json_object_is_refused,
    missing_parameters_are_all_named,
    empty_container_id_counts_as_missing,
    parameters_that_could_escape_are_refused,
    unknown_command_is_refused,
    namespace_that_is_missing_is_refused_on_add,
    verb_that_the_version_lacks_is_refused,
    del_succeeds_where_there_is_nothing_to_do,
    del_twice_succeeds_and_frees_the_address_once,
    del_without_or_with_broken_previous_result_succeeds,
    check_passes_on_what_add_made,
    check_finds_a_missing_interface,
    full_range_is_an_error,
    unknown_keys_of_the_configuration_are_accepted,
    no_command_is_no_failure,
    unknown_arguments_are_accepted_where_told,
);

fn version_needs_nothing_but_the_command(subject: &Subject) {
    let call = Call {
        command: Some("VERSION".into()),
        ..Call::default()
    };
    for stdin in ["", r#"{"cniVersion":"1.1.0"}"#] {
        let answer = subject.run(&call.clone().raw_stdin(stdin)).result();
        assert!(answer["cniVersion"].is_string(), "{answer}");
        let supported = answer["supportedVersions"].as_array().unwrap();
        for version in subject.versions() {
            assert!(supported.contains(&json!(version)), "{version}: {answer}");
        }
    }
}

fn every_version_is_answered_in_its_own_format(subject: &Subject) {
    for (number, version) in subject.versions().iter().enumerate() {
        let pod = subject.site.pod(&format!("v{number}"));
        let container = format!("cid-{number}");
        let config = subject.config(version);
        let call = Call::new("ADD", &container, pod.path(), "eth0").config(&config);
        let result = subject.run(&call).result();
        assert_eq!(result["cniVersion"], *version, "{result}");
        has_the_format_of(version, &result);

        let with_result = |verb: &str| {
            let mut config = config.clone();
            config["prevResult"] = result.clone();
            Call::new(verb, &container, pod.path(), "eth0").config(&config)
        };
        if *version >= "0.4.0" {
            subject.run(&with_result("CHECK")).silence();
        }
        subject.run(&with_result("DEL")).silence();
        assert_eq!(pod.interfaces(), ["lo"], "after DEL of {version}");
    }
}

/// What the result format of a version has and what it must not have yet.
#[track_caller]
fn has_the_format_of(version: &str, result: &Value) {
    let interfaces = result["interfaces"].as_array().unwrap();
    let inside: Vec<usize> = (0..interfaces.len())
        .filter(|index| {
            interfaces[*index]["sandbox"]
                .as_str()
                .is_some_and(|s| !s.is_empty())
        })
        .collect();
    assert_eq!(inside.len(), 1, "{result}");
    assert_eq!(interfaces[inside[0]]["name"], "eth0", "{result}");
    let ips = result["ips"].as_array().unwrap();
    assert!(!ips.is_empty(), "{result}");
    for ip in ips {
        assert_eq!(ip["interface"], json!(inside[0]), "{result}");
        let family = ip.get("version");
        if version < "1.0.0" {
            assert_eq!(family, Some(&json!("4")), "{result}");
        } else {
            assert_eq!(family, None, "{result}");
        }
    }
    if version < "1.1.0" {
        for interface in interfaces {
            for key in ["mtu", "socketPath", "pciID"] {
                assert_eq!(interface.get(key), None, "{key} came with 1.1.0: {result}");
            }
        }
        for route in result["routes"].as_array().into_iter().flatten() {
            for key in ["mtu", "advmss", "priority", "table", "scope"] {
                assert_eq!(route.get(key), None, "{key} came with 1.1.0: {result}");
            }
        }
    }
    let known = ["cniVersion", "interfaces", "ips", "routes", "dns"];
    for key in result.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{key}: {result}");
    }
}

fn interface_carries_what_the_result_says(subject: &Subject) {
    let pod = subject.site.pod("p");
    let result = subject.add("cid", &pod).result();
    let interface = result["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .find(|interface| interface["name"] == "eth0")
        .unwrap();
    assert_eq!(interface["sandbox"], json!(pod.path()), "{result}");
    let link = pod.link("eth0");
    assert_eq!(link["address"], interface["mac"], "{link}");
    assert_eq!(link["linkinfo"]["info_kind"], "veth", "{link}");
    assert_eq!(link["operstate"], "UP", "{link}");
    let addresses = pod.addresses("eth0");
    for ip in result["ips"].as_array().unwrap() {
        let address = ip["address"].as_str().unwrap();
        assert!(
            addresses.iter().any(|a| a == address),
            "{addresses:?} {result}"
        );
    }
    // What the result names on the host's side exists there.
    let host = subject.site.links();
    for interface in result["interfaces"].as_array().unwrap() {
        if interface.get("sandbox").is_none() {
            let link = host.iter().find(|link| link["ifname"] == interface["name"]);
            assert_eq!(link.unwrap()["address"], interface["mac"], "{result}");
        }
    }
}

fn routes_of_the_result_are_in_the_pod(subject: &Subject) {
    let pod = subject.site.pod("p");
    let result = subject.add("cid", &pod).result();
    let routes = result["routes"].as_array().unwrap();
    let default = routes
        .iter()
        .find(|route| route["dst"] == "0.0.0.0/0")
        .unwrap();
    let via = default
        .get("gw")
        .unwrap_or_else(|| &result["ips"][0]["gateway"]);
    let kernel = pod.ip(&["route", "show", "default"]);
    assert_eq!(kernel[0]["gateway"], *via, "{kernel} {result}");
    assert_eq!(kernel.as_array().map(Vec::len), Some(1), "{kernel}");
}

fn second_add_of_one_attachment_leaves_the_first_whole(subject: &Subject) {
    let pod = subject.site.pod("p");
    subject.add("cid", &pod).result();
    let before = (pod.snapshot(), subject.site.links().len());
    let fault = subject.add("cid", &pod).fault();
    assert!(
        fault.text().contains("exists") || fault.text().contains("eth0"),
        "{fault:?}"
    );
    assert_eq!((pod.snapshot(), subject.site.links().len()), before);
    subject
        .run(&subject.call("DEL", "cid", pod.path()))
        .silence();
    assert_eq!(pod.interfaces(), ["lo"]);
}

fn unknown_version_is_refused_with_the_versions_spoken(subject: &Subject) {
    let pod = subject.site.pod("p");
    for verb in ["ADD", "DEL"] {
        let call = Call::new(verb, "cid", pod.path(), "eth0").config(&subject.config("9.9.9"));
        let text = subject.refuses(&call, 1, 1);
        assert!(text.contains("9.9.9") && text.contains("1.0.0"), "{text}");
    }
    assert_eq!(pod.interfaces(), ["lo"]);
}

fn version_that_is_no_text_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    let mut config = subject.config(subject.newest());
    config["cniVersion"] = json!(3);
    let call = Call::new("ADD", "cid", pod.path(), "eth0").config(&config);
    subject.refuses(&call, 6, 6);
}

fn configuration_without_name_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    let mut config = subject.config(subject.newest());
    config.as_object_mut().unwrap().remove("name");
    let call = Call::new("ADD", "cid", pod.path(), "eth0").config(&config);
    let text = subject.refuses(&call, 7, 7);
    assert!(text.contains("name"), "{text}");
}

fn configuration_with_a_name_that_could_escape_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    for name in ["../x", "a/b", "-a", "a b", ".."] {
        let mut config = subject.config(subject.newest());
        config["name"] = json!(name);
        let call = Call::new("ADD", "cid", pod.path(), "eth0").config(&config);
        subject.refuses(&call, 7, 7);
    }
}

fn configuration_that_is_no_json_object_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    for stdin in [
        "",
        "{",
        "[]",
        "\"text\"",
        "{\"cniVersion\": \"1.0.0\", \"name\"",
    ] {
        let call = Call::new("ADD", "cid", pod.path(), "eth0").raw_stdin(stdin);
        subject.refuses(&call, 6, 6);
    }
}

fn missing_parameters_are_all_named(subject: &Subject) {
    let pod = subject.site.pod("p");
    let whole = subject.call("ADD", "cid", pod.path());
    let two = Call {
        ifname: None,
        path: None,
        ..whole.clone()
    };
    let text = subject.refuses(&two, 4, 4);
    assert!(
        text.contains("CNI_IFNAME") && text.contains("CNI_PATH"),
        "{text}"
    );
    let all = Call {
        command: whole.command.clone(),
        stdin: whole.stdin.clone(),
        ..Call::default()
    };
    let text = subject.refuses(&all, 4, 4);
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let del = Call {
        command: Some("DEL".into()),
        netns: None,
        ifname: None,
        ..whole
    };
    let text = subject.refuses(&del, 4, 4);
    assert!(
        text.contains("CNI_IFNAME") && !text.contains("CNI_NETNS"),
        "{text}"
    );
}

fn empty_container_id_counts_as_missing(subject: &Subject) {
    let pod = subject.site.pod("p");
    for verb in ["ADD", "DEL"] {
        let text = subject.refuses(&subject.call(verb, "", pod.path()), 4, 4);
        assert!(text.contains("CNI_CONTAINERID"), "{text}");
    }
}

fn parameters_that_could_escape_are_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    for container in [
        "../x",
        "a/b",
        "-a",
        "a b",
        ".",
        "a\nb",
        "a\u{1b}[31mb",
        "a\r{\"level\":\"error\"}",
    ] {
        let call = subject.call("ADD", container, pod.path());
        subject.refuses(&call, 4, 4);
        says_nothing_raw(subject, &call);
    }
    for ifname in ["sixteen-bytes-xx", ".", "..", "a/b", "a:b", "a b", "a\tb"] {
        let mut call = subject.call("ADD", "cid", pod.path());
        call.ifname = Some(ifname.into());
        subject.refuses(&call, 4, 4);
        says_nothing_raw(subject, &call);
    }
    assert_eq!(pod.interfaces(), ["lo"]);
}

/// What was sent reaches nobody's terminal or log as it is: standard error is JSON lines, if anything. The specification
/// asks for nothing there, and the reference is not asked.
#[track_caller]
fn says_nothing_raw(subject: &Subject, call: &Call) {
    if subject.is_reference {
        return;
    }
    let answer = subject.run(call);
    for line in answer.stderr.split_terminator('\n') {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line.is_object()), "{answer:?}");
    }
    let raw = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    assert!(!raw(&answer.stderr) && !raw(&answer.stdout), "{answer:?}");
}

fn unknown_command_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    for verb in ["NOPE", "add", " ADD"] {
        subject.refuses(&subject.call(verb, "cid", pod.path()), 4, 4);
    }
}

fn namespace_that_is_missing_is_refused_on_add(subject: &Subject) {
    let call = subject.call("ADD", "cid", Path::new("/run/netns/no-such-namespace"));
    let before = subject.site.links().len();
    // "Container unknown, or does not exist": the runtime need not clean up.
    subject.refuses(&call, 3, 999);
    assert_eq!(subject.site.ports(), Vec::<String>::new());
    assert!(
        subject.site.links().len() <= before + 1,
        "at most the bridge is new"
    );
}

fn verb_that_the_version_lacks_is_refused(subject: &Subject) {
    let pod = subject.site.pod("p");
    for version in ["0.3.0", "0.3.1"] {
        let call = Call::new("CHECK", "cid", pod.path(), "eth0").config(&subject.config(version));
        subject.refuses(&call, 1, 1);
    }
    // The reference is older than the two verbs: it takes them for verbs of a container and misses its id.
    for verb in ["STATUS", "GC"] {
        for version in ["0.4.0", "1.0.0"] {
            let call = Call::bare(verb).config(&subject.config(version));
            subject.refuses(&call, 1, 3);
        }
    }
}

fn del_succeeds_where_there_is_nothing_to_do(subject: &Subject) {
    let pod = subject.site.pod("p");
    let call = subject.call("DEL", "never-added", pod.path());
    subject.run(&call).silence();
    for netns in [None, Some(""), Some("/run/netns/no-such-namespace")] {
        let call = Call {
            netns: netns.map(str::to_owned),
            ..call.clone()
        };
        subject.run(&call).silence();
    }
}

fn del_twice_succeeds_and_frees_the_address_once(subject: &Subject) {
    let pod = subject.site.pod("p");
    subject.add("cid", &pod).result();
    for _ in 0..2 {
        subject
            .run(&subject.call("DEL", "cid", pod.path()))
            .silence();
        assert_eq!(pod.interfaces(), ["lo"]);
        assert_eq!(subject.site.ports(), Vec::<String>::new());
    }
}

fn del_without_or_with_broken_previous_result_succeeds(subject: &Subject) {
    let broken = [
        None,
        Some(json!({})),
        Some(json!({"cniVersion": subject.newest()})),
        Some(json!({"cniVersion": subject.newest(), "interfaces": [], "ips": []})),
    ];
    for (number, prev) in broken.into_iter().enumerate() {
        let pod = subject.site.pod(&format!("b{number}"));
        let container = format!("cid-{number}");
        subject.add(&container, &pod).result();
        let mut config = subject.config(subject.newest());
        if let Some(prev) = prev {
            config["prevResult"] = prev;
        }
        let call = Call::new("DEL", &container, pod.path(), "eth0").config(&config);
        subject.run(&call).silence();
        assert_eq!(pod.interfaces(), ["lo"], "case {number}");
    }
}

fn check_passes_on_what_add_made(subject: &Subject) {
    let pod = subject.site.pod("p");
    let mut config = subject.config(subject.newest());
    config["prevResult"] = subject.add("cid", &pod).result();
    let check = Call::new("CHECK", "cid", pod.path(), "eth0").config(&config);
    subject.run(&check).silence();
    subject.run(&check).silence();
    // Without a result there is nothing to compare with.
    let without = subject.call("CHECK", "cid", pod.path());
    subject.refuses(&without, 7, 999);
}

fn check_finds_a_missing_interface(subject: &Subject) {
    let pod = subject.site.pod("p");
    let mut config = subject.config(subject.newest());
    config["prevResult"] = subject.add("cid", &pod).result();
    pod.does(&["link", "del", "eth0"]);
    let check = Call::new("CHECK", "cid", pod.path(), "eth0").config(&config);
    let fault = subject.run(&check).fault();
    assert!(fault.code >= 100, "{fault:?}");
    // The reference stumbles over its bridge first, whose MAC went with the port.
    let culprit = if subject.is_reference { "br0" } else { "eth0" };
    assert!(fault.text().contains(culprit), "{fault:?}");
}

fn full_range_is_an_error(subject: &Subject) {
    let pods: Vec<Pod> = (0..5).map(|n| subject.site.pod(&format!("f{n}"))).collect();
    let mut given = Vec::new();
    for (number, pod) in pods[..4].iter().enumerate() {
        let result = subject.add(&format!("cid-{number}"), pod).result();
        given.push(result["ips"][0]["address"].clone());
    }
    given.sort_by_key(ToString::to_string);
    given.dedup();
    assert_eq!(given.len(), 4, "{given:?}");
    let fault = subject.add("cid-4", &pods[4]).fault();
    assert!(fault.code >= 100, "{fault:?}");
    // The reference leaves a half-made interface behind until DEL.
    let left = if subject.is_reference {
        vec!["eth0", "lo"]
    } else {
        vec!["lo"]
    };
    assert_eq!(pods[4].interfaces(), left);
}

fn unknown_keys_of_the_configuration_are_accepted(subject: &Subject) {
    let pod = subject.site.pod("p");
    let mut config = subject.config(subject.newest());
    config["runtimeConfig"] = json!({"aFutureCapability": {"a": [1, 2]}});
    config["cni.dev/something"] = json!(["new"]);
    config["disableCheck"] = json!(true);
    let call = Call::new("ADD", "cid", pod.path(), "eth0").config(&config);
    let mut command = subject.site.command(&subject.binary);
    command.env(
        "TRACEPARENT",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    call.run(command).result();
}

fn no_command_is_no_failure(subject: &Subject) {
    let answer = subject.run(&Call::default());
    assert!(answer.succeeded(), "{answer:#?}");
    assert_eq!(answer.stdout, "", "about text belongs on stderr");
    assert!(answer.stderr.contains("CNI"), "{answer:#?}");
}

fn unknown_arguments_are_accepted_where_told(subject: &Subject) {
    let pod = subject.site.pod("p");
    let call = subject
        .call("ADD", "cid", pod.path())
        .args("IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=cid;K8S_POD_UID=u1;X=y");
    subject.run(&call).result();
}
