//! `dht get` and `dht put`.

use std::io::Read;

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::bencode::{put_string, string};
use crate::cli::args::{GetItemArgs, Global, PutItemArgs};
use crate::cli::exit::{CliError, Exit};
use crate::cli::home::parse_url;
use crate::cli::output::{Output, inert};
use crate::id::{BlockId, InfoHash, ItemKey, Target};
use crate::krpc::driver::{News, Records};
use crate::krpc::item::{Item, ItemError, ItemSecret, MutableItem, Value};
use crate::krpc::machine::{Aim, Outcome};
use crate::krpc::message::KrpcError;
use crate::krpc::rendezvous::Record;
use crate::limits::dht::{MAX_SALT_LEN, MAX_VALUE_LEN};
use crate::off::OffUrl;
use crate::swarm::announce::dht::unix;

use super::keys::read_secret;
use super::peers::{descriptor, is_url};
use super::session::Session;

#[derive(Serialize)]
struct ShownItem {
    target: Target,
    /// The value, if it is a string and text.
    text: Option<String>,
    /// The bencoded value in hexadecimal digits.
    bencode: String,
    #[serde(flatten)]
    signed: Option<Signed>,
}

/// What only mutable items have.
#[derive(Serialize)]
struct Signed {
    key: ItemKey,
    /// In hexadecimal digits.
    salt: String,
    seq: i64,
    /// In hexadecimal digits.
    signature: String,
}

impl From<&MutableItem> for Signed {
    fn from(item: &MutableItem) -> Self {
        Self {
            key: item.key(),
            salt: HEXLOWER.encode(item.salt()),
            seq: item.seq(),
            signature: HEXLOWER.encode(item.signature()),
        }
    }
}

/// The text that a value is, if it is a string of it.
fn text(value: &Value) -> Option<String> {
    String::from_utf8(string(value.as_bytes())?.to_vec()).ok()
}

/// A value for people: nothing in it acts on a terminal, but that a text may have lines.
fn readable(value: &Value) -> String {
    if let Some(text) = text(value) {
        return text.split('\n').map(inert).collect::<Vec<_>>().join("\n");
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(bencode) => inert(bencode),
        Err(_) => value.as_bytes().escape_ascii().to_string(),
    }
}

pub(super) async fn get(
    global: &Global,
    args: &GetItemArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let salt = check_salt(&args.salt)?;
    let target = match (&args.key, &args.what) {
        (Some(key), _) => MutableItem::target_of(key, salt),
        (None, Some(what)) if is_url(what) => {
            return get_records(global, &parse_url(what)?, args, output).await;
        }
        (None, what) => Target::parse(what.as_deref().unwrap_or_default())
            .map_err(|error| CliError::usage("cannot read the target", error))?,
    };
    let session = Session::join(global, &args.ask, output).await?;
    let found = newest(&session, target, salt).await.0;
    session.leave().await;
    let Some(item) = found else {
        let hint = "an item of a key that has a salt is only found with --salt";
        let error = CliError::new(Exit::NotFound, "the item was not found");
        return Err(if args.salt.is_empty() { error.hint(hint) } else { error });
    };
    if args.raw {
        output.data(item.value().as_bytes())?;
        return Ok(Exit::Done);
    }
    let shown = ShownItem {
        target,
        text: text(item.value()),
        bencode: HEXLOWER.encode(item.value().as_bytes()),
        signed: item.mutable().map(Signed::from),
    };
    output.result(&readable(item.value()), &shown)?;
    Ok(Exit::Done)
}

/// The item of a name, the one of the highest number if there are several; and whether all nodes
/// were heard in time.
async fn newest(session: &Session, target: Target, salt: &[u8]) -> (Option<Item>, bool) {
    let mut newest: Option<Item> = None;
    let mut search = session.begin(Aim::Item { target, salt: salt.to_vec() }).await;
    while let Some(news) = session.next(&mut search).await {
        let News::Item(item) = news else { continue };
        if item.mutable().is_none() {
            // There is no other one.
            return (Some(item), true);
        }
        let seq = |item: &Item| item.mutable().map(MutableItem::seq);
        if newest.as_ref().is_none_or(|known| seq(known) < seq(&item)) {
            newest = Some(item);
        }
    }
    (newest, session.outcome(search).await.is_some())
}

