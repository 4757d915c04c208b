//! A session without a network behind the API, and whoever asks it.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::client::fetch::Ways;
use crate::client::put::PutOptions;
use crate::client::session::Session;
use crate::http::{Access, Context, LogLevel, Meter, Metrics, ServiceStatus, Services};
use crate::off::OffUrl;

use super::schema::faults;

/// Services that do what they are told.
#[derive(Default)]
pub(super) struct Board(pub(super) Mutex<Vec<ServiceStatus>>);

impl Services for Board {
    fn statuses(&self) -> Vec<ServiceStatus> {
        self.0.lock().unwrap().clone()
    }

    fn restart(&self, name: &str) -> bool {
        let mut services = self.0.lock().unwrap();
        let found = services.iter_mut().find(|service| service.name == name);
        found.map(|service| service.restarts += 1).is_some()
    }

    fn panic(&self, name: &str) -> bool {
        let mut services = self.0.lock().unwrap();
        let found = services.iter_mut().find(|service| service.name == name);
        found.map(|service| (service.state, service.health) = ("backing_off", "failed")).is_some()
    }
}

#[derive(Default)]
struct Log(Mutex<String>);

impl LogLevel for Log {
    fn filter(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, filter: &str) -> Result<(), String> {
        if filter.contains(' ') {
            return Err("it has a space in it".into());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

pub(super) struct Stage {
    pub(super) context: Context,
    pub(super) board: Arc<Board>,
    app: Router,
    document: Value,
    _home: tempfile::TempDir,
}

/// An answer that has come.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The message of a failure, which has the code expected.
    pub(super) fn failure(&self, status: u16, code: &str) -> String {
        let error = &self.json()["error"];
        assert_eq!((self.status.as_u16(), &error["code"]), (status, &Value::from(code)), "{error}");
        error["message"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let client = Client::open_seeded(&home.path().join("home"), 7).unwrap();
        let board = Arc::new(Board::default());
        board.0.lock().unwrap().push(ServiceStatus {
            name: "swarms".into(),
            state: "running",
            health: "ok",
            reason: None,
            restarts: 0,
            last_error: None,
            since: SystemTime::now(),
        });
        let config = serde_json::json!({"file": "/c.toml", "config": [{
            "key": "http.listen", "value": "127.0.0.1:23402", "origin": "default",
            "flag": "--http-listen", "environment": "OFFSWARM_HTTP_LISTEN",
            "default": "127.0.0.1:23402", "about": "where",
        }]});
        let context = Context {
            session: Session::new(client, Ways { offline: true, ..Ways::default() }),
            board: board.clone(),
            config: Arc::new(move || config.clone()),
            log: Arc::new(Log::default()),
            meter: Arc::new(Meter::default()),
            metrics: Arc::new(Metrics::default()),
            access: Access {
                token: None,
                hosts: Vec::new(),
                loopback: true,
                may_inject_faults: false,
            },
            started: SystemTime::now(),
            listen: "127.0.0.1:23402".parse().unwrap(),
            stop: CancellationToken::new(),
        };
        let app = super::super::router().with_state(context.clone());
        let document = serde_json::from_str(super::super::OPENAPI).unwrap();
        Self { context, board, app, document, _home: home }
    }

    /// The same with another context.
    pub(super) fn with(self, context: Context) -> Self {
        Self { app: super::super::router().with_state(context.clone()), context, ..self }
    }

    pub(super) fn client(&self) -> &Client {
        self.context.session.client()
    }

    /// Puts a text of so many bytes.
    pub(super) fn put(&self, name: &str, length: usize) -> OffUrl {
        let options = PutOptions {
            name: name.into(),
            content_type: "text/plain".into(),
            ..PutOptions::default()
        };
        let text = vec![b'x'; length];
        self.client().put(&mut text.as_slice(), &options, &mut |_| ()).unwrap().url
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &body.to_string()).await
    }

    /// Asks, waits for the whole answer, and holds it against what is documented.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let method = request.method().as_str().to_lowercase();
        let path = request.uri().path().to_owned();
        let response = self.begin(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer { status, headers, text };
        self.check(&method, &path, &answer);
        answer
    }

    /// Asks, and does not wait for what has no end.
    pub(super) async fn begin(&self, request: Request<Body>) -> axum::response::Response {
        TowerToHyperService::new(self.app.clone()).call(request).await.unwrap()
    }

    /// The description of a path that may have parameters in it.
    fn described(&self, path: &str) -> Option<&Value> {
        let paths = self.document["paths"].as_object().unwrap();
        let is_template = |template: &str| match template.split_once('{') {
            Some((before, _)) => path.starts_with(before),
            None => template == path,
        };
        paths.get(path).or_else(|| paths.iter().find(|(one, _)| is_template(one)).map(|(_, it)| it))
    }

    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let described = self.described(path).map(|path| &path[method]);
        let error = serde_json::json!({"$ref": "#/components/schemas/Error"});
        let schema = match described {
            Some(described) if !described.is_null() => {
                let status = answer.status.as_str();
                let response = &described["responses"][status];
                assert!(!response.is_null(), "{status} of {method} {path} is not documented");
                let content = response["content"].as_object().unwrap();
                let (media, content) = content.iter().next().unwrap();
                let found = answer.headers["content-type"].to_str().unwrap();
                assert!(found.starts_with(media.as_str()), "{found} where {media} is documented");
                if media != "application/json" {
                    return;
                }
                &content["schema"]
            }
            _ if method == "head" => return,
            _ => &error,
        };
        let found = faults(&self.document, schema, &answer.json());
        assert_eq!(found, Vec::<String>::new(), "{method} {path}: {}", answer.text);
    }

    /// Holds a value against a schema by its name.
    pub(super) fn is_a(&self, name: &str, value: &Value) {
        let schema = &self.document["components"]["schemas"][name];
        assert_eq!(faults(&self.document, schema, value), Vec::<String>::new());
    }

    /// Paths and methods that are documented.
    pub(super) fn documented(&self) -> Vec<(String, Vec<String>)> {
        let paths = self.document["paths"].as_object().unwrap();
        let methods = |item: &Value| {
            let mut methods: Vec<String> =
                item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
            methods.sort_unstable();
            methods
        };
        paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
    }
}
