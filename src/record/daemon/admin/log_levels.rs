use std::fmt;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::Handle;

/// The log filter of the running process, to be read and changed.
#[derive(Clone)]
pub struct LogLevels(Handle<EnvFilter, Registry>);

impl LogLevels {
    /// Around the subscriber's own handle.
    pub fn new(handle: Handle<EnvFilter, Registry>) -> Self {
        Self(handle)
    }

    /// As it stands: a level, or directives as in `RUST_LOG`. `None` where logging is not ours.
    pub(super) fn get(&self) -> Option<String> {
        self.0.with_current(ToString::to_string).ok()
    }

    /// Sets it. `None` where the text is no filter, or logging is not ours.
    pub(super) fn set(&self, text: &str) -> Option<()> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let filter = EnvFilter::builder().parse(text).ok()?;
        self.0.reload(filter).ok()
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_nonsense_is_not() {
        let (_layer, handle) = tracing_subscriber::reload::Layer::new(EnvFilter::new("info"));
        let levels = LogLevels::new(handle);
        assert_eq!(levels.get().as_deref(), Some("info"));
        assert!(levels.set("debug\n").is_some());
        assert_eq!(levels.get().as_deref(), Some("debug"));
        assert!(levels.set("warn,reenact::record=trace").is_some());
        for nonsense in ["", "a=b=c", "reenact=loud"] {
            assert!(levels.set(nonsense).is_none(), "{nonsense}");
        }
        assert!(levels.get().unwrap().contains("reenact::record=trace"));
    }
}
