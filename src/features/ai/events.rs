//! Writes pieces of text as server-sent events, byte for byte as the contract says.

use bytes::{BufMut, BytesMut};

/// The data that ends a complete answer.
pub const DONE: &str = "[DONE]";
/// Comment on an idle stream, so that proxies do not close it.
pub const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// Writes the events of one answer.
#[derive(Debug, Default)]
pub struct Writer {
    /// The last piece ended with CR: an LF that follows is part of the same line break.
    after_cr: bool,
}

impl Writer {
    /// Writes a piece as one event: CR and CRLF become LF, also where they are split between pieces. A piece that is exactly
    /// the end mark becomes two events.
    pub fn piece(&mut self, out: &mut BytesMut, text: &str) {
        let text = if self.after_cr { text.strip_prefix('\n').unwrap_or(text) } else { text };
        if text.is_empty() {
            return;
        }
        self.after_cr = text.ends_with('\r');
        if text == DONE {
            let (bracket, rest) = DONE.split_at(1);
            line(out, bracket);
            out.put_u8(b'\n');
            line(out, rest);
        } else if text.contains(['\n', '\r']) {
            for part in text.replace("\r\n", "\n").split(['\n', '\r']) {
                line(out, part);
            }
        } else {
            line(out, text);
        }
        out.put_u8(b'\n');
    }

    /// Writes the end of a complete answer.
    pub fn done(out: &mut BytesMut) {
        line(out, DONE);
        out.put_u8(b'\n');
    }

    /// Writes an error, whose envelope is one line of JSON.
    pub fn error(out: &mut BytesMut, envelope: &str) {
        out.extend_from_slice(b"event: error\n");
        line(out, envelope);
        out.put_u8(b'\n');
    }
}

/// The blank after the colon belongs to the syntax, so a blank at the start of the text survives.
fn line(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(text.as_bytes());
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::platform::outgoing::event_stream::Decoder;

    fn written(pieces: &[&str]) -> BytesMut {
        let (mut out, mut writer) = (BytesMut::new(), Writer::default());
        for piece in pieces {
            writer.piece(&mut out, piece);
        }
        out
    }

    fn text(pieces: &[&str]) -> String {
        String::from_utf8(written(pieces).to_vec()).unwrap()
    }

    #[test]
    fn pieces_are_written_as_the_contract_says() {
        assert_eq!(text(&["Hello", " world"]), "data: Hello\n\ndata:  world\n\n");
        assert_eq!(text(&["a\nb\r\nc\rd"]), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(text(&["a\n"]), "data: a\ndata: \n\n");
        assert_eq!(text(&["a\r", "\nb"]), "data: a\ndata: \n\ndata: b\n\n");
        assert_eq!(text(&["\r", "\n", "x"]), "data: \ndata: \n\ndata: x\n\n");
        assert_eq!(text(&["", "[DONE]", " [DONE]"]), "data: [\n\ndata: DONE]\n\ndata:  [DONE]\n\n");
        let mut out = BytesMut::new();
        Writer::error(&mut out, "{}");
        Writer::done(&mut out);
        assert_eq!(out, "event: error\ndata: {}\n\ndata: [DONE]\n\n");
    }

    proptest! {
        #[test]
        fn client_reads_the_text_that_was_written(pieces in proptest::collection::vec("[a\r\n\\[\\]: 你]{0,6}|\\[DONE\\]", 0..8)) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let mut decoder = Decoder::default();
            decoder.push(&Bytes::from(written(&pieces)));
            let mut read = String::new();
            while let Some(event) = decoder.next_event().unwrap() {
                prop_assert_ne!(event.data.as_str(), DONE);
                read.push_str(&event.data);
            }
            prop_assert_eq!(read, pieces.concat().replace("\r\n", "\n").replace('\r', "\n"));
        }
    }
}
