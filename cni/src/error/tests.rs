use std::time::Duration;

use proto_ipam::refusal::Refusal;

use super::*;

fn ipamd(source: AskIpamdError) -> CallError {
    CallError::Ipamd {
        doing: "get addresses from berth-ipamd",
        source,
    }
}

fn refused(reason: Reason) -> CallError {
    ipamd(AskIpamdError::Refused(Refusal {
        reason,
        message: "pool external-a has no free address".to_owned(),
        advice: "add a range".to_owned(),
    }))
}

#[test]
fn every_refusal_of_ipamd_has_its_code() {
    let cases = [
        (Reason::Unspecified, 116),
        (Reason::InvalidRequest, 7),
        (Reason::NoPool, 103),
        (Reason::Exhausted, 100),
        (Reason::AddressTaken, 101),
        (Reason::AddressOutside, 113),
        (Reason::AddressConflict, 102),
        (Reason::MacTaken, 114),
        (Reason::AlreadyAttached, 115),
        (Reason::Recovering, 11),
        (Reason::StoreUnavailable, 11),
        (Reason::StoreDamaged, 112),
        (Reason::Mismatch, 110),
        (Reason::NotFound, 110),
        (Reason::Busy, 11),
        (Reason::VersionSkew, 116),
    ];
    for (reason, code) in cases {
        assert_eq!(refused(reason).code(), code, "{reason:?}");
    }
}

#[test]
fn every_fault_of_the_datapath_has_its_code() {
    let cases = [
        (Fault::NetnsMissing, 3),
        (Fault::UplinkMissing, 104),
        (Fault::NeedsTakeOver, 105),
        (Fault::UplinkConflict, 106),
        (Fault::RolledBack, 107),
        (Fault::IfnameExists, 108),
        (Fault::Kernel, 109),
        (Fault::Busy, 11),
    ];
    for (fault, code) in cases {
        assert_eq!(of_fault(fault), code, "{fault:?}");
    }
}

#[test]
fn the_rest_has_the_codes_of_the_specification_or_our_own() {
    let cases = [
        (
            CallError::ReadStdin {
                source: io::ErrorKind::BrokenPipe.into(),
            },
            5,
        ),
        (CallError::LongStdin { limit_bytes: 1 }, 5),
        (CallError::Conf(ParseConfError::NameMissing), 7),
        (CallError::Conf(ParseConfError::NotObject), 6),
        (CallError::NotFirst, 7),
        (CallError::PrevResultMissing, 7),
        (CallError::OwnNetns { path: "/x".into() }, 4),
        (
            CallError::OpenNetns {
                source: OpenNetnsError::Missing { path: "/x".into() },
            },
            3,
        ),
        (
            CallError::InterfaceExists {
                ifname: "eth0".parse().unwrap(),
            },
            108,
        ),
        (
            CallError::AlreadyWired {
                ifname: "eth0".parse().unwrap(),
            },
            108,
        ),
        (
            CallError::Drift {
                differences: vec!["x".to_owned()],
            },
            111,
        ),
        (
            CallError::Unavailable {
                code: SpecCode::NotAvailableLimited,
                reasons: vec!["x".to_owned()],
            },
            51,
        ),
    ];
    for (error, code) in cases {
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn trouble_on_the_way_to_ipamd_has_its_codes() {
    let away = ipamd(AskIpamdError::Away {
        socket: "/x".into(),
        source: io::ErrorKind::NotFound.into(),
    });
    let silent = ipamd(AskIpamdError::Silent {
        socket: "/x".into(),
        deadline: Duration::from_secs(1),
    });
    let call = ipamd(AskIpamdError::Call {
        code: tonic::Code::Internal,
        message: "panicked".to_owned(),
    });
    for (error, code) in [(away, 11), (silent, 11), (call, 116)] {
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn answer_holds_the_whole_chain_once_and_the_advice() {
    let failure = refused(Reason::Exhausted).failure(Some(CniVersion::V1_0_0));
    assert_eq!(
        to_json(&failure),
        concat!(
            r#"{"cniVersion":"1.0.0","code":100,"#,
            r#""msg":"get addresses from berth-ipamd: pool external-a has no free address","#,
            r#""details":"add a range"}"#
        )
    );
}

#[test]
fn several_errors_are_all_told_under_the_first_code() {
    let several = CallError::Several(vec![
        CallError::Unwire(UnwireErrors(Vec::new())),
        refused(Reason::Recovering),
    ]);
    assert_eq!(several.code(), 109);
    assert!(several.to_string().contains("no free address"));
}

/// All of Berth's codes; one that is new does not compile until it has its place here.
fn own_codes() -> Vec<u32> {
    let next = |code: &OwnCode| match code {
        OwnCode::Exhausted => Some(OwnCode::AddressTaken),
        OwnCode::AddressTaken => Some(OwnCode::AddressConflict),
        OwnCode::AddressConflict => Some(OwnCode::NoPool),
        OwnCode::NoPool => Some(OwnCode::UplinkMissing),
        OwnCode::UplinkMissing => Some(OwnCode::NeedsTakeOver),
        OwnCode::NeedsTakeOver => Some(OwnCode::UplinkConflict),
        OwnCode::UplinkConflict => Some(OwnCode::TakeOverRolledBack),
        OwnCode::TakeOverRolledBack => Some(OwnCode::InterfaceExists),
        OwnCode::InterfaceExists => Some(OwnCode::Kernel),
        OwnCode::Kernel => Some(OwnCode::BookDiffers),
        OwnCode::BookDiffers => Some(OwnCode::KernelDiffers),
        OwnCode::KernelDiffers => Some(OwnCode::StoreDamaged),
        OwnCode::StoreDamaged => Some(OwnCode::AddressOutside),
        OwnCode::AddressOutside => Some(OwnCode::MacTaken),
        OwnCode::MacTaken => Some(OwnCode::AlreadyAttached),
        OwnCode::AlreadyAttached => Some(OwnCode::DaemonAnswer),
        OwnCode::DaemonAnswer => None,
    };
    std::iter::successors(Some(OwnCode::Exhausted), next)
        .map(u32::from)
        .collect()
}

#[test]
fn readme_says_of_each_of_our_codes_what_the_operator_does() {
    let mut told = Vec::new();
    for line in include_str!("../../README.md").lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let code = cells[0]
            .strip_prefix("| ")
            .and_then(|cell| cell.parse().ok());
        if let Some(code) = code.filter(|code: &u32| *code >= 100) {
            assert_eq!(cells.len(), 3, "{line}");
            assert!(cells.iter().all(|cell| cell.len() > 2), "{line}");
            told.push(code);
        }
    }
    assert_eq!(told, own_codes());
}
