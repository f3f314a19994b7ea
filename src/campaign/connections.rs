//! Which connections the requests go over: in words, in the result, and how true that was to the trace.

use super::Campaign;
use super::error::CampaignError;
use super::survey::Survey;
use crate::replay::{Connections, Evidence, HttpVersion, PlanSummary};
use crate::report::{ConnectionsAccount, ConnectionsMode};

impl Campaign {
    /// Which connections requests go over, now that it is known what the trace tells.
    pub(super) fn connections(&self, survey: &Survey) -> Connections {
        match self.run.connections {
            Connections::AsTold if !survey.plan.tells_connections() || self.speaks_http2() => {
                Connections::Shared
            }
            Connections::AsTold => Connections::AsRecorded,
            asked => asked,
        }
    }

    /// Holds that the trace tells what someone asked for.
    pub(super) fn check_connections(&self, plan: &PlanSummary) -> Result<(), CampaignError> {
        match self.run.connections {
            Connections::AsRecorded if !plan.tells_connections() => {
                Err(CampaignError::UntoldConnections)
            }
            _ => Ok(()),
        }
    }

    /// The same as the result has it.
    pub(super) fn connections_account(&self, survey: &Survey) -> ConnectionsAccount {
        let connections = self.connections(survey);
        let one_each = self.targets.iter().any(|target| !target.keep_alive);
        ConnectionsAccount {
            mode: match connections {
                _ if one_each => ConnectionsMode::OneEach,
                Connections::AsTold | Connections::AsRecorded => ConnectionsMode::Recorded,
                Connections::Shared => ConnectionsMode::Shared,
                Connections::AtMost(_) => ConnectionsMode::AtMost,
            },
            limit: connections.limit().map(|limit| limit.get() as u64),
        }
    }

    /// The same in words; nothing where the trace tells nothing and nobody asked for anything.
    pub(super) fn describe_connections(&self, survey: &Survey) -> Option<String> {
        let ConnectionsAccount { mode, limit } = self.connections_account(survey);
        let plan = &survey.plan;
        let told = plan.tells_connections().then(|| {
            format!(
                "{} requests began one in the trace, {} used one again",
                plan.began_connections, plan.reused_connections
            )
        });
        let limit = limit.map(|limit| format!("at most {limit} at once"));
        let how = match mode {
            ConnectionsMode::Recorded => "as recorded",
            ConnectionsMode::Shared | ConnectionsMode::AtMost => "shared by all requests",
            ConnectionsMode::OneEach => "one for each request",
        };
        let is_usual = mode == ConnectionsMode::Shared && told.is_none();
        let parts = [Some(how.to_owned()), limit, told];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!is_usual).then(|| format!("connections {}", parts.join("; ")))
    }

    pub(super) fn speaks_http2(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| target.http == HttpVersion::Http2)
    }
}

/// How many requests began a connection, or used one again, as they had in the trace; `None` where that tells nothing of it, or requests shared
/// connections in HTTP/2.
pub(super) fn remark(generator: &Evidence) -> Option<String> {
    let (began, again) = (generator.began, generator.used_again);
    let told = began.told + again.told > 0 && generator.http == HttpVersion::Http1;
    told.then(|| {
        format!(
            "{} requests began a connection in the trace, and {} of them did here; {} used one again, and {} of them did here",
            began.told, began.done, again.told, again.done
        )
    })
}
