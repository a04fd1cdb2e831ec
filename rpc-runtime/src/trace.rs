//! W3C trace context, level 2: which trace a call belongs to, and which span is above it.
//!
//! It travels in a call's metadata under `traceparent` and `tracestate`. Whoever wrote it is not
//! trusted: what is not well formed is ignored, and a new trace begins.

use std::fmt;

use crate::context::Metadata;

/// The metadata key of a call's trace and of the span above it.
pub const TRACEPARENT: &str = "traceparent";

/// The metadata key of what tracing systems add for themselves.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is passed on, in bytes; the specification asks for 512 at least.
pub const MAX_TRACESTATE: usize = 512;

/// The most entries of a `tracestate`.
const MAX_MEMBERS: usize = 32;

/// Names a trace: all that belongs to one request, wherever it runs. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span of a trace. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// The id with these bytes, unless they are all zero.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The same for bytes that were drawn: zeros are as good as a one.
    pub(crate) fn fresh(bytes: [u8; 16]) -> Self {
        Self::from_bytes(bytes).unwrap_or(Self(1_u128.to_be_bytes()))
    }

    /// The bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// The id with these bytes, unless they are all zero.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// The same for bytes that were drawn: zeros are as good as a one.
    pub(crate) fn fresh(bytes: [u8; 8]) -> Self {
        Self::from_bytes(bytes).unwrap_or(Self(1_u64.to_be_bytes()))
    }

    /// The bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

/// What is known of a trace; those that this version does not know are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// Whoever is above may have recorded its span.
    pub const SAMPLED: Self = Self(1);

    /// The trace's id, its last seven bytes at least, is random.
    pub const RANDOM: Self = Self(2);

    const KNOWN: u8 = Self::SAMPLED.0 | Self::RANDOM.0;

    /// Those of these bits that are known.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::KNOWN)
    }

    /// As they stand in a `traceparent`.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `others` are set.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A span as those below it see it: which trace it is in, and its own name there.
///
/// ```
/// use bailiwick::trace::TraceContext;
/// let above = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace = TraceContext::parse(above, Some("vendor=1")).unwrap();
/// assert_eq!(trace.span_id().to_string(), "00f067aa0ba902b7");
/// assert_eq!(trace.to_string(), above);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
    /// Well formed, and not empty.
    state: Option<Box<str>>,
}

impl TraceContext {
    /// The span of this name, without a `tracestate`.
    #[must_use]
    pub fn new(trace: TraceId, span: SpanId, flags: TraceFlags) -> Self {
        Self { trace, span, flags, state: None }
    }

    /// The same with this `tracestate`, unless it is empty, malformed or longer than
    /// [`MAX_TRACESTATE`].
    #[must_use]
    pub fn with_state(self, state: &str) -> Self {
        let state = is_state(state).then(|| state.into());
        Self { state, ..self }
    }

    /// Reads a `traceparent` and what may stand beside it. A malformed `traceparent` is none; a
    /// malformed `tracestate` is left out.
    ///
    /// Of a version above 0 the fields of version 0 are read.
    #[must_use]
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let (fields, behind) = parent.as_bytes().split_first_chunk::<55>()?;
        let [version] = hex(&fields[..2])?;
        let is_framed = fields[2] == b'-' && fields[35] == b'-' && fields[52] == b'-';
        let is_ended = match version {
            0 => behind.is_empty(),
            0xff => false,
            _ => behind.first().is_none_or(|&next| next == b'-'),
        };
        if !is_framed || !is_ended {
            return None;
        }
        let trace = TraceId::from_bytes(hex(&fields[3..35])?)?;
        let span = SpanId::from_bytes(hex(&fields[36..52])?)?;
        let [flags] = hex(&fields[53..])?;
        let context = Self::new(trace, span, TraceFlags::from_bits(flags));
        Some(match state {
            Some(state) => context.with_state(state),
            None => context,
        })
    }

    /// What metadata say, if they say it well.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Self::parse(metadata.get(TRACEPARENT)?, metadata.get(TRACESTATE))
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// The span.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.span
    }

    /// What is known of the trace.
    #[must_use]
    pub fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// What tracing systems have added for themselves.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Another span of the same trace.
    pub(crate) fn child(&self, span: SpanId) -> Self {
        Self { span, ..self.clone() }
    }
}

impl fmt::Display for TraceContext {
    /// As a `traceparent` of version 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// Lower-case digits only, as the specification has it.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

fn is_state(state: &str) -> bool {
    if state.len() > MAX_TRACESTATE {
        return false;
    }
    let mut keys = Vec::new();
    for member in state.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_MEMBERS {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_next = |byte: &u8| is_first(byte) || b"_-*/@".contains(byte);
    let bytes = key.as_bytes();
    bytes.len() <= 256 && bytes.first().is_some_and(is_first) && bytes.iter().all(is_next)
}

/// It does not end with a space: those around a member do not belong to it.
fn is_value(value: &str) -> bool {
    let is_printable = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn state(text: &str) -> Option<String> {
        TraceContext::parse(PARENT, Some(text)).unwrap().state().map(str::to_owned)
    }

    #[test]
    fn a_traceparent_comes_back_as_it_was() {
        let context = TraceContext::parse(PARENT, None).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.flags().contains(TraceFlags::SAMPLED));
        assert!(!context.flags().contains(TraceFlags::RANDOM));
        assert_eq!((context.to_string().as_str(), context.state()), (PARENT, None));
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        let malformed = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ];
        for parent in malformed {
            assert_eq!(TraceContext::parse(parent, Some("a=1")), None, "{parent:?}");
        }
    }

    #[test]
    fn of_a_later_version_what_is_known_is_read() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff";
        for parent in [later.to_owned(), format!("{later}-what-comes-then")] {
            let context = TraceContext::parse(&parent, None).unwrap();
            let known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
            assert_eq!(context.to_string(), known, "unknown flags are dropped");
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_as_it_came() {
        let long = format!("a={}", "x".repeat(256));
        for good in ["a=1", "a=1,b@c=2", "a=1 , ,b=2", "0a_-*/@=!~", "a=b c", &long] {
            assert_eq!(state(good).as_deref(), Some(good), "{good:?}");
        }
    }

    #[test]
    fn a_malformed_tracestate_is_left_out_and_the_trace_goes_on() {
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=1")).collect();
        let long = format!("{}=1", "k".repeat(257));
        let value = format!("a={}", "x".repeat(257));
        let whole = format!("a={0},b={0},c={0}", "x".repeat(200));
        let malformed =
            ["", ",", "a", "a=", "=1", "A=1", "a=1=2", "a=1,a=2", "_a=1", "a=\u{7f}", "a=é"];
        for bad in malformed.into_iter().chain([&*many.join(","), &*long, &*value, &*whole]) {
            assert_eq!(state(bad), None, "{bad:?}");
        }
    }
}
