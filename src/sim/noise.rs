//! Deterministic noise: everything in the simulator that looks random is a pure function of the seed and of what it is for.

/// Mixes `value` into `state` (the finaliser of SplitMix64, Steele et al., OOPSLA 2014).
pub(crate) fn mix(state: u64, value: u64) -> u64 {
    let mut z =
        (state ^ value.wrapping_mul(0xa24b_aed4_963e_e407)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `[0, 1)`.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A standard normal number (Box and Muller).
pub(crate) fn normal(bits: u64) -> f64 {
    let radius = (-2.0 * (1.0 - unit(mix(bits, 1))).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(mix(bits, 2))).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_numbers_are_standard() {
        let drawn: Vec<f64> = (0..20_000).map(|i| normal(mix(7, i))).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }
}
