//! Length-prefixed frames: the unit of every link.
//!
//! A frame is a little-endian `u32` length and as many bytes. What the bytes mean is the link's business; most carry one
//! message in MessagePack with named fields, so that either side may know more fields than the other.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::limits::FRAME_BYTES_MAX;

/// Bytes of the length before each frame.
pub const FRAME_HEADER_BYTES: usize = 4;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    TooLong { len: usize, max: usize },
    #[error("message does not decode: {0}")]
    Malformed(String),
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    consumed: usize,
    max: usize,
}

impl FrameDecoder {
    /// For a peer that has proved itself.
    pub fn new() -> Self {
        Self::with_limit(FRAME_BYTES_MAX)
    }

    /// Frames of at most `max` bytes.
    pub fn with_limit(max: usize) -> Self {
        Self { buffer: Vec::new(), consumed: 0, max }
    }

    /// From the next frame on.
    pub fn set_limit(&mut self, max: usize) {
        self.max = max;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` while it is still under way.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as a length above the limit is seen; the stream is of no use afterwards.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.buffer[self.consumed..];
        let Some((header, body)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let len = u32::from_le_bytes(*header) as usize;
        if len > self.max {
            return Err(FrameError::TooLong { len, max: self.max });
        }
        if body.len() < len {
            return Ok(None);
        }
        let start = self.consumed + FRAME_HEADER_BYTES;
        self.consumed = start + len;
        Ok(Some(&self.buffer[start..start + len]))
    }

    /// True where no byte of an unfinished frame is left over.
    pub fn is_empty(&self) -> bool {
        self.consumed == self.buffer.len()
    }
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// One frame that carries `message`.
///
/// # Errors
/// [`FrameError::TooLong`] where the message does not fit a frame.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    let mut serializer = rmp_serde::Serializer::new(&mut frame).with_struct_map();
    message.serialize(&mut serializer).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let len = frame.len() - FRAME_HEADER_BYTES;
    if len > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { len, max: FRAME_BYTES_MAX });
    }
    frame[..FRAME_HEADER_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(frame)
}

/// The message that the body of a frame carries.
///
/// # Errors
/// [`FrameError::Malformed`] for anything else.
pub fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, FrameError> {
    rmp_serde::from_slice(body).map_err(|error| FrameError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut stream = encode(&"first").unwrap();
        stream.extend(encode(&"second").unwrap());
        for cut in 0..stream.len() {
            let mut decoder = FrameDecoder::new();
            let mut seen: Vec<String> = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(decode(frame).unwrap());
                }
            }
            assert_eq!(seen, ["first", "second"], "cut at {cut}");
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_arrive() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        #[derive(serde::Serialize)]
        struct New {
            known: u8,
            unknown: &'static str,
        }
        #[derive(serde::Deserialize)]
        struct Old {
            known: u8,
        }
        let frame = encode(&New { known: 7, unknown: "later" }).unwrap();
        assert_eq!(decode::<Old>(&frame[FRAME_HEADER_BYTES..]).unwrap().known, 7);
    }
}
