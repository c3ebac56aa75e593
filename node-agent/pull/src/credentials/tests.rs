use serde_json::json;

use super::*;

fn credentials(registries: &[&str]) -> Credentials {
    let auths: serde_json::Map<_, _> = registries
        .iter()
        .map(|&name| (name.to_owned(), json!({"username": name, "password": "p"})))
        .collect();
    let mut all = Credentials::default();
    let secret = json!({"auths": auths}).to_string();
    all.add(secret.as_bytes()).unwrap();
    all
}

fn tried(registries: &[&str], image: &str) -> Vec<String> {
    let reference = Reference::parse(image).unwrap();
    let matching = credentials(registries).matching(&reference);
    matching.into_iter().map(|one| one.username).collect()
}

#[test]
fn registry_is_shown_what_is_for_it_and_nothing_else() {
    let image = "registry.example:5000/team/app:v2";
    for (registry, is_shown) in [
        ("registry.example:5000", true),
        ("https://registry.example:5000/v2/", true),
        ("REGISTRY.example:5000/", true),
        ("*.example:5000", true),
        ("reg*.ex*le:5000", true),
        ("registry.example:5000/team", true),
        ("registry.example:5000/team/app", true),
        // Another port, another host, another team, another number of parts.
        ("registry.example", false),
        ("registry.example:5001", false),
        ("registry.example.evil:5000", false),
        ("evil.registry.example:5000", false),
        ("*:5000", false),
        ("registry.example:5000/tea", false),
        ("registry.example:5000/team-other", false),
        ("registry.example:5000/team/app2", false),
        ("", false),
    ] {
        assert_eq!(
            !tried(&[registry], image).is_empty(),
            is_shown,
            "{registry}"
        );
    }
}

#[test]
fn docker_hub_has_several_names() {
    for name in [
        "https://index.docker.io/v1/",
        "docker.io",
        "registry-1.docker.io",
    ] {
        assert_eq!(tried(&[name], "app:v2").len(), 1, "{name}");
    }
    assert!(tried(&["registry.example"], "app:v2").is_empty());
}

#[test]
fn most_precise_is_tried_first_and_their_number_is_bounded() {
    let all = ["*.example", "registry.example", "registry.example/team"];
    assert_eq!(
        tried(&all, "registry.example/team/app:v2"),
        ["registry.example/team", "registry.example", "*.example"]
    );
    let many: Vec<_> = (0..20)
        .map(|number| format!("{}*.example", &"registry"[..number % 8]))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let longer = ["r", "re", "reg", "regi"].map(|start| format!("{start}*.exa*"));
    let all: Vec<_> = many
        .into_iter()
        .chain(longer.iter().map(String::as_str))
        .collect();
    assert_eq!(tried(&all, "registry.example/app:v2").len(), TRIED_AT_MOST);
}

#[test]
fn secrets_come_in_their_order_and_doubles_once() {
    let mut all = credentials(&["registry.example"]);
    let second = json!({"auths": {"registry.example": {"auth": "dTpw"}}}).to_string();
    for _ in 0..2 {
        all.add(second.as_bytes()).unwrap();
    }
    let matching = all.matching(&Reference::parse("registry.example/app:v2").unwrap());
    assert_eq!(matching.len(), 2);
    assert_eq!(matching[0].username, "registry.example");
    assert_eq!(matching[1].basic, "dTpw");
}

#[test]
fn what_is_no_secret_of_a_registry_is_refused_without_telling_it() {
    let mut all = Credentials::default();
    let error = all.add(b"{\"auths\": {\"r\": \"hunter2\"}}").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("docker-registry") && !text.contains("hunter2"),
        "{text}"
    );
    all.add(b"{}").unwrap();
}

#[test]
fn credentials_are_never_printed() {
    let all = credentials(&["registry.example"]);
    let text = format!("{all:?}");
    assert!(
        !text.contains("username") && !text.contains("\"p\""),
        "{text}"
    );
}
