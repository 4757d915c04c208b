//! How the program is configured, and what it logs.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::http::Context;

use super::answers::{Asked, Failure, Nothing, Told};

pub(super) async fn config(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<serde_json::Value> {
    Json((context.config)())
}

/// What is logged.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    filter: String,
}

pub(super) async fn log(
    State(context): State<Context>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<Log> {
    Json(Log { filter: context.log.filter() })
}

pub(super) async fn set_log(
    State(context): State<Context>,
    Told(Log { filter }): Told<Log>,
) -> Result<Json<Log>, Failure> {
    context.log.set(&filter).map_err(|why| {
        let filter = crate::id::excerpt(&filter);
        Failure::bad_request(format!("cannot log by the filter {filter:?}: {why}"))
            .hint("a filter is such as info, or warn,offswarm::peer=debug")
    })?;
    Ok(Json(Log { filter: context.log.filter() }))
}
