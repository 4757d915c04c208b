//! `MATRIX.md` and its like: what the clients did when it was last written, a section a test.
//!
//! A test that finds something else fails. With `OFFSWARM_BLESS=1` it writes what it finds, unless
//! that is a failure: what a client cannot do is left out, and stands with its reason in its remark.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::thread;

const BLESS: &str = "OFFSWARM_BLESS";

/// A file of records.
pub(crate) struct Record {
    pub(crate) path: &'static str,
    /// What it begins with.
    pub(crate) introduction: &'static str,
}

const MATRIX: Record = Record {
    path: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/MATRIX.md"),
    introduction: INTRODUCTION,
};

const INTRODUCTION: &str = "\
# Which clients do what with our torrents

Written by the tests in `matrix.rs` and `large.rs` with `OFFSWARM_BLESS=1`, and compared by them
else: each yes is found anew in each run. *Downloads*: offswarm seeds, the client ends with the very
blocks. *Seeds*: the client seeds the blocks, and offswarm with an empty home gets the file from it
alone. Each client runs in a network of its own that holds nobody but offswarm, and opentracker
where a tracker is said to be.
";

const SECTION: &str = "\n## ";

const FAILURE: &str = "FAILED";

/// What is written for how something ended. Who panics has said why.
pub(crate) fn outcome(ended: &thread::Result<()>) -> &'static str {
    if ended.is_ok() { "yes" } else { FAILURE }
}

/// Compares a section of the matrix with what is recorded, or records it.
#[track_caller]
pub(crate) fn compare(title: &str, body: &str) {
    MATRIX.compare(title, body);
}

impl Record {
    /// Compares a section with what is recorded, or records it.
    #[track_caller]
    pub(crate) fn compare(&self, title: &str, body: &str) {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(self.path).unwrap();
        // Tests run side by side, in threads or in processes.
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let mut sections = sections(&text);
        if std::env::var_os(BLESS).is_none() {
            let recorded = sections.iter().find(|(recorded, _)| recorded == title);
            let recorded = recorded.map(|(_, body)| body.as_str());
            let path = self.path;
            assert_eq!(
                Some(body),
                recorded,
                "{title} is not as {path} has it ({BLESS}=1 writes it)"
            );
            return;
        }
        assert!(!body.contains(FAILURE), "no failure is recorded:\n{body}");
        sections.retain(|(recorded, _)| recorded != title);
        sections.push((title.to_owned(), body.to_owned()));
        // Clients by name, what begins with a number behind them.
        sections.sort_by_key(|(title, _)| {
            (title.starts_with(|c: char| c.is_ascii_digit()), title.to_lowercase())
        });
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(self.whole(&sections).as_bytes()).unwrap();
    }

    fn whole(&self, sections: &[(String, String)]) -> String {
        let mut text = self.introduction.to_owned();
        for (title, body) in sections {
            write!(text, "{SECTION}{title}\n\n{body}").unwrap();
        }
        text
    }
}

fn sections(text: &str) -> Vec<(String, String)> {
    let split = |section: &str| {
        let (title, body) = section.split_once("\n\n").unwrap_or((section, ""));
        (title.to_owned(), body.to_owned())
    };
    text.split(SECTION).skip(1).map(split).collect()
}

#[test]
fn sections_are_read_as_they_are_written() {
    let written = [("a", "| x |\n"), ("b", "text\n\nmore\n")];
    let written = written.map(|(title, body)| (title.to_owned(), body.to_owned()));
    assert_eq!(sections(&MATRIX.whole(&written)), written);
}
