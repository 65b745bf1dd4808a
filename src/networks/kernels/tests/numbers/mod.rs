//! Numbers to compute with.

/// In [−1, 1), different from place to place.
pub fn number(i: usize) -> f32 {
    let z = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((z >> 40) as f32) / (1 << 23) as f32 - 1.0
}
