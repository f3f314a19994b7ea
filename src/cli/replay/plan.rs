//! Options that say what of a trace is sent, and when.

use std::time::{Duration, SystemTime};

use crate::cli::failure::Failure;
use crate::cli::values;
use crate::replay::{PlanOptions, RunOptions, Shape, Shard};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Time and load")]
pub(super) struct PlanArgs {
    /// How many times as fast arrivals come: 2 is twice as fast, 0.5 half as fast
    ///
    /// Asks: what if everything is faster? Conversations that are replayed by session begin so much faster and keep their think times
    /// (see --speed-think).
    #[arg(long, default_value = "1", value_name = "X", value_parser = values::factor)]
    speed: f64,

    /// Divide think times by --speed, too
    #[arg(long)]
    speed_think: bool,

    /// How many times as many sessions there are: 0.5 keeps half of them, 3 adds two copies; a request without a session counts as one
    ///
    /// Asks: what if there are more users? Sessions stay whole and keep their own pace. Below 1 they are chosen by a hash, so that 0.5 is
    /// a part of 0.75. Above 1, each session of a copy is moved in time by up to --copy-shift either way, and blocks of its prompts that
    /// no other session used get words of their own, so that a copy finds in a cache what another session would have found. A
    /// fraction above is a copy of so many of the sessions.
    #[arg(long, default_value = "1", value_name = "X", value_parser = values::factor)]
    rate_scale: f64,

    /// How far --rate-scale may move a session of a copy, either way
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = values::duration)]
    copy_shift: Duration,

    /// How the rate of arrivals goes over the run: ramp:1..4, step:1,2,4 or spike:5@50%+10% (five-fold from half of the run on, for a tenth
    /// of it)
    ///
    /// Arrivals are moved in time, none is added: the run is shorter by the mean of the shape. Conversations that are replayed by session
    /// keep their think times.
    #[arg(long, value_name = "SHAPE")]
    shape: Option<Shape>,

    /// Leave out what arrived before this moment of the trace (by session: conversations that began before it)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    from: Option<Duration>,

    /// Leave out what arrived at or after this moment of the trace (by session: conversations that began then; those that began before
    /// run to their end)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    to: Option<Duration>,

    /// Send at most this many requests (by session: begin no conversation after this many; those that have begun run to their end)
    #[arg(long, value_name = "N", value_parser = values::whole::<u64>)]
    limit: Option<u64>,

    /// Replay the trace, or the slice of it, again and again for this long
    ///
    /// Nothing begins after it. Each pass has sessions of its own and, unless --cache keep, words of its own for what only one session
    /// used.
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    loop_for: Option<Duration>,

    /// Send only this part of the plan: I/N, counted from 0, such as 0/4; or `auto`, from the environment of a job
    ///
    /// N processes, on as many machines as you like, send the plan between them, each request once, at its instant (give all of them the
    /// same options, seed and --start-at); conversations stay together. `auto` reads JOB_COMPLETION_INDEX (of --shards; Kubernetes),
    /// SLURM_PROCID and SLURM_NTASKS, or OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE. `reenact merge` puts the results together.
    #[arg(long, value_name = "I/N|auto", value_parser = shard)]
    shard: Option<ShardChoice>,

    /// How many shards there are, where the environment tells only which one this is; means --shard auto
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>)]
    shards: Option<u32>,

    /// Send the first request at this moment: a time such as 2026-03-01T12:00:00Z, or +30s from now
    #[arg(long, value_name = "TIME", value_parser = start_at)]
    start_at: Option<StartAt>,
}

#[derive(Debug, Clone, Copy)]
enum ShardChoice {
    This(Shard),
    Auto,
}

#[derive(Debug, Clone, Copy)]
enum StartAt {
    Moment(jiff::Timestamp),
    In(Duration),
}

impl PlanArgs {
    pub(super) fn options(&self) -> Result<PlanOptions, Failure> {
        values::span(self.from, self.to)?;
        Ok(PlanOptions {
            speed: self.speed,
            speed_think: self.speed_think,
            from_us: self.from.map(values::micros),
            to_us: self.to.map(values::micros),
            limit: self.limit,
            rate_scale: self.rate_scale,
            copy_shift_us: values::micros(self.copy_shift),
            loop_for_us: self.loop_for.map(values::micros),
            shape: self.shape,
            shard: self.shard()?,
            ..PlanOptions::default()
        })
    }

    pub(super) fn apply(&self, options: &mut RunOptions) -> Result<(), Failure> {
        options.start_at = match self.start_at {
            None => None,
            Some(StartAt::In(wait)) => {
                Some(SystemTime::now().checked_add(wait).ok_or_else(|| {
                    Failure::usage(anyhow::anyhow!("--start-at +{wait:?} is beyond all time"))
                        .hint("write +30s or +10m")
                })?)
            }
            Some(StartAt::Moment(moment)) => {
                let since = u64::try_from(moment.as_microsecond()).unwrap_or(0);
                let at = SystemTime::UNIX_EPOCH + Duration::from_micros(since);
                if at <= SystemTime::now() {
                    return Err(Failure::usage(anyhow::anyhow!(
                        "--start-at {moment} is over"
                    ))
                    .hint("give a moment to come, long enough after now to read the trace and probe the target"));
                }
                Some(at)
            }
        };
        Ok(())
    }