#[derive(Serialize)]
struct ShownRecord {
    infohash: InfoHash,
    /// Blocks of that torrent, as the record says.
    blocks: u64,
    target: Target,
    #[serde(flatten)]
    signed: Signed,
}

async fn get_records(
    global: &Global,
    url: &OffUrl,
    args: &GetItemArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let descriptor = descriptor(url)?;
    let session = Session::join(global, &args.ask, output).await?;
    let records = find_records(&session, &descriptor).await;
    session.leave().await;
    for (record, item) in &records {
        let Record { infohash, blocks } = *record;
        let shown =
            ShownRecord { infohash, blocks, target: item.target(), signed: Signed::from(item) };
        if args.raw {
            output.data(item.value().as_bytes())?;
        } else {
            output.result(&format!("{infohash} {blocks} blocks"), &shown)?;
        }
    }
    if records.is_empty() {
        return Err(CliError::new(Exit::NotFound, "no record of the OFF URL was found"));
    }
    Ok(Exit::Done)
}

/// The records of an OFF URL, newest first. Each is somebody's word, who knows the URL.
pub(super) async fn find_records(
    session: &Session,
    descriptor: &BlockId,
) -> Vec<(Record, MutableItem)> {
    let mut search = Records::search(&session.dht, *descriptor, unix()).await;
    let mut records: Vec<(Record, MutableItem)> = Vec::new();
    while let Some((record, item)) = session.in_time(search.next()).await.flatten() {
        match records.iter_mut().find(|(known, _)| *known == record) {
            Some((_, known)) if known.seq() < item.seq() => *known = item,
            Some(_) => {}
            None => records.push((record, item)),
        }
    }
    records.sort_by_key(|(_, item)| std::cmp::Reverse(item.seq()));
    records
}

/// What a node said that did not take something.
#[derive(Serialize)]
pub(super) struct ShownRefusal {
    code: i64,
    message: String,
}

impl From<KrpcError> for ShownRefusal {
    fn from(KrpcError { code, message }: KrpcError) -> Self {
        Self { code, message }
    }
}

impl ShownRefusal {
    /// What the code says (BEP 5, BEP 44).
    const fn meaning(&self) -> &'static str {
        match self.code {
            201 => "something went wrong there",
            202 => "something went wrong in the server",
            203 => "the query is not one it takes",
            204 => "it keeps no such things",
            205 => "the value is too long",
            206 => "the signature is not valid",
            207 => "the salt is too long",
            301 => "another version is kept there than --cas says",
            302 => "a newer version is kept there, or this one with another value",
            _ => "the code is not known",
        }
    }

    fn text(&self) -> String {
        format!("error {}, {}: \"{}\"", self.code, self.meaning(), inert(&self.message))
    }

    /// Nobody took something; here is why.
    pub(super) fn of_all(refused: Option<Self>, what: &str) -> CliError {
        let Some(refused) = refused else {
            return CliError::new(Exit::NotFound, format!("no node took {what} in time"));
        };
        let text = refused.text();
        let error = CliError::new(Exit::Failed, format!("no node took {what}: {text}"));
        match refused.code {
            301 => error.hint("get the item and see which version is there now"),
            302 => error.hint("give a higher --seq, or leave it out"),
            _ => error,
        }
    }
}

#[derive(Serialize)]
struct ShownPut {
    target: Target,
    key: Option<ItemKey>,
    seq: Option<i64>,
    /// Nodes that keep it.
    nodes: u32,
    /// What the first one said that does not.
    refused: Option<ShownRefusal>,
}

impl ShownPut {
    fn lines(&self) -> String {
        let mut lines = vec![format!("target    {}", self.target)];
        lines.extend(self.key.iter().map(|key| format!("key       {key}")));
        lines.extend(self.seq.iter().map(|seq| format!("seq       {seq}")));
        lines.push(format!("nodes     {}", self.nodes));
        lines.join("\n")
    }
}

