//! Convert: what an OFF URL stands for, put again with OFF URLs of the other version.
//!
//! A stream is decoded on one thread and hidden anew on others, some blocks ahead, so no plaintext
//! touches the disk and the memory used does not depend on the length. Its file id is checked at the
//! end, before there is a URL. Of a directory every file is put again, and then a new list of them;
//! in version 4 short files are packed, in version 3 what js-offs has no form for is left out, as when
//! a folder is put. Name, type and the executable flag go along.
//!
//! The blocks that are read are held under the lease of the put, and if it fails, nothing of it is left.

use std::io::{self, Read};

use crate::catalog::Origin;
use crate::id::{FileHasher, FileId};
use crate::off::{OffUrl, Version, directory};

use super::get::Stream;
use super::put::{Put, PutOptions};
use super::put_directory::PutDirectory;
use super::{Client, PutError, ReadError};

/// What came of a conversion.
#[derive(Debug)]
pub enum Converted {
    /// Of a file.
    File(Put),
    /// Of a directory.
    Directory(PutDirectory),
}

/// Why something could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is what it is to become, all its files included.
    #[error("{url} is of version {} already", match version { Version::V3 => 3, Version::V4 => 4 })]
    Already {
        /// The OFF URL.
        url: String,
        /// Its version.
        version: Version,
    },
    /// It cannot be read.
    #[error("cannot decode the stream")]
    Read(#[from] ReadError),
    /// A file of a directory cannot be read.
    #[error("cannot decode {path:?} of the directory")]
    Member {
        /// Where it is in the directory.
        path: String,
        /// Why.
        source: Box<ReadError>,
    },
    /// It cannot be put.
    #[error("cannot put it again")]
    Put(#[from] PutError),
}

impl Client {
    /// Puts what a URL stands for again, with a URL of the version that the options name. All its
    /// blocks must be here. Of the options name, content type and flag are not used. `progress` is told
    /// the bytes read so far.
    pub fn convert(
        &self,
        url: &OffUrl,
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Converted, ConvertError> {
        let options = PutOptions {
            content_type: url.content_type().to_owned(),
            name: url.name().to_owned(),
            executable: url.is_executable(),
            ..options.clone()
        };
        if url.is_directory() {
            return self.convert_directory(url, &options, progress).map(Converted::Directory);
        }
        if url.version() == options.version {
            return Err(already(url));
        }
        let mut failure = None;
        let put = self.undoing(|| {
            let before = self.store.census()?.blocks;
            let mut plain = match self.hold(url).and_then(|()| Plain::new(self, url)) {
                Ok(plain) => plain,
                Err(error) => return Err(kept(&mut failure, error)),
            };
            let put = self.put_stream(&mut plain, &options, progress);
            failure = plain.failure;
            let url = put?;
            self.store.commit()?;
            options.go_on()?;
            self.remember(&url, Origin::Put).map_err(Box::new)?;
            Ok(Put { url, new_blocks: self.store.census()?.blocks.saturating_sub(before) })
        });
        put.map(Converted::File).map_err(|error| match failure {
            Some(failure) => ConvertError::Read(failure),
            None => ConvertError::Put(error),
        })
    }

    fn convert_directory(
        &self,
        url: &OffUrl,
        options: &PutOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PutDirectory, ConvertError> {
        let listing = self.directory(url)?;
        let mut all = listing.files().chain([url]);
        if all.all(|one| one.version() == options.version) {
            return Err(already(url));
        }
        let stem = url.name().strip_suffix(directory::EXTENSION).unwrap_or(url.name());
        let options = PutOptions { name: stem.to_owned(), ..options.clone() };
        // Dropped unfinished, it takes out again what it has put.
        let mut tree = self.begin_tree_as(options.clone())?;
        self.hold(url)?;
        for entry in listing.entries() {
            options.go_on()?;
            let Some(file) = entry.url else {
                tree.add_folder(entry.path);
                continue;
            };
            let hurt = |source| ConvertError::Member {
                path: entry.path.to_owned(),
                source: Box::new(source),
            };
            let mut plain = Plain::new(self, file).map_err(hurt)?;
            let (path, flag, kind) = (entry.path, file.is_executable(), file.content_type());
            let added = tree.add_as(path, flag, kind, &mut plain, progress);
            if let Some(failure) = plain.failure {
                return Err(hurt(failure));
            }
            added?;
        }
        options.go_on()?;
        Ok(tree.finish()?)
    }

    /// Keeps the blocks of a URL from being evicted while there is a lease; all must be here.
    fn hold(&self, url: &OffUrl) -> Result<(), ReadError> {
        let survey = self.survey(url)?;
        self.touch_all(&survey.order)?;
        match survey.missing.first() {
            Some(missing) => Err(ReadError::Missing(*missing)),
            None => Ok(()),
        }
    }
}

fn already(url: &OffUrl) -> ConvertError {
    ConvertError::Already { url: url.canonical().to_string(), version: url.version() }
}

/// Keeps the cause of a failure, for which a put has no form.
fn kept(failure: &mut Option<ReadError>, error: ReadError) -> PutError {
    let source = io::Error::other(error.to_string());
    *failure = Some(error);
    PutError::Read { read: 0, source }
}

/// The bytes of a stream while it is decoded. Its end is reached only if its file id is right.
struct Plain {
    stream: Stream,
    part: io::Cursor<Vec<u8>>,
    hasher: Option<FileHasher>,
    expected: FileId,
    /// Why there is no more of it.
    failure: Option<ReadError>,
}

impl Plain {
    fn new(client: &Client, url: &OffUrl) -> Result<Self, ReadError> {
        let (stream, expected) = (client.stream(url, 0..url.length())?, url.file());
        let (part, hasher) = (io::Cursor::default(), Some(FileHasher::default()));
        Ok(Self { stream, part, hasher, expected, failure: None })
    }

    /// Gets the next part; `false` at the end.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if let Some(part) = self.stream.next().transpose()? {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&part);
            }
            self.part = io::Cursor::new(part);
            return Ok(true);
        }
        match self.hasher.take().map(FileHasher::finish) {
            Some(found) if found != self.expected => {
                Err(ReadError::WrongFile { expected: self.expected, found })
            }
            _ => Ok(false),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.part.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.failure.is_some() {
                return Err(io::Error::other("it was broken off"));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    let told = io::Error::other(error.to_string());
                    self.failure = Some(error);
                    return Err(told);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::off::url::Named;
    use crate::store::Presence;

    fn client() -> (tempfile::TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open_seeded(folder.path(), 3).unwrap();
        (folder, client)
    }

    fn put(client: &Client, length: usize, options: &PutOptions) -> OffUrl {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        client.put(&mut &*bytes, options, &mut |_| ()).unwrap().url
    }

    fn to(version: Version) -> PutOptions {
        PutOptions { version, ..PutOptions::default() }
    }

    /// A wrong file id shows at the end only, when everything is put.
    #[test]
    fn a_stream_that_is_not_the_urls_leaves_nothing() {
        let (_folder, client) = client();
        let url = put(&client, 300_000, &PutOptions::default());
        let blocks = client.store().census().unwrap().blocks;
        let named = Named {
            length: url.length(),
            file: FileId::of_nothing(),
            descriptor: url.descriptor(),
            tuple: url.tuple(),
            seal: *url.seal(),
        };
        let forged = OffUrl::new(named, "text/plain", "forged").unwrap();
        let error = client.convert(&forged, &to(Version::V3), &mut |_| ()).unwrap_err();
        assert!(matches!(error, ConvertError::Read(ReadError::WrongFile { .. })), "{error}");
        assert_eq!(client.store().census().unwrap().blocks, blocks);
        assert_eq!(client.known_urls().unwrap().len(), 1);
    }

    #[test]
    fn what_is_stopped_leaves_nothing() {
        let (_folder, client) = client();
        let url = put(&client, 1_000_000, &PutOptions::default());
        let blocks = client.store().census().unwrap().blocks;
        let options = to(Version::V3);
        let stop = options.stop.clone();
        let error = client.convert(&url, &options, &mut |_| stop.cancel()).unwrap_err();
        assert!(matches!(error, ConvertError::Put(PutError::Stopped)), "{error}");
        assert_eq!(client.store().census().unwrap().blocks, blocks);
    }

    #[test]
    fn a_missing_block_is_named() {
        let (_folder, client) = client();
        let url = put(&client, 300_000, &to(Version::V3));
        let lost = *client.survey(&url).unwrap().order.last().unwrap();
        client.rm(&url).unwrap();
        let error = client.convert(&url, &to(Version::V4), &mut |_| ()).unwrap_err();
        assert!(matches!(error, ConvertError::Read(ReadError::Missing(_))), "{error}");
        assert_eq!(client.store().presence(&lost).unwrap(), Presence::Absent);
        assert_eq!(client.store().census().unwrap().blocks, 0);
    }

    #[test]
    fn a_url_that_is_converted_already_is_refused() {
        let (_folder, client) = client();
        for version in [Version::V3, Version::V4] {
            let url = put(&client, 5_000, &to(version));
            let error = client.convert(&url, &to(version), &mut |_| ()).unwrap_err();
            assert!(matches!(error, ConvertError::Already { .. }), "{error}");
            assert!(error.to_string().ends_with("already"), "{error}");
        }
    }
}
