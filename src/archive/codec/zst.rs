//! Zstandard frames (RFC 8878), skippable ones included.

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, get_error_name, get_frame_content_size,
};

use super::skip_padding;
use crate::archive::buffer::Buffer;
use crate::archive::{Source, malformed, over_limit, truncated};
use crate::error::{Code, Errno, Error, Result};

// Numbers of zstd_errors.h, part of its stable interface.
const PREFIX_UNKNOWN: usize = 10;
const WINDOW_TOO_LARGE: usize = 16;
/// No frame header is longer.
const HEADER: usize = 18;

pub(super) struct Zstd {
    context: DCtx<'static>,
    window_log: u32,
    /// No frame is open.
    between: bool,
    /// The last call filled its output: the codec may hold more without further input.
    pending: bool,
    first: bool,
    /// The length that the open frame's header tells, and what came out of it. The codec does not
    /// compare them where the last block is empty, unless it has all of the frame at once.
    told: Option<u64>,
    came: u64,
}

impl Zstd {
    pub(super) fn new(window_log: u32) -> Result<Self> {
        let no_memory = || Error::new(Code::System, Errno::NOMEM, "zstd: no memory for a context");
        let mut context = DCtx::try_create().ok_or_else(no_memory)?;
        context
            .set_parameter(DParameter::WindowLogMax(window_log))
            .map_err(|code| Error::invalid(format!("zstd window: {}", get_error_name(code))))?;
        Ok(Zstd {
            context,
            window_log,
            between: true,
            pending: false,
            first: true,
            told: None,
            came: 0,
        })
    }

    pub(super) fn read<S: Source>(
        &mut self,
        input: &mut Buffer<S>,
        out: &mut [u8],
    ) -> Result<usize> {
        loop {
            if !self.pending && input.fill_to(1)? == 0 {
                return match self.between {
                    true => Ok(0),
                    false => Err(truncated("zstd: the blob ends inside a frame")),
                };
            }
            if self.between && !self.first && input.unread().first() == Some(&0) {
                skip_padding(input, "zstd")?;
                return Ok(0);
            }
            if self.between {
                input.fill_to(HEADER)?;
                // What is wrong with a header the codec says.
                self.told = get_frame_content_size(input.unread()).unwrap_or(None);
                self.came = 0;
            }
            let (read, written, hint) = {
                let mut from = InBuffer::around(input.unread());
                let mut to = OutBuffer::around(&mut *out);
                let hint = self.context.decompress_stream(&mut to, &mut from);
                (from.pos(), to.pos(), hint)
            };
            let hint = hint.map_err(|code| self.explain(code))?;
            input.take(read);
            self.first = false;
            self.between = hint == 0;
            self.pending = !self.between && written == out.len();
            self.came += written as u64;
            if self.between && self.told.is_some_and(|told| told != self.came) {
                let message = "zstd: a frame is not as long as its header says";
                return Err(malformed(message));
            }
            if written > 0 {
                return Ok(written);
            }
            if read == 0 && !self.between && !input.unread().is_empty() {
                return Err(malformed("zstd: the frame makes no progress"));
            }
        }
    }

    fn explain(&self, code: usize) -> Error {
        match code.wrapping_neg() {
            WINDOW_TOO_LARGE => over_limit(format!(
                "zstd: a frame needs a window of more than 2^{} bytes",
                self.window_log
            )),
            PREFIX_UNKNOWN if self.between && !self.first => {
                malformed("zstd: garbage follows the compressed data")
            }
            _ => malformed(format!("zstd: {}", get_error_name(code))),
        }
    }
}
