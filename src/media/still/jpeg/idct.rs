//! Coefficients of a block → samples, by the accurate integer method of libjpeg (`jidctint.c`; Loeffler, Ligtenberg and
//! Moschytz, 1989), to the last bit: Pillow, OpenCV and browsers show these samples.

/// The place of each coefficient in the order of the file (T.81, figure A.6).
pub const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Fractions have 13 bits.
const BITS: u32 = 13;
/// Kept between the passes.
const PASS_BITS: u32 = 2;

const C0_298631336: i32 = 2446;
const C0_390180644: i32 = 3196;
const C0_541196100: i32 = 4433;
const C0_765366865: i32 = 6270;
const C0_899976223: i32 = 7373;
const C1_175875602: i32 = 9633;
const C1_501321110: i32 = 12299;
const C1_847759065: i32 = 15137;
const C1_961570560: i32 = 16069;
const C2_053119869: i32 = 16819;
const C2_562915447: i32 = 20995;
const C3_072711026: i32 = 25172;

/// Writes 8×8 samples from `at` on, rows `line` bytes apart.
pub fn inverse(block: &[i16; 64], quantisation: &[u16; 64], samples: &mut [u8], at: usize, line: usize) {
    let mut columns = [0_i32; 64];
    for x in 0..8 {
        let input: [i32; 8] =
            std::array::from_fn(|y| i32::from(block[8 * y + x]).wrapping_mul(i32::from(quantisation[8 * y + x])));
        let output = one_pass(input, BITS - PASS_BITS);
        (0..8).for_each(|y| columns[8 * y + x] = output[y]);
    }
    for (y, row) in columns.chunks_exact(8).enumerate() {
        let output = one_pass(std::array::from_fn(|x| row[x]), BITS + PASS_BITS + 3);
        let start = at + y * line;
        if let Some(target) = samples.get_mut(start..start + 8) {
            target.iter_mut().zip(output).for_each(|(sample, value)| *sample = (value + 128).clamp(0, 255) as u8);
        }
    }
}

fn one_pass(input: [i32; 8], shift: u32) -> [i32; 8] {
    let times = |value: i32, factor: i32| value.wrapping_mul(factor);
    let add = i32::wrapping_add;
    let sub = i32::wrapping_sub;

    // Even part.
    let z1 = times(add(input[2], input[6]), C0_541196100);
    let even2 = add(z1, times(input[6], -C1_847759065));
    let even3 = add(z1, times(input[2], C0_765366865));
    let even0 = add(input[0], input[4]).wrapping_shl(BITS);
    let even1 = sub(input[0], input[4]).wrapping_shl(BITS);
    let (sum0, sum3) = (add(even0, even3), sub(even0, even3));
    let (sum1, sum2) = (add(even1, even2), sub(even1, even2));

    // Odd part.
    let (t0, t1, t2, t3) = (input[7], input[5], input[3], input[1]);
    let z5 = times(add(add(t0, t2), add(t1, t3)), C1_175875602);
    let z1 = times(add(t0, t3), -C0_899976223);
    let z2 = times(add(t1, t2), -C2_562915447);
    let z3 = add(times(add(t0, t2), -C1_961570560), z5);
    let z4 = add(times(add(t1, t3), -C0_390180644), z5);
    let odd0 = add(times(t0, C0_298631336), add(z1, z3));
    let odd1 = add(times(t1, C2_053119869), add(z2, z4));
    let odd2 = add(times(t2, C3_072711026), add(z2, z3));
    let odd3 = add(times(t3, C1_501321110), add(z1, z4));

    let round = |value: i32| add(value, 1 << (shift - 1)) >> shift;
    [
        round(add(sum0, odd3)),
        round(add(sum1, odd2)),
        round(add(sum2, odd1)),
        round(add(sum3, odd0)),
        round(sub(sum3, odd0)),
        round(sub(sum2, odd1)),
        round(sub(sum1, odd2)),
        round(sub(sum0, odd3)),
    ]
}
