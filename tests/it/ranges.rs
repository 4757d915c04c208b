//! Any range of a stream, in the library and on the command line.

use std::io::{Read, Write};
use std::ops::Range;
use std::process::Stdio;

use offswarm::client::put::PutOptions;
use offswarm::client::{Client, ReadError, Settings};
use offswarm::id::BlockId;
use offswarm::off::{OffUrl, TupleSize};
use proptest::prelude::*;

use crate::program::{Place, Ran, noise};

const BLOCK: usize = 131_072;

fn open(place: &Place, home: &str) -> Client {
    Client::open(&place.path(home), &Settings::default()).unwrap()
}

fn put(client: &Client, bytes: &[u8], tuple: u64) -> OffUrl {
    let options = PutOptions { tuple: TupleSize::new(tuple).unwrap(), ..PutOptions::default() };
    client.put(&mut &bytes[..], &options, &mut |_| ()).unwrap().url
}

fn read(client: &Client, url: &OffUrl, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
    let parts: Result<Vec<Vec<u8>>, ReadError> = client.stream(url, range)?.collect();
    parts.map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_range_of_any_length_and_tuple_size_is_the_slice(
        len in 0..5 * BLOCK, tuple in 2u64..=8, cuts: [prop::sample::Index; 2], edge: bool,
    ) {
        let place = Place::new();
        let client = open(&place, "home");
        // Half of the cases end at the edge of a block.
        let len = if edge { len / BLOCK * BLOCK } else { len };
        let bytes = noise(len);
        let url = put(&client, &bytes, tuple);
        let mut ends = cuts.map(|cut| cut.index(len + 1));
        ends.sort_unstable();
        for (start, end) in [(ends[0], ends[1]), (0, len), (ends[0], ends[0]), (ends[1], len)] {
            let found = read(&client, &url, start as u64..end as u64).unwrap();
            prop_assert!(found == bytes[start..end], "{start}..{end} of {len}");
        }
    }
}

#[test]
fn a_range_outside_of_the_stream_is_an_error() {
    let place = Place::new();
    let client = open(&place, "home");
    let url = put(&client, &noise(10), 3);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for range in [0..11, 11..11, 4..3] {
        let error = read(&client, &url, range).unwrap_err();
        assert!(matches!(error, ReadError::Range { length: 10, .. }), "{error}");
    }
}

/// A stream whose descriptor is two chain blocks, and a second store that has only some blocks.
#[test]
fn a_range_needs_only_the_blocks_it_touches() {
    let place = Place::new();
    let (all, some) = (open(&place, "all"), open(&place, "some"));
    let bytes = noise(1_400 * BLOCK);
    let url = put(&all, &bytes, 3);
    let order = all.survey(&url).unwrap().order;
    // Two chain blocks, then the three blocks of the first tuple, then two more of each: its off
    // block and a fresh one, besides the off block before.
    let give = |ids: &[BlockId]| {
        for id in ids {
            some.store().put(&all.store().get(id).unwrap().unwrap()).unwrap();
        }
    };
    give(&[order[0]]);
    give(&order[2..5]);
    assert!(read(&some, &url, 5..100).unwrap() == bytes[5..100]);
    let behind = |error: ReadError| match error {
        ReadError::Missing(id) => order.iter().position(|other| *other == id),
        error => panic!("{error}"),
    };
    assert_eq!(behind(read(&some, &url, 0..BLOCK as u64 + 1).unwrap_err()), Some(5));
    // The last tuple stands in the second chain block.
    let last = 1_399 * BLOCK as u64..1_400 * BLOCK as u64;
    assert_eq!(behind(read(&some, &url, last.clone()).unwrap_err()), Some(1));
    give(&[order[1]]);
    give(&order[order.len() - 4..]);
    assert!(read(&some, &url, last).unwrap() == bytes[1_399 * BLOCK..]);
    // The tuple cut by the end of the first chain block.
    let cut = 1_364 * BLOCK..1_367 * BLOCK;
    assert!(read(&all, &url, cut.start as u64..cut.end as u64).unwrap() == bytes[cut]);
}

/// The decoding thread waits at a full window; whoever drops the stream must not wait for it.
#[test]
fn a_stream_can_be_dropped_at_any_part() {
    let place = Place::new();
    let client = open(&place, "home");
    let bytes = noise(40 * BLOCK);
    let url = put(&client, &bytes, 3);
    for parts in [0, 1, 30] {
        let read: Vec<u8> = client
            .stream(&url, 0..url.length())
            .unwrap()
            .take(parts)
            .flat_map(Result::unwrap)
            .collect();
        assert!(read == bytes[..parts * BLOCK]);
    }
}

#[test]
fn cat_prints_ranges_as_http_names_them() {
    let place = Place::new();
    let bytes = noise(300_000);
    let url = place.put("home", &place.file("in", 300_000));
    let ranges = [
        ("0-0", 0..1),
        ("131071-131072", 131_071..131_073),
        ("299990-", 299_990..300_000),
        ("299990-999999", 299_990..300_000),
        ("-7", 299_993..300_000),
    ];
    for (range, expected) in ranges {
        let ran = place.run("home", ["cat", &url, "--range", range]).ok();
        assert!(ran.0.stdout == bytes[expected], "{range}");
        assert_eq!(ran.stderr(), "");
    }
    assert!(place.run("home", ["cat", &url]).ok().0.stdout == bytes);
}

#[test]
fn cat_refuses_bytes_that_are_not_there() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 10));
    for range in ["10-", "10-12", "-0"] {
        let ran = place.run("home", ["cat", &url, "--range", range]).exits(2);
        assert_eq!(ran.stdout(), "");
        ran.says(["there are no bytes", range, "the stream has 10 bytes"]);
    }
    place.run("home", ["cat", &url, "--range", "5-4"]).exits(2).says(["ends before it begins"]);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let place = Place::new();
    let url = place.put("home", &place.file("in", 30 * BLOCK));
    let mut cat = place.command("home", ["cat", &url]).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    assert_eq!(cat.wait().unwrap().code(), Some(0));
}

#[test]
fn puts_a_long_standard_input_of_unknown_length() {
    const LEN: usize = (40 << 20) + 1;
    let place = Place::new();
    let mut put = place
        .command("home", ["put", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // In pieces that are no blocks, as a pipe gives them.
    let mut stdin = put.stdin.take().unwrap();
    noise(LEN).chunks(50_000).for_each(|part| stdin.write_all(part).unwrap());
    drop(stdin);
    let url = Ran(put.wait_with_output().unwrap()).ok().stdout();
    let got = place.run("home", ["cat", url.trim()]).ok();
    assert!(got.0.stdout == noise(LEN));
}
