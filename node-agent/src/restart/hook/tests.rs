use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::*;

fn get(port: u16) -> HttpGet {
    HttpGet {
        host: Some("127.0.0.1".to_owned()),
        port,
        path: "/bye?now=1".to_owned(),
        scheme: Scheme::Http,
        headers: vec![
            ("X-A".to_owned(), "1".to_owned()),
            ("X-A".to_owned(), "2".to_owned()),
        ],
    }
}

fn nowhere() -> Runtime {
    Runtime::new("/nonexistent/runtime.sock".into())
}

/// Answers one request; tells what it was.
fn server(answer: &'static str) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 2048];
            let length = stream.read(&mut bytes).unwrap_or(0);
            stream.write_all(answer.as_bytes()).unwrap();
            let _ = sender.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
    });
    (port, asked)
}

async fn run_it(hook: Hook, limit: Duration) -> Result<(), RunHookError> {
    let runtime = nowhere();
    let place = Place {
        runtime: &runtime,
        id: "c1",
        ip: None,
    };
    run(&hook, place, limit).await
}

#[tokio::test]
async fn request_of_a_hook_is_made_and_any_answer_will_do() {
    let (port, asked) = server("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n");
    run_it(Hook::HttpGet(get(port)), Duration::from_secs(10))
        .await
        .unwrap();
    let asked = asked.recv().unwrap().to_lowercase();
    for part in [
        "get /bye?now=1 http/1.1",
        "x-a: 1",
        "x-a: 2",
        "user-agent: berth-agent/",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(
        asked.contains(&format!("host: 127.0.0.1:{port}")),
        "{asked}"
    );
}

#[tokio::test]
async fn where_http_answers_instead_of_tls_it_is_asked() {
    let (port, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let get = HttpGet {
        scheme: Scheme::Https,
        ..get(port)
    };
    run_it(Hook::HttpGet(get), Duration::from_secs(10))
        .await
        .unwrap();
    let asked: Vec<String> = asked.iter().take(2).collect();
    assert!(asked[1].starts_with("GET /bye"), "{asked:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let second = Duration::from_secs(1);
    let slow = run_it(
        Hook::Sleep(Duration::from_secs(3600)),
        Duration::from_millis(20),
    )
    .await;
    assert!(matches!(slow, Err(RunHookError::Late { .. })));
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let away = run_it(Hook::HttpGet(get(free)), second).await;
    assert!(matches!(away, Err(RunHookError::Connect { .. })));
    let addressless = HttpGet {
        host: None,
        ..get(1)
    };
    let nobody = run_it(Hook::HttpGet(addressless), second).await;
    assert!(matches!(nobody, Err(RunHookError::NoAddress)));
    let command = vec!["true".to_owned()];
    let exec = run_it(Hook::Exec { command }, second).await;
    assert!(matches!(exec, Err(RunHookError::Exec { .. })));
    let tcp = run_it(
        Hook::TcpSocket {
            host: None,
            port: 1,
        },
        second,
    )
    .await;
    assert!(matches!(tcp, Err(RunHookError::Tcp { port: 1 })));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    assert_eq!(authority("fd00::1", 80), "[fd00::1]:80");
    let asked = request(&get(80), "fd00::1").unwrap();
    assert_eq!(asked.headers()[HOST], "[fd00::1]:80");
    assert_eq!(asked.uri(), "/bye?now=1");
}