    /// A number that all shards of a replay have, and another replay has not: the moment at which they start together. `None` where this
    /// is no shard.
    pub(super) fn in_common(&self) -> Result<Option<u64>, Failure> {
        Ok(self.shard()?.map(|_| match self.start_at {
            Some(StartAt::Moment(moment)) => u64::try_from(moment.as_second()).unwrap_or(0),
            Some(StartAt::In(_)) | None => 0,
        }))
    }

    fn shard(&self) -> Result<Option<Shard>, Failure> {
        match (self.shard, self.shards) {
            (None, None) => Ok(None),
            (Some(ShardChoice::This(shard)), shards) => {
                if let Some(count) = shards.filter(|&count| count != shard.count()) {
                    return Err(Failure::usage(anyhow::anyhow!(
                        "--shard {shard} is not of --shards {count}"
                    ))
                    .hint("leave --shards away: I/N says it"));
                }
                Ok(Some(shard))
            }
            (Some(ShardChoice::Auto) | None, shards) => {
                shard_of(|name| std::env::var(name).ok(), shards).map(Some)
            }
        }
    }
}

/// Where a job's environment says which of its processes this is, and how many there are.
const JOBS: [(&str, Option<&str>); 3] = [
    ("JOB_COMPLETION_INDEX", None),
    ("SLURM_PROCID", Some("SLURM_NTASKS")),
    ("OMPI_COMM_WORLD_RANK", Some("OMPI_COMM_WORLD_SIZE")),
];

/// The shard that the environment tells.
fn shard_of(
    variable: impl Fn(&str) -> Option<String>,
    shards: Option<u32>,
) -> Result<Shard, Failure> {
    let usage = |what: String| Failure::usage(anyhow::anyhow!(what));
    let number = |name: &str| match variable(name) {
        None => Ok(None),
        Some(text) => match text.trim().parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(usage(format!("{name} in the environment is not a number"))
                .hint("write --shard I/N instead")),
        },
    };
    for (index_name, count_name) in JOBS {
        let Some(index) = number(index_name)? else {
            continue;
        };
        let told = count_name.map(&number).transpose()?.flatten();
        let Some(count) = shards.or(told) else {
            return Err(usage(format!(
                "{index_name} says which shard this is, and nothing says of how many"
            ))
            .hint("give --shards N, or REENACT_SHARDS in the environment"));
        };
        return Shard::new(index, count).ok_or_else(|| {
            usage(format!(
                "{index_name} is {index}, and there are {count} shards"
            ))
            .hint("shards count from 0; --shards is how many processes the job has")
        });
    }
    let names = JOBS.map(|(name, _)| name).join(", ");
    Err(usage(format!(
        "nothing in the environment says which shard this is: no {names}"
    ))
    .hint("write --shard I/N, such as 0/4"))
}

fn shard(text: &str) -> Result<ShardChoice, String> {
    match text.trim() {
        "auto" => Ok(ShardChoice::Auto),
        text => text
            .parse()
            .map(ShardChoice::This)
            .map_err(|error: String| format!("{error}; or auto")),
    }
}

fn start_at(text: &str) -> Result<StartAt, String> {
    match text.trim().strip_prefix('+') {
        Some(wait) => values::duration(wait).map(StartAt::In),
        None => text.trim().parse().map(StartAt::Moment).map_err(|_| {
            "not a moment; write 2026-03-01T12:00:00Z (with Z or an offset), or +30s".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(environment: &[(&str, &str)], shards: Option<u32>) -> Result<String, String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        shard_of(variable, shards)
            .map(|shard| shard.to_string())
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_job_tells_which_shard_it_is() {
        assert_eq!(
            told(&[("JOB_COMPLETION_INDEX", "2")], Some(5)).unwrap(),
            "2/5"
        );
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "3")];
        assert_eq!(told(&slurm, None).unwrap(), "0/3");
        let mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")];
        assert_eq!(told(&mpi, None).unwrap(), "1/2");
    }

    #[test]
    fn an_environment_that_does_not_tell_is_refused_with_what_would() {
        assert!(told(&[], None).unwrap_err().contains("SLURM_PROCID"));
        let which = [("JOB_COMPLETION_INDEX", "2")];
        assert!(told(&which, None).unwrap_err().contains("of how many"));
        assert!(
            told(&which, Some(2))
                .unwrap_err()
                .contains("there are 2 shards")
        );
        let odd = [("SLURM_PROCID", "one")];
        assert!(told(&odd, Some(2)).unwrap_err().contains("not a number"));
    }

    #[test]
    fn moments_read_as_documented() {
        assert!(
            matches!(start_at("+30s"), Ok(StartAt::In(wait)) if wait == Duration::from_secs(30))
        );
        assert!(matches!(
            start_at("2026-03-01T12:00:00+01:00"),
            Ok(StartAt::Moment(_))
        ));
        for bad in ["noon", "+soon", "12:00", "2026-03-01"] {
            assert!(start_at(bad).is_err(), "{bad}");
        }
    }
}
