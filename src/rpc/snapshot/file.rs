//! A file that appears whole or not at all.

use crate::error::{Error, Result};
use crate::limits;
use crate::net;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Only its owner may read it: it holds every key, and the hashes of passwords.
const MODE: u32 = 0o600;

/// How often a file that others keep renaming away is looked for.
const MOST_ATTEMPTS: u32 = 100;

/// `<path>.part`, which becomes the file at `path` when it is complete, and is gone otherwise.
///
/// It is locked as long as it is open, so that of several processes that save to one path one does and the others are
/// refused, while what a process that was killed has left behind stands in nobody's way.
pub(super) struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    /// Bytes that may not be on the disk yet.
    unsynced: usize,
    is_complete: bool,
}

impl PartFile {
    pub(super) fn create(path: &Path) -> Result<PartFile> {
        let name = path.file_name().filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"));
        let mut name = name.ok_or_else(|| Error::invalid(format!("path names no file: {path:?}")))?.to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        if let Ok(found) = fs::symlink_metadata(path) {
            check_replaceable(&found).map_err(|error| failed(path, error))?;
        }
        let file = open_locked(&part).map_err(|error| failed(&part, error))?;
        let created = PartFile { file, part, path: path.to_owned(), unsynced: 0, is_complete: false };
        let emptied = created.file.set_len(0);
        emptied
            .and_then(|()| created.file.set_permissions(Permissions::from_mode(MODE)))
            .map_err(|error| created.failed(error))?;
        Ok(created)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut written = self.file.write_all(bytes);
        self.unsynced += bytes.len();
        if self.unsynced >= limits::SNAPSHOT_SYNC_BYTES {
            written = written.and_then(|()| self.file.sync_data());
            self.unsynced = 0;
        }
        written.map_err(|error| self.failed(error))
    }

    /// Puts the file in its place, once it is on the disk and `may_go_on` still agrees.
    pub(super) fn commit(mut self, may_go_on: impl FnOnce() -> Result<()>) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        may_go_on()?;
        fs::rename(&self.part, &self.path).map_err(|error| failed(&self.path, error))?;
        self.is_complete = true;
        // The new name outlasts a power cut only once its folder is on the disk, too.
        let folder = folder_of(&self.path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, error))
    }

    fn failed(&self, error: io::Error) -> Error {
        failed(&self.part, error)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_complete {
            // Still locked: nobody else has taken it over.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// A device, a FIFO or a socket that got in the way by a slip, and for root so easily, would be lost.
fn check_replaceable(found: &Metadata) -> io::Result<()> {
    match found.file_type() {
        kind if kind.is_dir() => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        kind if kind.is_file() || kind.is_symlink() => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::AlreadyExists, "something is there that is no file")),
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source: Arc::new(source) }
}

/// Opens a file for one writer. What is there already is taken only if it is a plain file of this user's that has no
/// other name: whoever else may write to the folder can't have something else written over.
fn open_locked(part: &Path) -> io::Result<File> {
    for _ in 0..MOST_ATTEMPTS {
        let (file, is_new) = match open(part) {
            // Gone since it was found.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder_of(part).is_dir() => continue,
            opened => opened?,
        };
        if !net::lock_file(&file)? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another snapshot is being saved there"));
        }
        let opened = file.metadata()?;
        // Whoever held the lock before may have renamed or removed the file meanwhile.
        let is_there =
            fs::symlink_metadata(part).is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()));
        if is_there {
            let is_ours = opened.is_file() && opened.nlink() == 1 && opened.uid() == net::user_id();
            let what = "something is there that no snapshot of this user's has left behind";
            return if is_new || is_ours { Ok(file) } else { Err(io::Error::new(io::ErrorKind::AlreadyExists, what)) };
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "others keep taking it away"))
}

/// Opens a new file, or the one that is there. True: it is new.
fn open(part: &Path) -> io::Result<(File, bool)> {
    let mut how = OpenOptions::new();
    // Not blocking: that is for a FIFO, which nobody may read from.
    how.write(true).mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match how.clone().create_new(true).open(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => how.open(part).map(|file| (file, false)),
        created => created.map(|file| (file, true)),
    }
}

/// The folder that a path names something in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
