//! Datagrams to messages.

use super::{
    Body, Extra, InfoHash, ItemKey, KrpcError, Message, MessageError, Method, NodeId, Query,
    RawItem, Response, Target, Want,
};
use crate::address::from_compact;
use crate::bencode::{Dict, Token, Tokens};
use crate::id::excerpt;
use crate::krpc::contact::{Contact, Family};
use crate::krpc::native::{OffAnswer, OffQuery};
use crate::limits::dht::{MAX_EXTRA_LEN, MAX_TOKEN_LEN, MAX_VALUES};

/// Keys that are understood at the top of a message, in a query and in an answer.
const TOP: [&str; 9] = ["a", "e", "ip", "q", "r", "ro", "t", "v", "y"];
const ANSWER: [&str; 10] =
    ["id", "k", "nodes", "nodes6", "off", "seq", "sig", "token", "v", "values"];

impl Message {
    /// Reads a datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, MessageError> {
        let top = Dict::check(datagram)?;
        let form = MessageError::Form;
        let transaction = top.string("t").ok_or(form("it has no transaction id"))?.to_vec();
        let body = match top.string("y") {
            Some(b"q") => {
                let lacks = |lacks| MessageError::Query { transaction: transaction.clone(), lacks };
                Body::Query(Box::new(query(&top).map_err(lacks)?))
            }
            Some(b"r") => {
                let answer = top.dict("r").ok_or(form("it answers nothing"))?;
                Body::Response(Box::new(response(&answer).ok_or(form("it has no id"))?))
            }
            Some(b"e") => Body::Error(error(top.raw("e").unwrap_or_default())),
            _ => return Err(form("it is neither query nor answer")),
        };
        Ok(Self {
            transaction,
            body,
            version: top.string("v").map(<[u8]>::to_vec),
            ip: top.string("ip").and_then(from_compact),
            read_only: top.integer("ro") == Some(1),
            extra: extra(&top, &TOP),
        })
    }
}

/// Reads a query, or says what it lacks.
fn query(top: &Dict<'_>) -> Result<Query, &'static str> {
    let name = top.string("q").ok_or("a method")?;
    let arguments = top.dict("a").ok_or("arguments")?;
    let (method, known) = method(name, &arguments)?;
    let mut known = known.to_vec();
    known.extend(["id", "off", "token", "want"]);
    Ok(Query {
        id: id20(&arguments, "id").map(NodeId::from_bytes).ok_or("an id")?,
        method,
        want: want(arguments.raw("want").unwrap_or_default()),
        token: token(&arguments),
        off: arguments.dict("off").and_then(|off| OffQuery::from_dict(&off)),
        extra: extra(&arguments, &known),
    })
}

/// Reads what is asked, and which arguments that takes.
fn method(
    name: &[u8],
    arguments: &Dict<'_>,
) -> Result<(Method, &'static [&'static str]), &'static str> {
    let target = || id20(arguments, "target").map(Target::from_bytes).ok_or("a target");
    let infohash = || id20(arguments, "info_hash").map(InfoHash::from_bytes).ok_or("an infohash");
    Ok(match name {
        b"ping" => (Method::Ping, &[]),
        b"find_node" => (Method::FindNode { target: target()? }, &["target"]),
        b"get_peers" => (Method::GetPeers { infohash: infohash()? }, &["info_hash"]),
        b"announce_peer" => {
            let flag = |key| arguments.integer(key).is_some_and(|number| number != 0);
            let implied_port = flag("implied_port");
            let port = port(arguments);
            let port = port.or(implied_port.then_some(0)).ok_or("a port")?;
            let (infohash, seed) = (infohash()?, flag("seed"));
            let method = Method::AnnouncePeer { infohash, port, implied_port, seed };
            (method, &["implied_port", "info_hash", "port", "seed"])
        }
        b"get" => {
            let seq = arguments.integer("seq");
            (Method::Get { target: target()?, seq }, &["seq", "target"])
        }
        b"put" => {
            let salt = arguments.string("salt").unwrap_or_default();
            let item =
                item(arguments, salt).filter(|item| item.value.is_some()).ok_or("a value")?;
            let cas = arguments.integer("cas");
            (Method::Put { item, cas }, &["cas", "k", "salt", "seq", "sig", "v"])
        }
        b"off_find" => (Method::OffFind { target: target()? }, &["target"]),
        _ => {
            let target = ["target", "info_hash"].iter().find_map(|key| id20(arguments, key));
            let target = target.map(Target::from_bytes);
            (Method::Unknown { name: name.to_vec(), target }, &["info_hash", "target"])
        }
    })
}

