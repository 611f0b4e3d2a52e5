//! Decoder for server-sent events from vendors
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).
//!
//! Lines end with LF, CR or CRLF, also where these are split between two chunks. Bytes become text one complete line at a
//! time, so a character that is split between chunks is never damaged. Own code, because the memory that a vendor can make us
//! hold must be limited.

use bytes::{Buf, Bytes, BytesMut};

/// Limit on the data of one event and on one line, in bytes.
const MAX_EVENT: usize = 1024 * 1024;

/// One event. The fields `id` and `retry` are ignored, because no call to a vendor is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Empty unless the vendor names it.
    pub name: String,
    /// The `data` lines, joined by line breaks.
    pub data: String,
}

/// Bytes that are no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    #[error("an event is larger than the limit")]
    TooLarge,
    #[error("a line is not UTF-8")]
    NotUtf8,
}

/// Turns chunks of bytes into events: [`Decoder::push`] a chunk, then call [`Decoder::next_event`] until it returns `None`.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Bytes at the start of the buffer that hold no line end.
    searched: usize,
    event: Event,
    has_data: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The first line has been read. Before it, a byte order mark is skipped.
    begun: bool,
}

impl Decoder {
    pub fn push(&mut self, chunk: &Bytes) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Whether bytes of an incomplete line are left. At the end of a stream they are lost.
    pub fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Returns the next complete event. Events without data are skipped, as the standard says.
    pub fn next_event(&mut self) -> Result<Option<Event>, StreamFault> {
        while let Some(line) = self.next_line()? {
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(event));
                }
                continue;
            }
            let line = std::str::from_utf8(&line).map_err(|_| StreamFault::NotUtf8)?;
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    if self.event.data.len() + value.len() > MAX_EVENT {
                        return Err(StreamFault::TooLarge);
                    }
                    if std::mem::replace(&mut self.has_data, true) {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                "event" => value.clone_into(&mut self.event.name),
                // Comments have an empty field name.
                _ => {}
            }
        }
        Ok(None)
    }

    /// Returns the next complete line without its end.
    fn next_line(&mut self) -> Result<Option<BytesMut>, StreamFault> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let Some(at) = self.buffer[self.searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.buffer.len();
            return if self.searched > MAX_EVENT { Err(StreamFault::TooLarge) } else { Ok(None) };
        };
        let mut line = self.buffer.split_to(self.searched + at);
        self.searched = 0;
        self.after_cr = self.buffer[0] == b'\r';
        self.buffer.advance(1);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.advance(3);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<(String, String)>, StreamFault> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(&Bytes::copy_from_slice(chunk));
            while let Some(event) = decoder.next_event()? {
                events.push((event.name, event.data));
            }
        }
        Ok(events)
    }

    const STREAM: &str = "\u{feff}: hello\n\ndata:x\r\rid: 7\r\nevent: delta\r\ndata: 你好\r\ndata:  two 🦀\r\n\r\nevent: empty\n\nretry\ndata\n\ndata: lost";

    fn expected() -> Vec<(String, String)> {
        [("", "x"), ("delta", "你好\n two 🦀"), ("", "")].map(|(name, data)| (name.to_owned(), data.to_owned())).to_vec()
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), Ok(expected()), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), Ok(expected()));
    }

    #[test]
    fn line_ends_of_every_kind_end_an_event() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["data: a", "", ": comment", "data: b", "data: c", "", ""].join(end);
            assert_eq!(decode(&[stream.as_bytes()]).unwrap().len(), 2, "{end:?}");
        }
    }

    #[test]
    fn line_that_is_not_utf8_is_a_fault() {
        assert_eq!(decode(&[b"data: \xe4\xbd\n\n"]), Err(StreamFault::NotUtf8));
        // An unfinished character is not judged before its line is complete.
        assert_eq!(decode(&[b"data: \xe4\xbd"]), Ok(vec![]));
    }

    #[test]
    fn event_above_the_limit_is_a_fault() {
        let line = format!("data: {}\n", "x".repeat(1000));
        assert_eq!(decode(&[line.repeat(1100).as_bytes()]), Err(StreamFault::TooLarge));
        assert_eq!(decode(&["x".repeat(MAX_EVENT + 1).as_bytes()]), Err(StreamFault::TooLarge));
    }

    proptest! {
        #[test]
        fn decoder_takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), decode(&[&bytes]));
        }
    }
}
