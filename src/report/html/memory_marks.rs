use crate::measure::{GpuSummary, Ooms};

/// What befell a target's memory and GPUs, for lines down the charts of them: seconds since the run began, and what. The first of each
/// kind alone, as their names would cover the chart.
pub(super) fn memory_marks(ooms: &Ooms, gpus: &[GpuSummary]) -> Vec<(f64, String)> {
    let ooms = ooms.events.iter().take(MOST_OOMS);
    let mut marks: Vec<(f64, String)> = ooms
        .map(|oom| (oom.t_s, "out of memory".to_owned()))
        .collect();
    for gpu in gpus {
        for error in &gpu.xids {
            let name = format!("GPU {}: Xid {}", gpu.index, error.xid);
            if marks.iter().all(|(_, known)| *known != name) {
                marks.push((error.t_s, name));
            }
        }
    }
    marks
}

const MOST_OOMS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{GpuXid, OomEvent};

    #[test]
    fn each_kind_of_error_is_marked_once_for_each_gpu() {
        let error = |t_s, xid| GpuXid {
            t_s,
            xid,
            meaning: None,
        };
        let gpu = |index, xids| GpuSummary {
            index,
            xids,
            ..GpuSummary::default()
        };
        let gpus = [
            gpu(0, vec![error(1.0, 31), error(2.0, 31), error(3.0, 79)]),
            gpu(1, vec![error(4.0, 31)]),
        ];
        let ooms = Ooms {
            count: 5,
            events: vec![OomEvent::default(); 5],
        };
        let marks = memory_marks(&ooms, &gpus);
        let names: Vec<&str> = marks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names[..3], ["out of memory"; 3]);
        assert_eq!(
            names[3..],
            ["GPU 0: Xid 31", "GPU 0: Xid 79", "GPU 1: Xid 31"]
        );
    }
}
