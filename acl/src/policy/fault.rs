//! A mistake while it is being collected: where in which file, what, and the mend.

/// A piece of one line of one of the files, in bytes from the start of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Which of the files: 0 is the policy.
    pub(super) file: u8,
    /// 1 is the first line.
    pub(super) line: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where a piece of text under examination begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file: u8,
    pub(super) line: u32,
    /// Bytes from the start of the line.
    pub(super) offset: usize,
}

impl Place {
    /// The span from `start` to `end`, both counted from this place.
    pub(super) const fn span(self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            line: self.line,
            start: self.offset + start,
            end: self.offset + end,
        }
    }

    /// The place `bytes` further on in the line.
    pub(super) const fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }
}

/// One mistake; the public form with line and column is made at the end, for all files at once.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: String,
    /// A second place to show, and what it says there.
    pub(super) related: Option<Box<(Span, String)>>,
    /// What kind it is, for machines; it never changes its meaning.
    pub(super) code: &'static str,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { span, message, help, related: None, code: "acl::syntax" }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    pub(super) fn with_related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some(Box::new((span, label.into())));
        self
    }
}
