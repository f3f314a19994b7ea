//! What every page is made of beside its own content (`page.html`): one file, nothing from elsewhere.

use serde::Serialize;

/// The parts that `page.html` puts around a page's content.
pub(in crate::report) struct Skeleton {
    pub(in crate::report) data: String,
    pub(in crate::report) own_css: &'static str,
    pub(in crate::report) own_script: &'static str,
    pub(in crate::report) css: &'static str,
    pub(in crate::report) charts: &'static str,
    pub(in crate::report) uplot_css: &'static str,
    pub(in crate::report) uplot: &'static str,
}

impl Skeleton {
    /// For a page that draws from `island`.
    ///
    /// # Errors
    /// When the island does not serialise.
    pub(in crate::report) fn new(
        island: &impl Serialize,
        own_css: &'static str,
        own_script: &'static str,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            // In a script element only `</` and `<!--` could end the data early.
            data: serde_json::to_string(island)?.replace('<', "\\u003c"),
            own_css,
            own_script,
            css: include_str!("page.css"),
            charts: include_str!("charts.js"),
            uplot_css: include_str!("uplot/uPlot.min.css"),
            uplot: include_str!("uplot/uPlot.iife.min.js"),
        })
    }
}