pub(super) async fn put(
    global: &Global,
    args: PutItemArgs,
    output: &Output,
) -> Result<Exit, CliError> {
    let salt = check_salt(args.salt.as_deref().unwrap_or_default())?.to_vec();
    let secret = args.key_file.as_deref().map(read_secret).transpose()?;
    let value = value(args.value, args.bencode, output).await?;
    let session = Session::join(global, &args.ask, output).await?;
    let item = match secret {
        Some(secret) => {
            let seq = match args.seq {
                Some(seq) => seq,
                None => next_seq(&session, &secret, &salt).await?,
            };
            let signed = secret.sign(&salt, seq, value);
            Item::Mutable(signed.map_err(|error| CliError::usage("cannot sign the item", error))?)
        }
        None => Item::Immutable(value),
    };
    let search = session.begin(Aim::Put { item: item.clone(), cas: args.cas }).await;
    let Outcome { stored, refused, .. } = session.outcome(search).await.unwrap_or_default();
    session.leave().await;
    let shown = ShownPut {
        target: item.target(),
        key: item.mutable().map(MutableItem::key),
        seq: item.mutable().map(MutableItem::seq),
        nodes: stored,
        refused: refused.map(ShownRefusal::from),
    };
    if shown.nodes == 0 {
        return Err(ShownRefusal::of_all(shown.refused, "the item"));
    }
    output.result(&shown.lines(), &shown)?;
    if let Some(refused) = &shown.refused {
        output.remark(&format!("not all nodes took it: {}", refused.text()));
    }
    Ok(Exit::Done)
}

/// The number after the highest that is kept.
async fn next_seq(session: &Session, secret: &ItemSecret, salt: &[u8]) -> Result<i64, CliError> {
    let target = MutableItem::target_of(&secret.key(), salt);
    let (newest, is_heard) = newest(session, target, salt).await;
    let highest = newest.as_ref().and_then(Item::mutable).map_or(0, MutableItem::seq);
    if !is_heard {
        let error = CliError::new(Exit::NotFound, "the kept version was not found out in time");
        return Err(error.hint("give its number and one more as --seq, or a longer --timeout"));
    }
    highest.checked_add(1).ok_or_else(|| {
        CliError::new(Exit::Failed, "the highest number there can be is kept already")
            .hint("use another --salt")
    })
}

fn check_salt(salt: &str) -> Result<&[u8], CliError> {
    let len = salt.len();
    if len > MAX_SALT_LEN {
        return Err(CliError::new(Exit::Usage, ItemError::SaltTooLong { len }));
    }
    Ok(salt.as_bytes())
}

async fn value(given: String, bencode: bool, output: &Output) -> Result<Value, CliError> {
    let given = if given == "-" { read_stdin(output).await? } else { given.into_bytes() };
    let bytes = if bencode {
        given
    } else {
        let mut bytes = Vec::new();
        put_string(&mut bytes, given);
        bytes
    };
    Value::check(&bytes).map_err(|error| CliError::usage("cannot use the value", error))
}

/// Reads a value, and some more to see that it is too long.
async fn read_stdin(output: &Output) -> Result<Vec<u8>, CliError> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        output.remark("reading the value from standard input");
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        let most = 2 * MAX_VALUE_LEN as u64;
        std::io::stdin().take(most).read_to_end(&mut bytes).map(|_| bytes)
    });
    let failed = |error| CliError::failed("cannot read standard input", error);
    read.await.map_err(|error| failed(error.into()))?.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable_and_do_nothing_to_a_terminal() {
        for (value, shown) in [
            (&b"6:h\xc3\xa4llo"[..], "h\u{e4}llo"),
            (b"3:a\nb", "a\nb"),
            (b"4:\x1b[2J", "\\u{1b}[2J"),
            (b"d1:ai1ee", "d1:ai1ee"),
            (b"3:\xff\x00a", "3:\\xff\\x00a"),
        ] {
            assert_eq!(readable(&Value::check(value).unwrap()), shown);
        }
    }
}
