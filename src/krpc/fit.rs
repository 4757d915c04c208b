//! Cutting an answer to the length it may have.
//!
//! Before an address has shown that it is whoever asks (ATTACKS 14), an answer is no longer than the
//! question. What goes first is what others have as well: gossip, courtesies, far nodes; peers and
//! the token stay longest, because only we can give them.

use super::message::{Body, Message, Response};

/// The datagram of a message, in at most `limit` bytes. `None` if nothing useful fits.
#[must_use]
pub fn fit(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    loop {
        let datagram = message.encode();
        if datagram.len() <= limit {
            return Some(datagram);
        }
        let over = datagram.len() - limit;
        if !shorten(&mut message, over) {
            return None;
        }
    }
}

/// Leaves something out, about as much as is too much. False if nothing is left to leave out.
fn shorten(message: &mut Message, over: usize) -> bool {
    let Body::Response(response) = &mut message.body else {
        return message.version.take().is_some() || message.ip.take().is_some();
    };
    if let Some(off) = &mut response.off
        && !off.on.is_empty()
    {
        let left = off.on.len().saturating_sub(over.div_ceil(26));
        off.on.truncate(left);
        return true;
    }
    if message.ip.take().is_some() || message.version.take().is_some() {
        return true;
    }
    cut(response, over)
}

fn cut(response: &mut Response, over: usize) -> bool {
    if let Some(off) = &mut response.off
        && !off.cut
    {
        // It costs six bytes, and makes all the difference to who may ask again.
        off.cut = true;
        return true;
    }
    for nodes in [&mut response.nodes6, &mut response.nodes] {
        if let Some(list) = nodes {
            let left = list.len().saturating_sub(over.div_ceil(26));
            if left == list.len() || left == 0 {
                *nodes = None;
            } else {
                list.truncate(left);
            }
            return true;
        }
    }
    if !response.values.is_empty() {
        let left = response.values.len().saturating_sub(over.div_ceil(8));
        response.values.truncate(left);
        return true;
    }
    response.item.take().is_some()
        || response.off.as_mut().is_some_and(|off| !std::mem::take(&mut off.have).is_empty())
        || response.off.take().is_some()
        || response.token.take().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::krpc::contact::Contact;
    use crate::krpc::message::Extra;
    use crate::krpc::native::OffAnswer;

    fn long() -> Message {
        let id = NodeId::from_bytes([1; 20]);
        let contact = Contact { id, address: ([203, 0, 113, 5], 6881).into() };
        let mut response = Response::of(id);
        response.nodes = Some(vec![contact; 8]);
        response.values = vec![contact.address; 100];
        response.token = Some(vec![7; 8]);
        response.off = Some(OffAnswer { on: vec![contact; 8], port: 6881, ..OffAnswer::default() });
        Message {
            transaction: b"abcd".to_vec(),
            body: Body::Response(Box::new(response)),
            version: Some(b"OS01".to_vec()),
            ip: Some(contact.address),
            read_only: false,
            extra: Extra::new(),
        }
    }

    fn at(limit: usize) -> Option<Response> {
        let datagram = fit(long(), limit)?;
        assert!(datagram.len() <= limit);
        match Message::decode(&datagram).unwrap().body {
            Body::Response(response) => Some(*response),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_limit_leaves_everything() {
        assert_eq!(fit(long(), 2_000), Some(long().encode()));
    }

    #[test]
    fn peers_and_the_token_stay_longest() {
        let answer = at(900).unwrap();
        assert!(answer.off.unwrap().on.is_empty() && answer.values.len() > 80);
        let answer = at(125).unwrap();
        assert!(answer.nodes.is_none() && answer.off.unwrap().cut);
        assert!(answer.token.is_some() && !answer.values.is_empty(), "{:?}", answer.values);
        assert!(at(60).unwrap().off.is_none());
        assert_eq!(at(49).unwrap().token, None);
        assert_eq!(fit(long(), 40), None);
    }

    #[test]
    fn fits_whatever_the_limit() {
        for limit in 0..1_300 {
            let _ = at(limit);
        }
    }
}
