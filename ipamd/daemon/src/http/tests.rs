use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::readiness::Readiness;

#[test]
fn addresses_are_read_and_open_ones_are_refused_with_advice() {
    assert_eq!(
        "127.0.0.1:9421".parse(),
        Ok(HttpAddress::Tcp(([127, 0, 0, 1], 9421).into()))
    );
    assert!("[::1]:9421".parse::<HttpAddress>().is_ok());
    assert_eq!(
        "unix:/run/m.sock".parse(),
        Ok(HttpAddress::Unix("/run/m.sock".into()))
    );
    for text in ["0.0.0.0:9421", "10.1.2.3:9421", "[::]:9421"] {
        let error = text.parse::<HttpAddress>().unwrap_err();
        assert!(error.to_string().contains("use 127.0.0.1:9421"), "{error}");
    }
    for text in ["9421", "localhost:9421", "unix:run/m.sock", ""] {
        assert!(text.parse::<HttpAddress>().is_err(), "{text:?}");
    }
}

async fn get(path: &std::path::Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn endpoint_answers_metrics_health_and_readiness() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    registry.register("berth_test_calls", "Calls", counter.clone());
    counter.inc();
    let readiness = Readiness::new("recovering: 3 of 9 attachments seen");
    let (tasks, _supervisor) = Tasks::new();
    let server = HttpServer::bind(&HttpAddress::Unix(path.clone()))
        .await
        .unwrap();
    let content = HttpContent {
        registry: Arc::new(registry),
        readiness: readiness.watch(),
    };
    server.spawn(&tasks, content);

    let metrics = get(&path, "GET /metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("berth_test_calls_total 1\n"), "{metrics}");
    assert!(get(&path, "GET /healthz").await.starts_with("HTTP/1.1 200"));
    let unready = get(&path, "GET /readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.contains("3 of 9"), "{unready}");
    readiness.set(Ready::Yes);
    assert!(get(&path, "GET /readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(&path, "GET /x").await.starts_with("HTTP/1.1 404"));
    assert!(
        get(&path, "POST /metrics")
            .await
            .starts_with("HTTP/1.1 405")
    );

    tasks.stop(Duration::from_secs(30)).await.unwrap();
    assert!(!path.exists());
}
