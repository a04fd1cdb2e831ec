//! Cuts what is read into lines of bounded length, without copying them.

use std::io::{self, Read, Seek, SeekFrom};

use memchr::memchr;

use crate::audit::MAX_LINE;

/// Bytes that are read at once; several of the longest lines.
const BUFFER: usize = 4 * MAX_LINE;

/// The lines of a file or a stream.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    buffer: Box<[u8]>,
    /// What is in the buffer and not handed out.
    start: usize,
    end: usize,
    /// Where `start` lies in the file.
    offset: u64,
    number: u64,
    /// Inside a line that is too long, of which the rest is to be thrown away.
    skipping: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line of more than [`MAX_LINE`] bytes, which is passed over.
    TooLong,
    /// So many bytes without a line end, and nothing more for now.
    Torn(u64),
    /// Nothing more for now.
    End,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { reader, buffer, start: 0, end: 0, offset: 0, number: 0, skipping: false }
    }

    /// The line that was last handed out; 1 is the first.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes of the file have been handed out or passed over.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) const fn reader(&self) -> &R {
        &self.reader
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        // Where the search for the line's end goes on.
        let mut searched = self.start;
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[searched..self.end]) {
                let line = self.start..searched + length;
                self.pass(line.len() + 1);
                searched = self.start;
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                self.number += 1;
                // Its end counts.
                let long = line.len() >= MAX_LINE;
                return Ok(if long { Next::TooLong } else { Next::Line(&self.buffer[line]) });
            }
            let rest = self.end - self.start;
            if self.skipping {
                self.pass(rest);
            } else if rest >= MAX_LINE {
                self.pass(rest);
                self.skipping = true;
                self.number += 1;
                return Ok(Next::TooLong);
            }
            searched = self.make_room();
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.start == self.end => return Ok(Next::End),
                Ok(0) => return Ok(Next::Torn((self.end - self.start) as u64)),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Moves the rest to the front if there is no room behind it; says where it ends.
    fn make_room(&mut self) -> usize {
        if self.start == self.end || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.end
    }
}

impl<R: Read + Seek> Lines<R> {
    /// Forgets what came of a line without its end: it is read again, since a writer may have cut it
    /// back and written another.
    pub(super) fn forget_torn(&mut self) -> io::Result<()> {
        self.seek(self.offset, self.number)
    }

    /// Reads from the file's beginning again.
    pub(super) fn start_again(&mut self) -> io::Result<()> {
        self.skipping = false;
        self.seek(0, 0)
    }

    fn seek(&mut self, offset: u64, number: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(offset))?;
        (self.start, self.end) = (0, 0);
        (self.offset, self.number) = (offset, number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn all(reader: impl Read) -> Vec<String> {
        let mut lines = Lines::new(reader);
        let mut out = Vec::new();
        loop {
            out.push(match lines.next().unwrap() {
                Next::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Next::TooLong => format!("too long {}", lines.number()),
                Next::Torn(bytes) => return [out, vec![format!("torn {bytes}")]].concat(),
                Next::End => return out,
            });
        }
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        /// Gives as many bytes as it likes.
        struct Bits<'a>(&'a [u8], usize);
        impl Read for Bits<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.1.min(self.0.len()).min(buffer.len());
                let (now, later) = self.0.split_at(length);
                buffer[..length].copy_from_slice(now);
                self.0 = later;
                Ok(length)
            }
        }
        let long = "x".repeat(MAX_LINE - 1);
        let longer = "y".repeat(MAX_LINE);
        let endless = "z".repeat(5 * BUFFER);
        let text = format!("a\n\n{long}\n{longer}\nb\n{endless}\n{long}\nc\nto");
        let wanted = ["a", "", &long, "too long 4", "b", "too long 6", &long, "c", "torn 2"];
        for step in [1_000, 65_535, 65_536, 65_537, usize::MAX] {
            assert_eq!(all(Bits(text.as_bytes(), step)), wanted, "{step}");
        }
        assert_eq!(all(&b""[..]), [""; 0]);
    }

    #[test]
    fn a_torn_line_is_read_again_from_its_beginning() {
        let mut lines = Lines::new(Cursor::new(b"one\ntor".to_vec()));
        assert_eq!(lines.next().unwrap(), Next::Line(b"one"));
        assert_eq!(lines.next().unwrap(), Next::Torn(3));
        lines.reader.get_mut().truncate(4);
        lines.reader.get_mut().extend(b"two\n");
        lines.forget_torn().unwrap();
        assert_eq!(lines.next().unwrap(), Next::Line(b"two"));
        assert_eq!((lines.number(), lines.offset()), (2, 8));
        assert_eq!(lines.next().unwrap(), Next::End);
    }
}
