use serde::Deserialize;
use serde_json::value::RawValue;

use super::List;
use crate::anonymise::PromptRender;

/// Definitions of tools, as they stand in the body; null is as good as none.
#[derive(Default, Deserialize)]
pub(in crate::dialect) struct Tools<'a>(#[serde(borrow)] Option<List<&'a RawValue>>);

impl Tools<'_> {
    pub(in crate::dialect) fn iter(&self) -> impl Iterator<Item = &RawValue> {
        self.0.iter().flat_map(List::iter).copied()
    }

    pub(in crate::dialect) fn render(&self, render: &mut PromptRender) {
        for tool in self.iter() {
            render.tool(tool.get().as_bytes());
        }
    }
}
