//! The HTTP front end: the gateway of OFF URLs, the JSON API, and the web page.
//!
//! | module | what it does |
//! |---|---|
//! | `server` | connections: how many, how long, how large |
//! | `guard` | who may ask: Host, Origin, token; the headers every answer carries |
//! | `gateway` | `/offsystem/...` and `/v4/...`: bytes of OFF URLs out, files in |
//! | `api` | `/api/...`, `/metrics`, `/healthz`, `/readyz` |
//! | `page` | the web page, embedded |

mod api;
mod context;
mod gateway;
mod guard;
mod page;

pub use api::meter::{Meter, Rates, Sample, run as run_meter};
pub use api::metrics::Metrics;
pub use context::{Access, Context, LogLevel, ServiceStatus, Services};
pub use guard::Token;
