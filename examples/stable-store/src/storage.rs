//! A directory of files, as far as a log and its checkpoints need one: real, forgetful or failing.

use std::io;

/// A flat directory. Only what was synced survives a power cut: the bytes of a file by
/// [`File::sync`], its name by [`sync_dir`](Self::sync_dir).
pub trait Storage: Send + Sync + 'static {
    /// An open file of it.
    type File: File;

    /// Makes an empty file. It fails with [`io::ErrorKind::AlreadyExists`] if the name is taken.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is there, to read and to append.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name, over a file that may have it.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names as they are now survive a power cut.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait File: Send + 'static {
    /// Writes all of `bytes` behind the end. After an error the end is anywhere.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all bytes survive a power cut (`fdatasync`).
    ///
    /// # Errors
    ///
    /// What the operating system says; then nobody knows which bytes survive.
    fn sync(&mut self) -> io::Result<()>;

    /// Syncs, and makes reads show what the disk holds, not what memory has of it.
    ///
    /// The two differ after a sync has failed: memory keeps the bytes and takes them for written, so
    /// that later syncs succeed without them. The size stays, with zeros where the disk has nothing.
    ///
    /// # Errors
    ///
    /// What the operating system says; then reads may show either.
    fn reread(&mut self) -> io::Result<()>;

    /// Reads at most `buffer.len()` bytes from `offset` on; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The bytes in the file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file off behind `size` bytes.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
}
