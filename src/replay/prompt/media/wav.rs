use super::noise::Xorshift;

/// What speech models are fed with.
pub(super) const SAMPLES_PER_S: u32 = 16_000;

/// One channel of 16-bit samples, quiet noise, in a file of exactly `bytes` (an even number of them, and the head's 44 at least).
pub(super) fn wav(bytes: u64, seed: u64) -> Vec<u8> {
    let samples = bytes.saturating_sub(44) / 2;
    let data = u32::try_from(samples * 2).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(data as usize + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&data.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    file.extend_from_slice(&(SAMPLES_PER_S * 2).to_le_bytes());
    // Two bytes for all channels, of 16 bits each.
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data.to_le_bytes());
    let mut random = Xorshift::new(seed);
    for _ in 0..samples {
        let sample = i16::from(random.byte()) - 128;
        file.extend_from_slice(&(sample * 8).to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_a_wav_of_the_recorded_bytes() {
        let file = wav(32_044, 3);
        assert_eq!(file.len(), 32_044);
        assert_eq!((&file[..4], &file[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()), 32_036);
        assert_eq!(wav(0, 3).len(), 44);
    }
}
