//! The records of an OFF URL: which torrents somebody says carry it.

use super::{Dht, News, Search};
use crate::id::BlockId;
use crate::krpc::item::{Item, MutableItem};
use crate::krpc::machine::Aim;
use crate::krpc::rendezvous::{Record, check_record, item_secret, read_salts};

/// The records of an OFF URL as they are found, those of today and of yesterday. Several nodes give
/// the same one. Dropping it gives up.
#[derive(Debug)]
pub struct Records {
    descriptor: BlockId,
    searches: [Search; 2],
}

impl Records {
    /// Begins to look for those of a descriptor. `unix` are Unix seconds.
    pub async fn search(dht: &Dht, descriptor: BlockId, unix: u64) -> Self {
        let key = item_secret(&descriptor).key();
        let [today, yesterday] = read_salts(unix).map(|salt| {
            let target = MutableItem::target_of(&key, &salt);
            dht.search(Aim::Item { target, salt }, Vec::new())
        });
        let (today, yesterday) = tokio::join!(today, yesterday);
        Self { descriptor, searches: [today, yesterday] }
    }

    /// The next one with the item that says it; `None` when all nodes were asked.
    pub async fn next(&mut self) -> Option<(Record, MutableItem)> {
        let [today, yesterday] = &mut self.searches;
        loop {
            let news = tokio::select! {
                Some(news) = today.next() => news,
                Some(news) = yesterday.next() => news,
                else => return None,
            };
            if let News::Item(Item::Mutable(item)) = news
                && let Some(record) = check_record(&self.descriptor, &item)
            {
                return Some((record, item));
            }
        }
    }
}
