use super::*;

struct Files {
    root: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["bank", "results"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for (path, content) in files {
            fs::write(root.path().join(path), content).unwrap();
        }
        Self { root }
    }

    fn read(&self) -> Result<Vec<BindingRecord>, ReadHostLocalError> {
        read(&Take {
            folder: &self.root.path().join("bank"),
            results: &self.root.path().join("results"),
            cni_network: None,
            network: &"external".parse().unwrap(),
            rack: &"a".parse().unwrap(),
        })
    }
}

#[test]
fn both_families_of_one_interface_become_one_binding_of_the_sandbox() {
    let files = Files::new(&[
        ("bank/10.20.1.100", "c1\r\neth0"),
        ("bank/fd00::64", "c1\r\neth0"),
        ("bank/10.20.1.101", "c2"),
        ("bank/last_reserved_ip.0", "10.20.1.101"),
        ("bank/lock", ""),
    ]);
    let bindings = files.read().unwrap();
    assert_eq!(bindings.len(), 2);
    assert_eq!(bindings[0].identity.as_str(), "sandbox:c1");
    assert_eq!(bindings[0].origin, Origin::Sandbox);
    assert_eq!(bindings[0].mac.to_string(), "b6:e7:0a:14:01:64");
    let addresses: Vec<_> = bindings[0]
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["10.20.1.100", "fd00::64"]);
    let BindingState::Attached { attachment, .. } = &bindings[1].state else {
        panic!("{:?}", bindings[1]);
    };
    assert_eq!(attachment.cni_network.as_str(), "bank");
    assert_eq!(attachment.ifname.as_str(), "eth0");
}

#[test]
fn pod_and_mac_come_from_the_cached_result() {
    let cache = r#"{"kind": "cniCacheV1", "containerId": "c1", "ifName": "eth0", "networkName": "bank",
        "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "prod"], ["K8S_POD_NAME", "db-0"],
                    ["K8S_POD_UID", "u-1"]],
        "result": {"cniVersion": "1.0.0", "interfaces": [
            {"name": "vethx", "mac": "0a:00:00:00:00:01"},
            {"name": "eth0", "mac": "0a:00:00:00:00:02", "sandbox": "/var/run/netns/x"}]}}"#;
    let files = Files::new(&[
        ("bank/10.20.1.100", "c1\r\neth0"),
        ("results/bank-c1-eth0", cache),
    ]);
    let bindings = files.read().unwrap();
    assert_eq!(bindings[0].identity.as_str(), "prod/db-0");
    assert_eq!(bindings[0].origin, Origin::Pod);
    assert_eq!(bindings[0].mac.to_string(), "0a:00:00:00:00:02");
}

#[test]
fn a_folder_that_is_not_host_locals_is_refused() {
    let error = Files::new(&[("bank/notes.txt", "x")]).read().unwrap_err();
    assert!(matches!(error, ReadHostLocalError::Name { .. }), "{error}");
    let error = Files::new(&[("bank/10.20.1.100", "../x")])
        .read()
        .unwrap_err();
    assert!(
        matches!(error, ReadHostLocalError::Content { .. }),
        "{error}"
    );
    let two = Files::new(&[
        ("bank/10.20.1.100", "c1\r\neth0"),
        ("bank/10.20.1.101", "c1\r\neth0"),
    ]);
    let error = two.read().unwrap_err();
    assert!(
        matches!(error, ReadHostLocalError::TwoAddresses { .. }),
        "{error}"
    );
}

#[test]
fn reading_twice_tells_the_same() {
    let files = Files::new(&[("bank/10.20.1.100", "c1\r\neth0")]);
    assert_eq!(files.read().unwrap(), files.read().unwrap());
}