/// The port of an announce. aria2 writes it as a string of digits.
fn port(arguments: &Dict<'_>) -> Option<u16> {
    let digits = || std::str::from_utf8(arguments.string("port")?).ok()?.parse().ok();
    let number = arguments.integer("port").and_then(|port| u16::try_from(port).ok());
    number.or_else(digits)
}

fn response(answer: &Dict<'_>) -> Option<Response> {
    let nodes = |key, family| {
        let nodes = answer.string(key)?;
        Some(Contact::all_from(nodes, family).collect())
    };
    Some(Response {
        id: NodeId::from_bytes(id20(answer, "id")?),
        nodes: nodes("nodes", Family::V4),
        nodes6: nodes("nodes6", Family::V6),
        values: strings(answer.raw("values").unwrap_or_default())
            .filter_map(from_compact)
            .take(MAX_VALUES)
            .collect(),
        token: token(answer),
        item: item(answer, &[]),
        off: answer.dict("off").and_then(|off| OffAnswer::from_dict(&off)),
        extra: extra(answer, &ANSWER),
    })
}

/// Reads `[code, words]`; whoever writes something else has refused all the same.
fn error(list: &[u8]) -> KrpcError {
    let (mut code, mut message) = (0, String::new());
    for token in Tokens::of(list).take(3) {
        match token {
            Token::Integer(number) => code = number,
            Token::String(words) => message = excerpt(&String::from_utf8_lossy(words)),
            Token::List | Token::Dict | Token::End => {}
        }
    }
    KrpcError { code, message }
}

fn item(fields: &Dict<'_>, salt: &[u8]) -> Option<RawItem> {
    let item = RawItem {
        value: fields.raw("v").map(<[u8]>::to_vec),
        key: fields.string("k").and_then(ItemKey::from_slice),
        signature: fields.string("sig").and_then(|bytes| bytes.try_into().ok()),
        salt: salt.to_vec(),
        seq: fields.integer("seq"),
    };
    (item != RawItem::default()).then_some(item)
}

fn want(list: &[u8]) -> Want {
    let mut want = Want::default();
    for family in strings(list) {
        want.v4 |= family == b"n4";
        want.v6 |= family == b"n6";
    }
    want
}

fn token(fields: &Dict<'_>) -> Option<Vec<u8>> {
    fields.string("token").filter(|token| token.len() <= MAX_TOKEN_LEN).map(<[u8]>::to_vec)
}

fn id20(fields: &Dict<'_>, key: &str) -> Option<[u8; 20]> {
    fields.string(key)?.try_into().ok()
}

/// The strings that a list begins with.
fn strings(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut tokens = Tokens::of(list);
    let is_list = tokens.next() == Some(Token::List);
    tokens.filter(move |_| is_list).map_while(|token| match token {
        Token::String(string) => Some(string),
        _ => None,
    })
}

/// What is not understood, as much of it as is kept.
fn extra(dict: &Dict<'_>, known: &[&str]) -> Extra {
    let mut left = MAX_EXTRA_LEN;
    let others = dict.others(known).map(|(key, value)| (key.to_vec(), value.to_vec()));
    others
        .take_while(|(key, value)| {
            let fits = left.checked_sub(key.len() + value.len());
            left = fits.unwrap_or(0);
            fits.is_some()
        })
        .collect()
}
