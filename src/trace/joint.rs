use super::error::TraceError;
use super::header::{Header, Source};
use super::reader::Trace;

impl Trace {
    /// One header for all files of the trace, to write them as one: they must have been recorded alike.
    ///
    /// # Errors
    /// As [`Trace::shared_header`]; when files were recorded under different policies.
    pub fn joint_header(&self) -> Result<Header, TraceError> {
        let header = Header {
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            run: match self.run() {
                Some(run) => run,
                None => fresh_run()?,
            },
            ..self.shared_header()?
        };
        for (path, other) in self.files().into_iter().zip(self.headers()) {
            if other.policy != header.policy {
                let what = "it was recorded under another policy";
                return Err(TraceError::Unlike { path, what });
            }
        }
        Ok(header)
    }

    /// What holds of all files of the trace, to read them as one: the first file's header, with the block that any has, the
    /// source that all have, and the wall clock only where it is that of all.
    ///
    /// # Errors
    /// When files were sampled otherwise, so that the load would seem to change where they meet, or their prompts are cut into
    /// different blocks, so that what they share cannot be told.
    pub fn shared_header(&self) -> Result<Header, TraceError> {
        let mut header = Header {
            epoch_unix_us: self.epoch_unix_us(),
            ..self.header().clone()
        };
        for (path, other) in self.files().into_iter().zip(self.headers()) {
            let unlike = |what| TraceError::Unlike { path, what };
            if other.sample_ppm != header.sample_ppm {
                return Err(unlike("another share of the conversations was sampled"));
            }
            match (header.block, other.block) {
                (Some(one), Some(two)) if one != two => {
                    return Err(unlike("prompts are cut into other blocks"));
                }
                (None, block) => header.block = block,
                _ => {}
            }
            if other.source != header.source {
                header.source = Source::Other;
            }
        }
        Ok(header)
    }
}

fn fresh_run() -> Result<u64, TraceError> {
    let mut run = [0; 8];
    getrandom::fill(&mut run).map_err(|error| TraceError::Io {
        path: "/dev/urandom".into(),
        source: std::io::Error::other(error),
    })?;
    Ok(u64::from_le_bytes(run))
}
