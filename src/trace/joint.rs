use super::error::TraceError;
use super::header::{Header, Source};
use super::reader::Trace;

impl Trace {
    /// One header for all files of the trace: what is written as one must have been recorded alike.
    ///
    /// # Errors
    /// When files were sampled otherwise, recorded under different policies, or their prompts cut into different blocks.
    pub fn joint_header(&self) -> Result<Header, TraceError> {
        let mut header = Header {
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            epoch_unix_us: self.epoch_unix_us(),
            run: match self.run() {
                Some(run) => run,
                None => fresh_run()?,
            },
            ..self.header().clone()
        };
        for (path, other) in self.files().into_iter().zip(self.headers()) {
            let unlike = |what| TraceError::Unlike { path, what };
            if other.sample_ppm != header.sample_ppm {
                return Err(unlike("another share of the conversations was sampled"));
            }
            if other.policy != header.policy {
                return Err(unlike("it was recorded under another policy"));
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
