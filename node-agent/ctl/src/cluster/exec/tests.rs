use serde_json::json;

use super::*;

fn status(value: serde_json::Value) -> Status {
    serde_json::from_value(value).unwrap()
}

fn ended(code: &str) -> Status {
    status(json!({
        "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated",
        "details": {"causes": [{"reason": "ExitCode", "message": code}]},
    }))
}

#[test]
fn document_counts_when_the_command_worked_whatever_its_answer() {
    let fine = status(json!({"status": "Success"}));
    for status in [fine, ended("5")] {
        let said = judge(Some(&status), b"{}".to_vec(), "a remark");
        assert_eq!(said.unwrap(), b"{}");
    }
}

#[test]
fn command_that_failed_is_told_in_its_own_words() {
    let unstarted = status(json!({"status": "Failure", "message": "container not running"}));
    for (status, complaint, words) in [
        (
            Some(&ended("4")),
            "berth-ipamd: no daemon answers",
            "no daemon answers",
        ),
        (Some(&ended("1")), "", "command terminated"),
        (Some(&unstarted), "", "container not running"),
        (None, "", "ended before the command did"),
    ] {
        let error = judge(status, b"{}".to_vec(), complaint).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
