//! Bytes out: whole files, ranges, conditions, directories, and what is not there.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::rig::{Answer, Gateway, noise};
use offswarm::off::OffUrl;

const LENGTH: usize = 1_000_000;

/// A path that names the same file without the store that has it.
async fn lost() -> OffUrl {
    Gateway::start().await.put(&noise(300_000), "video/mp4", "lost.mp4")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_of_a_file_is_served() {
    let gateway = Gateway::start().await;
    let bytes = noise(LENGTH);
    let url = gateway.put(&bytes, "video/mp4", "a film.mp4");
    let path = url.path();
    let whole = gateway.get(&path, &[]).await;
    assert_eq!(whole.whole(), (200, &*bytes));
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, max-age=31536000, immutable"),
        ("etag", &format!("\"{}\"", url.file())),
        ("content-disposition", "inline; filename=\"a film.mp4\""),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("131000-131100", 131_000, 131_101),
        ("500000-599999", 500_000, 600_000),
        ("999999-", 999_999, LENGTH),
        ("-1", 999_999, LENGTH),
        ("-300000", 700_000, LENGTH),
        ("900000-99999999999999999999", 900_000, LENGTH),
    ] {
        let answer = gateway.get(&path, &[&format!("Range: bytes={range}")]).await;
        assert_eq!(answer.whole(), (206, &bytes[start..end]), "{range}");
        let placed = format!("bytes {start}-{}/{LENGTH}", end - 1);
        assert_eq!(answer.header("content-range"), Some(&*placed), "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_the_same_table() {
    let gateway = Gateway::start().await;
    let bytes = noise(LENGTH);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    for (args, expected) in [
        (&[][..], &bytes[..]),
        (&["--range", "0-9"], &bytes[..10]),
        (&["--range", "400000-499999"], &bytes[400_000..500_000]),
        (&["--range", "-7"], &bytes[LENGTH - 7..]),
        (&["--continue-at", "999000"], &bytes[999_000..]),
    ] {
        let got = gateway.curl(args, &path).await;
        assert!(got.status.success(), "{args:?} {got:?}");
        assert!(got.stdout == expected, "{args:?}");
    }
    let head = gateway.curl(&["--head"], &path).await;
    let head = String::from_utf8(head.stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 1000000"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_come_as_parts() {
    let gateway = Gateway::start().await;
    let bytes = noise(LENGTH);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    let answer = gateway.get(&path, &["Range: bytes=0-9, 500000-700000 ,-5"]).await;
    let (status, body) = answer.whole();
    assert_eq!(status, 206);
    let boundary = answer.header("content-type").unwrap();
    let boundary = boundary.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (start, end) in [(0, 10), (500_000, 700_001), (LENGTH - 5, LENGTH)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\n\
             Content-Range: bytes {start}-{}/{LENGTH}\r\n\r\n",
            end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&bytes[start..end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(body == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_cannot_be_are_refused_or_ignored() {
    let gateway = Gateway::start().await;
    let bytes = noise(LENGTH);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    let many: Vec<_> = (0..10_000).map(|at| format!("{at}-{at}")).collect();
    let many = format!("bytes={}", many.join(","));
    let small: Vec<_> = (0..3_000).map(|at| format!("{at}-")).collect();
    let overlapping = format!("bytes={}", small.join(","));
    for range in ["bytes=1000000-", "bytes=-0", "bytes=9223372036854775808-", "bytes=0-,0-"] {
        let answer = gateway.get(&path, &[&format!("Range: {range}")]).await;
        assert_eq!(answer.whole().0, 416, "{range}");
        assert_eq!(answer.header("content-range"), Some("bytes */1000000"), "{range}");
    }
    // 10,000 ranges are 110 KB: more than a head may have.
    assert_eq!(gateway.get(&path, &[&format!("Range: {many}")]).await.status, 431);
    assert_eq!(gateway.get(&path, &[&format!("Range: {overlapping}")]).await.status, 416);
    for range in ["bytes=x", "lines=1-2", "bytes=5-1"] {
        let answer = gateway.get(&path, &[&format!("Range: {range}")]).await;
        assert_eq!(answer.whole(), (200, &*bytes), "{range}");
    }
    // Twice the same header is none.
    let twice = ["Range: bytes=0-1", "Range: bytes=2-3"];
    assert_eq!(gateway.get(&path, &twice).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_kept() {
    let gateway = Gateway::start().await;
    let url = gateway.put(&noise(1000), "text/plain", "a");
    let (path, tag) = (url.path(), format!("\"{}\"", url.file()));
    let range = "Range: bytes=0-9";
    for (lines, status) in [
        (vec![format!("If-None-Match: {tag}")], 304),
        (vec![format!("If-None-Match: \"x\", W/{tag}")], 304),
        (vec!["If-None-Match: *".into()], 304),
        (vec!["If-None-Match: \"x\"".into()], 200),
        (vec![format!("If-Match: {tag}")], 200),
        (vec!["If-Match: *".into()], 200),
        (vec!["If-Match: \"x\"".into()], 412),
        (vec![format!("If-Match: W/{tag}")], 412),
        (vec![range.into(), format!("If-Range: {tag}")], 206),
        (vec![range.into(), "If-Range: \"x\"".into()], 200),
        (vec![range.into(), format!("If-Range: W/{tag}")], 200),
        (vec![range.into(), "If-Range: Wed, 21 Oct 2015 07:28:00 GMT".into()], 200),
        (vec![range.into(), "If-Range: nonsense".into()], 200),
        (vec![range.into(), format!("If-None-Match: {tag}")], 304),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let answer = gateway.get(&path, &lines).await;
        assert_eq!(answer.status, status, "{lines:?}");
        if status == 304 {
            assert!(answer.body.is_empty() && answer.header("etag") == Some(&*tag));
        }
    }
}

/// `HEAD` and what the client has already need no block.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_block_does_not_look_for_one() {
    let gateway = Gateway::start().await;
    let url = lost().await;
    let head = gateway.ask("HEAD", &url.path(), &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
    assert!(head.body.is_empty());
    let tag = format!("If-None-Match: \"{}\"", url.file());
    assert_eq!(gateway.get(&url.path(), &[&tag]).await.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_block_is_404_and_says_why() {
    let gateway = Gateway::start().await;
    for lines in [&[][..], &["Range: bytes=-10"], &["Range: bytes=0-1,5-6"]] {
        let answer = gateway.get(&lost().await.path(), lines).await;
        let (status, _) = answer.whole();
        assert_eq!(
            (status, answer.header("content-type")),
            (404, Some("text/plain; charset=utf-8"))
        );
        assert!(answer.text().contains("not found") || answer.text().contains("missing"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_file_is_served() {
    let gateway = Gateway::start().await;
    let path = gateway.put(b"", "text/plain", "").path();
    assert_eq!(gateway.get(&path, &[]).await.whole(), (200, &[][..]));
    assert_eq!(gateway.get(&path, &["Range: bytes=0-"]).await.status, 416);
}

/// A block that is damaged in the middle: what came before it was sent, and then the connection is
/// cut before the length that was announced, so that nobody takes it for the whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_cuts_the_connection() {
    let gateway = Gateway::start().await;
    let bytes = noise(8 << 20);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    gateway.damage(60);
    let got = gateway.curl(&[], &path).await;
    assert_eq!(got.status.code(), Some(18), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(!got.stdout.is_empty() && got.stdout.len() < bytes.len());
    assert!(bytes.starts_with(&got.stdout));
}

/// The blocks are right and the URL lies about what they are: the last bytes are kept back.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_id_never_looks_like_the_whole_file() {
    let gateway = Gateway::start().await;
    let (one, other) = (noise(400_000), noise(500_000));
    let one = gateway.put(&one, "video/mp4", "film");
    let other = gateway.put(&other, "video/mp4", "film");
    let path = one.path().replace(&one.file().to_string(), &other.file().to_string());
    let got = gateway.curl(&[], &path).await;
    assert_eq!(got.status.code(), Some(18), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(got.stdout.len() < 400_000);
    // What is in one block is known to be wrong before anything is sent.
    let short = gateway.put(&noise(1000), "video/mp4", "film");
    let path = short.path().replace(&short.file().to_string(), &other.file().to_string());
    let answer = gateway.get(&path, &[]).await;
    assert_eq!(answer.whole().0, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_at_once_get_the_same() {
    let gateway = Gateway::start().await;
    let bytes = noise(6_000_000);
    let path = gateway.put(&bytes, "video/mp4", "film").path();
    let clients = (0..8).map(|_| gateway.get(&path, &[]));
    for answer in futures_util::future::join_all(clients).await {
        assert!(answer.whole() == (200, &*bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let gateway = Gateway::start().await;
    let path = gateway.put(b"hello", "text/plain", "a").path();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = |last: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
    let two = request("") + &request("Connection: close\r\n");
    stream.write_all(two.as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert!(answer.text().starts_with("helloHTTP/1.1 200 OK") && answer.text().ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_its_index_a_listing_or_a_member() {
    let gateway = Gateway::start().await;
    let site = [("index.html", "<h1>hi"), ("img/dot.svg", "<svg/>"), ("docs/a b.txt", "text")];
    let url = gateway.put_tree(&site);
    let path = url.path();
    let (base, parameters) = path.split_once('?').unwrap();
    let member = |member: &str| format!("{base}/{member}?{parameters}");
    let index = gateway.get(&path, &[]).await;
    assert_eq!(index.whole(), (200, &b"<h1>hi"[..]));
    assert_eq!(index.header("content-type"), Some("text/html"));
    assert_eq!(index.header("content-disposition"), Some("inline; filename=\"index.html\""));
    let found = gateway.get(&member("docs/a%20b.txt"), &["Range: bytes=1-2"]).await;
    assert_eq!(found.whole(), (206, &b"ex"[..]));
    let image = gateway.get(&member("img/dot.svg"), &[]).await;
    assert_eq!(image.header("content-type"), Some("image/svg+xml"));
    let unknown = gateway.get(&member("img/no.svg"), &[]).await;
    assert_eq!((unknown.status, unknown.text()), (404, "Resource Not Found\n"));
    let listing = gateway.get(&member("docs/"), &[]).await;
    assert_eq!(listing.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(listing.text().contains(">a b.txt</a>") && !listing.text().contains("dot.svg"));
    assert_eq!(gateway.get(&member("nowhere/"), &[]).await.status, 404);
    let raw = gateway.get(&format!("{path}&ofd=raw"), &[]).await;
    assert_eq!((raw.whole().0, raw.header("content-type")), (200, Some("text/json")));
    let listed: serde_json::Value = serde_json::from_slice(&raw.body).unwrap();
    assert_eq!(listed.as_object().unwrap().len(), 3);
    // Without an index there is a list, and its links work.
    let path = gateway.put_tree(&site[1..]).path();
    let listing = gateway.get(&path, &[]).await;
    let link = listing.text().split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    let followed = gateway.get(&link.replace("&amp;", "&"), &[]).await;
    assert_eq!(followed.whole(), (200, &b"text"[..]), "{link}");
}

/// The key stands behind the `?` of the directory's URL, where relative links lose it, and so a
/// browser that opens a page of the site is sent to where they do not.
#[tokio::test(flavor = "multi_thread")]
async fn relative_links_of_a_stored_site_lead_somewhere() {
    let gateway = Gateway::start().await;
    let site = [
        ("index.html", "<a href=sub/>"),
        ("sub/index.html", "<img src=../a.css>"),
        ("a.css", "b{}"),
    ];
    let path = gateway.put_tree(&site).path();
    let opens = &["Sec-Fetch-Mode: navigate"];
    let moved = gateway.get(&path, opens).await;
    assert_eq!(moved.status, 302);
    let root = moved.header("location").unwrap();
    assert!(root.ends_with("/site.ofd/") && !root.contains('?'), "{root}");
    assert_eq!(gateway.get(root, opens).await.whole(), (200, &b"<a href=sub/>"[..]));
    let sub = gateway.get(&format!("{root}sub"), opens).await;
    let sub = sub.header("location").unwrap();
    assert_eq!(gateway.get(sub, opens).await.text(), "<img src=../a.css>");
    assert_eq!(gateway.get(&format!("{root}a.css"), &[]).await.text(), "b{}");
    assert_eq!(gateway.get(&format!("{root}?ofd=raw"), opens).await.status, 200);
}
