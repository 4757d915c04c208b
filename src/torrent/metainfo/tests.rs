//! What is read, what is written, what is refused.

use super::*;
use crate::id::MerkleRoot;

fn info(blocks: u64) -> Info {
    let pieces = blocks.div_ceil(mapping::blocks_per_piece(blocks));
    let hashes: Vec<_> = (0..pieces).map(|i| PieceHash::of(&i.to_le_bytes())).collect();
    Info::of_blocks(BlockId::of(b"chain"), blocks, &hashes).unwrap()
}

fn dict(body: &str) -> Result<Info, MetainfoError> {
    Info::decode(Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn has_four_keys_and_the_name_of_its_first_block() {
    let info = info(2);
    let text = String::from_utf8_lossy(&info.raw).into_owned();
    assert!(text.starts_with("d6:lengthi262144e4:name20:"), "{text}");
    assert!(text.contains(".off12:piece lengthi131072e6:pieces40:"), "{text}");
    assert_eq!(info.name, content_name(BlockId::of(b"chain")));
    assert_eq!(info.blocks(), Ok(2));
    assert_eq!(info.infohash, InfoHash::of(&info.raw));
}

#[test]
fn large_torrents_have_longer_pieces() {
    let info = info(65_537);
    assert_eq!((info.piece_length, info.pieces), (262_144, 32_769));
    assert_eq!(info.blocks(), Ok(65_537));
}

#[test]
fn torrent_files_round_trip() {
    for trackers in
        [vec![], vec!["http://a/".to_owned()], vec!["http://a/".into(), "udp://b:1".into()]]
    {
        let web_seeds = trackers.clone();
        let piece_layers = PieceLayers::default();
        let ids = Some((0..3_u8).map(|n| BlockId::of(&[n])).collect());
        let metainfo = Metainfo { info: info(3), trackers, web_seeds, piece_layers, ids };
        assert_eq!(Metainfo::decode(&metainfo.encode()).unwrap(), metainfo);
    }
}

#[test]
fn a_list_of_blocks_must_name_each_of_them() {
    let metainfo = |ids| {
        let (trackers, web_seeds, piece_layers) = (vec![], vec![], PieceLayers::default());
        Metainfo { info: info(3), trackers, web_seeds, piece_layers, ids: Some(ids) }
    };
    let (plain, id) = (Metainfo { ids: None, ..metainfo(vec![]) }, BlockId::of(b"x"));
    let listing = metainfo(vec![id; 3]);
    assert_eq!(plain.info.infohash, listing.info.infohash);
    assert_eq!(plain.encode().len() + "7:off ids96:".len() + 96, listing.encode().len());
    for ids in [vec![], vec![id; 2], vec![id; 4]] {
        let error = Metainfo::decode(&metainfo(ids).encode()).unwrap_err();
        assert!(error.to_string().contains("not those of 3 blocks"), "{error}");
    }
    let list = [b"d4:info", &*plain.info.raw, b"7:off idsli1eee"].concat();
    let error = Metainfo::decode(&list).unwrap_err();
    assert!(error.to_string().contains("not as a string"), "{error}");
    let foreign = b"d4:infod6:lengthi0e4:name1:x12:piece lengthi1e6:pieces0:e7:off ids0:e";
    let error = Metainfo::decode(foreign).unwrap_err();
    assert!(error.to_string().contains("carries none"), "{error}");
}

#[test]
fn packs_are_named_by_all_their_blocks_in_order() {
    let ids = [BlockId::of(b"x"), BlockId::of(b"y")];
    let all = [*ids[0].as_bytes(), *ids[1].as_bytes()].concat();
    assert_eq!(pack_name(&ids), content_name(BlockId::of(&all)));
    assert_ne!(pack_name(&ids), pack_name(&[ids[1], ids[0]]));
}

#[test]
fn the_infohash_is_over_the_bytes_as_they_came() {
    let unsorted = "d4:name1:x6:lengthi0e6:pieces0:12:piece lengthi1ee";
    assert_eq!(dict(unsorted).unwrap().infohash, InfoHash::of(unsorted.as_bytes()));
}

#[test]
fn refuses_impossible_sizes() {
    for (length, piece_length) in [
        ("i1e", "i0e"),
        ("i1e", "i-5e"),
        ("i1e", "i2147483648e"),
        ("i-1e", "i16384e"),
        ("i16385e", "i16384e"),
    ] {
        let text = format!(
            "d6:length{length}4:name1:x12:piece length{piece_length}6:pieces20:{}e",
            "h".repeat(20)
        );
        assert!(matches!(dict(&text), Err(MetainfoError::Form(_))), "{text}");
    }
    assert!(dict("d6:lengthi1e4:name1:x12:piece lengthi1e6:pieces3:abce").is_err());
    let huge = "d6:lengthi9223372036854775807e4:patheld6:lengthi9223372036854775807e4:pathlee";
    assert!(dict(huge).is_err());
    let files = "d6:lengthi9223372036854775807e4:pathl1:aee".repeat(3);
    let text = format!("d5:filesl{files}e4:name1:x12:piece lengthi1e6:pieces0:e");
    assert!(matches!(dict(&text), Err(MetainfoError::Form(_))));
}

#[test]
fn tells_foreign_torrents_from_ours() {
    let one = format!("6:pieces20:{}", "h".repeat(20));
    let several =
        format!("d5:filesld6:lengthi5e4:pathl1:a1:beee4:name1:x12:piece lengthi16384e{one}e");
    let several = dict(&several).unwrap();
    assert_eq!((several.files[0].path.as_str(), several.files[0].length), ("a/b", 5));
    assert!(several.blocks().unwrap_err().to_string().contains("no whole number of blocks"));
    let odd = dict(&format!("d6:lengthi131071e4:name1:x12:piece lengthi131072e{one}e")).unwrap();
    assert!(odd.blocks().unwrap_err().to_string().contains("no whole number of blocks"));
}

/// The twins of version 2 and both of a torrent of so many blocks, with their `.torrent` files.
fn twins(blocks: u64) -> [Metainfo; 2] {
    let roots: Vec<_> = (0..blocks).map(|at| MerkleRoot::of_leaf(&at.to_le_bytes())).collect();
    let layers = merkle::Layers::of_blocks(roots);
    let v1 = info(blocks);
    let pieces = v1.piece_hashes().unwrap();
    [None, Some(pieces.as_slice())].map(|pieces| {
        let first = BlockId::of(b"chain");
        let info = Info::twin_of_blocks(first, blocks, layers.root(), pieces).unwrap();
        let height = merkle::piece_height(info.piece_length).unwrap();
        let piece_layers = PieceLayers::of_file(layers.root(), layers.layer(height).unwrap());
        Metainfo { info, trackers: Vec::new(), web_seeds: Vec::new(), piece_layers, ids: None }
    })
}

#[test]
fn twins_round_trip_and_have_names_of_their_own() {
    for blocks in [1, 2, 3, 65_537] {
        let ordinary = info(blocks);
        let [v2, hybrid] = twins(blocks);
        for twin in [&v2, &hybrid] {
            assert_eq!(&Metainfo::decode(&twin.encode()).unwrap(), twin, "{blocks}");
            assert_eq!(twin.info.content_blocks(), Ok(blocks));
            assert_eq!((&twin.info.name, twin.info.pieces), (&ordinary.name, ordinary.pieces));
            assert_eq!(twin.info.infohash_v2, Some(InfoHashV2::of(&twin.info.raw)));
            assert_ne!(twin.info.infohash, ordinary.infohash);
        }
        let short = v2.info.infohash_v2.unwrap().truncated();
        assert_eq!((v2.info.infohash, v2.info.handshakes()), (short, vec![short]));
        assert!(v2.info.blocks().unwrap_err().to_string().contains("version 2 only"));
        assert!(v2.info.piece_hashes().is_err());
        assert_eq!(hybrid.info.infohash, InfoHash::of(&hybrid.info.raw));
        assert_eq!((hybrid.info.blocks(), hybrid.info.handshakes().len()), (Ok(blocks), 2));
        assert_eq!(hybrid.info.piece_hashes(), ordinary.piece_hashes());
    }
}

#[test]
fn piece_layers_must_lead_to_the_root() {
    for good in twins(5) {
        let root = good.info.files[0].root.unwrap();
        let hashes: Vec<_> = good.piece_layers.of(&root).collect();
        let refused = |piece_layers: PieceLayers, says: &str| {
            let bad = Metainfo { piece_layers, ..good.clone() };
            let error = Metainfo::decode(&bad.encode()).unwrap_err();
            assert!(matches!(&error, MetainfoError::Layers(why) if why.contains(says)), "{error}");
        };
        refused(PieceLayers::default(), "is missing");
        refused(PieceLayers::of_file(root, &hashes[..4]), "has 4 hashes, not 5");
        refused(PieceLayers::of_file(root, &hashes.repeat(2)), "has 10 hashes, not 5");
        let mut swapped = hashes.clone();
        swapped.swap(0, 1);
        refused(PieceLayers::of_file(root, &swapped), "does not lead to its root");
        let stranger = MerkleRoot::of_leaf(b"?");
        refused(PieceLayers::of_file(stranger, &hashes), "is missing");
        let text = good.encode();
        let at = text.windows(12).position(|part| part == b"piece layers").unwrap();
        let mut odd = text[..at + 12].to_vec();
        odd.extend_from_slice(b"d32:");
        odd.extend_from_slice(root.as_bytes());
        odd.extend_from_slice(b"3:abcee");
        assert!(matches!(Metainfo::decode(&odd), Err(MetainfoError::Form(_))));
    }
}

#[test]
fn hybrids_whose_halves_disagree_are_refused() {
    let [_, hybrid] = twins(3);
    let text = hybrid.info.raw.to_vec();
    let changed = |from: &[u8], to: &[u8], which: usize| {
        let found = text.windows(from.len()).enumerate().filter(|(_, part)| *part == from);
        let at = found.map(|(at, _)| at).nth(which).unwrap();
        let text = [&text[..at], to, &text[at + from.len()..]].concat();
        Info::decode(text.into()).unwrap_err().to_string()
    };
    let name = content_name(BlockId::of(b"chain"));
    let other = name.replace(".off", ".OFF");
    assert!(changed(name.as_bytes(), other.as_bytes(), 0).contains("different files"));
    assert!(changed(b"i393216e", b"i393215e", 0).contains("different files"));
    assert!(changed(b"i393216e", b"i393215e", 1).contains("different files"));
    assert!(changed(b"meta versioni2e", b"meta versioni3e", 0).contains("version 3"));
    assert!(changed(b"meta versioni2e", b"meta versioni1e", 0).contains("without its version"));
}

/// A version 2 info dict with this file tree.
fn tree(tree: &str) -> Result<Info, MetainfoError> {
    dict(&format!("d9:file tree{tree}12:meta versioni2e4:name1:x12:piece lengthi16384ee"))
}

fn leaf(length: u64) -> String {
    format!("d0:d6:lengthi{length}e11:pieces root32:{}ee", "r".repeat(32))
}

#[test]
fn file_trees_are_walked_without_recursion_and_within_limits() {
    let info = tree(&format!("d1:ad1:b{}e1:c{}e", leaf(1), leaf(16_385))).unwrap();
    let files: Vec<_> = info.files.iter().map(|file| (file.path.as_str(), file.length)).collect();
    assert_eq!((files, info.pieces), (vec![("a/b", 1), ("c", 16_385)], 3));
    let deep = |depth: usize| format!("{}{}{}", "d1:a".repeat(depth), leaf(1), "e".repeat(depth));
    assert!(tree(&deep(64)).is_ok());
    assert!(tree(&deep(65)).unwrap_err().to_string().contains("64 components"));
    assert!(matches!(tree(&deep(99)), Err(MetainfoError::Bencode(_))));
    for (bad, says) in [
        ("i1e".into(), "no tree"),
        (leaf(1), "where a folder is needed"),
        (format!("d1:ad0:d6:lengthi1e11:pieces root32:{}e1:bdeee", "r".repeat(32)), "folder"),
        (format!("d1:ad1:b{}0:d6:lengthi0eeee", leaf(1)), "folder"),
        ("d1:ad0:d6:lengthi1eeee".into(), "without the root"),
        (format!("d1:ad0:d6:lengthi1e11:pieces root32:{}eee", "\0".repeat(32)), "root of zeros"),
        ("d1:ad0:d6:lengthi1e11:pieces root3:abceee".into(), "no SHA-256"),
        ("d1:ad0:d6:lengthi-1eeee".into(), "possible length"),
        ("d1:ad0:deee".into(), "possible length"),
        (format!("d1:a{}1:b{}e", leaf(1 << 62), leaf(1 << 62)), "2^63"),
        (format!("d1:a{}e", leaf(1 << 63)), ""),
        ("d1:ai1ee".into(), "no tree"),
    ] {
        let error = tree(&bad).unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
    let odd =
        format!("d9:file treed1:a{}e12:meta versioni2e4:name1:x12:piece lengthi49152ee", leaf(1));
    assert!(dict(&odd).unwrap_err().to_string().contains("version 2 cannot have"));
    // A long folder name counts for every file below.
    let below: Vec<_> = (100..300).map(|name| format!("3:{name}{}", leaf(1))).collect();
    let long = format!("d100000:{}d{}ee", "n".repeat(100_000), below.concat());
    assert!(tree(&long).unwrap_err().to_string().contains("paths of more than"));
}

#[test]
fn counts_names_that_must_not_be_written() {
    let file = |path: &str, more: &str| format!("d{more}6:lengthi0e4:pathl{path}ee");
    let count = |files: &[String]| {
        let files = files.concat();
        dict(&format!("d5:filesl{files}e4:name1:x12:piece lengthi1e6:pieces0:e")).unwrap().hazards
    };
    let one = |path| count(&[file(path, "")]).unsafe_names;
    for bad in ["2:..1:x", "0:", "3:a/b", "3:a\\b", "2:C:", "3:con", "3:a\0b", "6:a\u{202e}bc"] {
        assert_eq!(one(bad), 1, "{bad}");
    }
    assert_eq!(one("1:a3:b c"), 0);
    let links = [file("1:a", "4:attr1:l"), file("1:b", "")];
    assert_eq!((count(&links).links, count(&links).collisions), (1, 0));
    let clash = [file("1:a", ""), file("1:A", ""), file("1:a1:b", "")];
    assert_eq!(count(&clash).collisions, 2);
    let padded = [file("1:a", ""), file("4:.pad1:5", "4:attr1:p")];
    assert_eq!(count(&padded), Hazards::default());
}

#[test]
fn more_files_than_any_torrent_has_are_refused() {
    let files = "d6:lengthi0e4:pathl1:aee".repeat(100_001);
    let text = format!("d5:filesl{files}e4:name1:x12:piece lengthi1e6:pieces0:e");
    assert!(dict(&text).unwrap_err().to_string().contains("100000 files"));
    assert!(dict(&text.replacen("d6:lengthi0e4:pathl1:aee", "", 1)).is_ok());
}
