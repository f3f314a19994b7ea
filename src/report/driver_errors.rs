use super::figures::seconds;
use crate::measure::GpuSummary;

/// What the driver reported of the GPUs: a kind of error once, however often it came.
pub(super) fn driver_errors(gpus: &[GpuSummary]) -> Option<String> {
    let mut told = Vec::new();
    for gpu in gpus {
        let mut codes: Vec<u64> = gpu.xids.iter().map(|one| one.xid).collect();
        codes.sort_unstable();
        codes.dedup();
        told.extend(codes.into_iter().filter_map(|code| {
            let mut all = gpu.xids.iter().filter(|one| one.xid == code);
            let first = all.next()?;
            let meaning = first.meaning.as_deref().map(|what| format!(" ({what})"));
            let times = match all.count() {
                0 => String::new(),
                more => format!(", {} times in all", more + 1),
            };
            Some(format!(
                "Xid {code}{} on GPU {} at {}{times}",
                meaning.unwrap_or_default(),
                gpu.index,
                seconds(first.t_s)
            ))
        }));
    }
    (!told.is_empty()).then(|| {
        format!(
            "the GPU's driver reported {}; `dmesg` on that machine has the rest.",
            told.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::GpuXid;

    #[test]
    fn a_kind_of_error_is_told_once_with_its_first_instant() {
        let error = |t_s, xid, meaning: Option<&str>| GpuXid {
            t_s,
            xid,
            meaning: meaning.map(str::to_owned),
        };
        let mut gpu = GpuSummary {
            index: 3,
            ..GpuSummary::default()
        };
        assert_eq!(driver_errors(&[gpu.clone()]), None);
        gpu.xids = vec![
            error(2.5, 31, Some("a fault")),
            error(4.0, 500, None),
            error(5.0, 31, Some("a fault")),
        ];
        assert_eq!(
            driver_errors(&[gpu]).unwrap(),
            "the GPU's driver reported Xid 31 (a fault) on GPU 3 at 2.5 s, 2 times in all, Xid 500 on GPU 3 at 4.0 s; `dmesg` on that machine has the rest."
        );
    }
}
