//! Folders that are put as forms.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::stage::{Answer, Stage};
use crate::off::OffUrl;

/// A form, as browsers write it.
fn form(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, path, bytes) in parts {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{path}\"\r\n\
             Content-Type: text/plain\r\n\r\n"
        );
        form.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    form.extend(b"--edge--\r\n");
    form
}

async fn send(stage: &Stage, query: &str, form: Vec<u8>) -> Answer {
    let parts: Vec<_> =
        form.chunks(10_000).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect();
    let request = Request::post(format!("/api/put{query}"))
        .header("content-type", "multipart/form-data; boundary=edge")
        .header("offswarm-transfer", "the-folder")
        .body(Body::from_stream(futures_util::stream::iter(parts)))
        .unwrap();
    stage.send(request).await
}

fn is_empty(stage: &Stage) -> bool {
    let client = stage.client();
    client.store().census().unwrap().blocks == 0 && client.catalog().urls().unwrap().is_empty()
}

#[tokio::test]
async fn a_folder_is_put_file_by_file() {
    let stage = Stage::new();
    let long = vec![b'y'; 300_000];
    let form = form(&[
        ("file", "a.txt", b"hello"),
        ("file", "img/long.bin", &long),
        ("file", "img/%22quoted%22.txt", b""),
        ("file", "../out", &long),
        ("file", "a.txt", b"again"),
    ]);
    let answer = send(&stage, "?name=folder&publish=1", form).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["name"], &answer["directory"]), (&json!("folder.ofd"), &json!(true)));
    assert_eq!((&answer["files"], &answer["bytes"]), (&json!(3), &json!(300_005)));
    let skipped: Vec<&Value> =
        answer["skipped"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!(skipped, ["../out", "a.txt"]);
    let url = OffUrl::parse(answer["url"].as_str().unwrap()).unwrap();
    let directory = stage.client().directory(&url).unwrap();
    let paths: Vec<&str> = directory.entries().map(|entry| entry.path).collect();
    assert_eq!(paths, ["a.txt", "img/\"quoted\".txt", "img/long.bin"]);
    assert_eq!(
        url.hints.infohash.map(|it| json!(it.to_string())),
        Some(answer["infohash"].clone())
    );
    let transfer = stage.get("/api/transfers/the-folder").await.json();
    assert_eq!((&transfer["state"], &transfer["kind"]), (&json!("done"), &json!("put")));
}

#[tokio::test]
async fn a_form_that_is_wrong_leaves_nothing() {
    let stage = Stage::new();
    let long = vec![b'y'; 1_000_000];
    let good = form(&[("file", "a", b"1"), ("file", "b", &long)]);
    let wrong = [
        (form(&[]), "no part named file"),
        (form(&[("file", "a", &long), ("text", "b", b"2")]), "\"text\""),
        (good[..500_000].to_vec(), "form"),
        (b"no form at all".to_vec(), "form"),
        ([&good[..good.len() - 8], &vec![b'h'; 3 << 20]].concat(), "form"),
    ];
    for (form, why) in wrong {
        let message = send(&stage, "?name=x", form).await.failure(400, "bad_request");
        assert!(message.contains(why), "{message}");
        assert!(is_empty(&stage), "{why}");
    }
    for query in ["", "?name=", "?name=x&t=1", "?name=x&t=9", "?name=x&plain=yes", "?name=x&y=1"] {
        send(&stage, query, good.clone()).await.failure(400, "bad_request");
    }
    let request = Request::post("/api/put?name=x").body(Body::from(good)).unwrap();
    stage.send(request).await.failure(400, "bad_request");
    assert!(is_empty(&stage));
}

#[tokio::test]
async fn too_many_files_are_refused() {
    let stage = Stage::new();
    let paths: Vec<String> = (0..=10_000).map(|n| n.to_string()).collect();
    let parts: Vec<_> = paths.iter().map(|path| ("file", path.as_str(), &b""[..])).collect();
    let message = send(&stage, "?name=x", form(&parts)).await.failure(413, "too_large");
    assert!(message.contains("10000"), "{message}");
    assert!(is_empty(&stage));
}

#[tokio::test]
async fn the_head_of_a_file_is_not_read_for_ever() {
    let stage = Stage::new();
    let mut endless = b"--edge\r\nContent-Disposition: form-data; name=\"file\"; x=\"".to_vec();
    endless.resize(3 << 20, b'h');
    let message = send(&stage, "?name=x", endless).await.failure(400, "bad_request");
    assert!(message.contains("too long"), "{message}");
}
