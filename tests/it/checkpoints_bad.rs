//! Files that claim to be checkpoints and are not, or lie about what is in them, or carry code: each is refused with
//! words that name it, nothing is run, and none takes more memory or time than it has bytes for.

use std::path::Path;
use std::process::Command;

use candle_core::Device;
use deepsweep::networks::weights::Weights;

use crate::checkpoints::folder;

const MIB: u64 = 1024 * 1024;

/// Opening it, or reading all of it, fails; the message has the file's name and each of `named`.
fn check_refused(path: &Path, named: &[&str]) {
    let opened = Weights::open(path, &Device::Cpu);
    let read = opened.and_then(|weights| read_all(&weights));
    let refused = read.expect_err(&format!("{}", path.display())).to_string();
    for name in [path.file_name().unwrap().to_str().unwrap()].iter().chain(named) {
        assert!(refused.contains(name), "expected {name:?} in {refused}");
    }
}

fn read_all(weights: &Weights) -> Result<usize, deepsweep::networks::NetworkError> {
    weights.shapes().map(|(name, _)| weights.stored(name)).try_fold(0, |read, stored| Ok(read + stored?.bytes.len()))
}

fn check_golden(name: &str, named: &[&str]) {
    check_refused(&folder().join("bad").join(name), named);
}

#[test]
fn a_pickle_that_calls_anything_is_refused_and_not_run() {
    let run = Path::new("/tmp/deepsweep_was_run");
    assert!(!run.exists(), "left by something else: remove {}", run.display());
    check_golden("os_system.pth", &["posix.system", "nothing of the file was run"]);
    check_golden("eval.pth", &["__builtin__.eval"]);
    check_golden("getattr.pth", &["__builtin__.getattr"]);
    check_golden("torch_load.pth", &["torch.serialization.load"]);
    check_golden("call_in_the_shape.pth", &["__builtin__.eval"]);
    check_golden("whole_model.pth", &["torch.nn.modules.linear.Linear", "state_dict()"]);
    assert!(!run.exists());
}

#[test]
fn files_of_another_kind_are_called_by_it() {
    check_golden("legacy.pth", &["pickle without a zip", "torch.save(torch.load("]);
    check_golden("plain_pickle.bin", &["pickle without a zip"]);
    check_golden("torchscript.pt", &["TorchScript", "constants.pkl", "torch.jit.load"]);
    check_golden("one_tensor.pth", &["dictionary of tensors", "a tensor"]);
    check_golden("no_tensors.pth", &["state_dict", "args", "epoch"]);
    check_golden("two_tables.pth", &["state_dict", "critic", "generator"]);
    check_golden("complex.pth", &["torch.ComplexFloatStorage"]);
    check_golden("big_endian.pth", &["byteorder", "little", "big"]);

    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], named: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check_refused(&path, named);
    };
    check("page.safetensors", b"<!DOCTYPE html>\n<html>", &["text", "<!DOCTYPE html>"]);
    check("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", &["version https://git-lfs"]);
    check("empty.pth", b"", &["cannot be read"]);
    check("no_pickle.pth", &zip(&[Entry::new("pictures/one.png", b"...")]), &["data.pkl", "pictures/one.png"]);
    check("empty_zip.pth", &zip(&[]), &["data.pkl", "0 entries"]);
    let two = [Entry::new("a/data.pkl", b"."), Entry::new("b/data.pkl", b".")];
    check("two.pth", &zip(&two), &["one data.pkl", "a, b"]);
    check_refused(&folder.path().join("nowhere"), &["model.safetensors", "pytorch_model.bin"]);
}

#[test]
fn tensors_that_are_not_where_they_claim_are_refused_by_name() {
    let weight = "tensor \"weight\"";
    check_golden("short_storage.pth", &[weight, "[1, 5]", "4"]);
    check_golden("claims_more_than_is_there.pth", &[weight, "400", "16 bytes"]);
    check_golden("offset_past_the_end.pth", &[weight, "at least 5", "found 4"]);
    check_golden("negative_offset.pth", &[weight, "offset", "-1"]);
    check_golden("negative_stride.pth", &[weight, "strides", "-1"]);
    check_golden("negative_size.pth", &[weight, "shape", "-1"]);
    check_golden("huge_size.pth", &[weight, "at most 4 elements", "4611686018427387904"]);
    check_golden("huge_stride.pth", &[weight, "4611686018427387904"]);
    check_golden("repeated_by_stride_0.pth", &[weight, "at most 4 elements", "1073741824"]);
    check_golden("strides_missing.pth", &[weight, "a stride for each axis"]);
    check_golden("many_axes.pth", &[weight, "at most 8 axes, found 9"]);
    check_golden("size_is_text.pth", &[weight, "shape", "a text"]);
    check_golden("no_such_storage.pth", &[weight, "archive/data/7"]);
    check_golden("storage_elsewhere.pth", &[weight, "no such entry"]);
    check_golden("no_storage.pth", &[weight, "a storage", "a text"]);
    check_golden("too_few_arguments.pth", &["RebuildTensor", "other arguments"]);
    check_golden("name_twice.pth", &["\"weight\" twice"]);
    check_golden("nan.pth", &["\"bias\"", "NaN"]);
    check_golden("inf.pth", &["\"bias\"", "infinity"]);
}

// --- Archives made by hand.

struct Entry<'a> {
    name: &'a str,
    body: &'a [u8],
    method: u16,
    flags: u16,
    claimed_bytes: Option<u32>,
}

impl<'a> Entry<'a> {
    fn new(name: &'a str, body: &'a [u8]) -> Self {
        Self { name, body, method: 0, flags: 0, claimed_bytes: None }
    }
}

/// A zip of stored entries, of which the directory may say something else.
fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (vec![], vec![]);
    for entry in entries {
        let header_start = bytes.len() as u32;
        let size = (entry.body.len() as u32).to_le_bytes();
        let claimed = entry.claimed_bytes.map_or(size, u32::to_le_bytes);
        let name_bytes = (entry.name.len() as u16).to_le_bytes();
        let middle = [[0; 4], [0; 4]].concat(); // time and date, checksum
        let start = [entry.flags.to_le_bytes(), entry.method.to_le_bytes()].concat();
        bytes.extend([&b"PK\x03\x04\x14\0"[..], &start, &middle, &size, &size, &name_bytes, &[0, 0]].concat());
        bytes.extend(entry.name.bytes());
        bytes.extend(entry.body);
        directory.extend([&b"PK\x01\x02\x14\0\x14\0"[..], &start, &middle, &claimed, &claimed, &name_bytes].concat());
        directory.extend([&[0; 12][..], &header_start.to_le_bytes(), entry.name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (size, start) = ((directory.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    bytes.extend(directory);
    bytes.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &start, &[0, 0]].concat());
    bytes
}

/// The bytes `from`, wherever they stand, as `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "{from:?}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn archives_that_are_cut_packed_or_lie_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], named: &[&str]| {
        let path = place.path().join("head.pth");
        std::fs::write(&path, bytes).unwrap();
        check_refused(&path, named);
    };
    let good = std::fs::read(folder().join("heads/protocol2.pth")).unwrap();
    check(&good[..good.len() - 1], &["cut"]);
    check(&good[..good.len() / 2], &["cut"]);
    check(&good[..40], &["cut"]);
    check(&[b"PK\x03\x04", &[0; 70_000][..]].concat(), &["cut"]);
    // The directory's entries, the 64-bit end, its locator: each spoilt.
    check(&replaced(&good, b"PK\x01\x02", b"PK\x01\x03"), &["cut"]);
    check(&replaced(&good, b"PK\x06\x06", b"PK\x06\x05"), &["64-bit end"]);
    check(&replaced(&good, b"PK\x03\x04", b"PK\x03\x05"), &["of another kind"]);
    check(&[&good[..4], &replaced(&good[4..], b"PK\x03\x04", b"PK\x03\x05")].concat(), &["expected its header"]);

    let pickle = |entry: Entry<'static>| zip(&[entry]);
    check(&pickle(Entry { method: 8, ..Entry::new("a/data.pkl", b".") }), &["a/data.pkl", "stored", "deflated"]);
    check(&pickle(Entry { method: 93, ..Entry::new("a/data.pkl", b".") }), &["packed by method 93"]);
    check(&pickle(Entry { flags: 1, ..Entry::new("a/data.pkl", b".") }), &["encrypted"]);
    let claims = |bytes| Entry { claimed_bytes: Some(bytes), ..Entry::new("a/data.pkl", b".") };
    check(&pickle(claims(4_000_000_000)), &["a/data.pkl", "4000000000 bytes inside"]);
    check(&zip(&[Entry::new("../../a/data.pkl", b".")]), &["../../a/data.pkl", "do not trust"]);
    check(&zip(&[Entry::new("/a/data.pkl", b".")]), &["\"/a/data.pkl\"", "do not trust"]);
    check(&zip(&[Entry::new("a/data.pkl", b"."), Entry::new("a/data.pkl", b".")]), &["a/data.pkl", "twice"]);
}

#[test]
fn absurd_pickles_are_refused_and_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let check = |pickle: &[u8], named: &[&str]| {
        let path = folder.path().join("absurd.pth");
        std::fs::write(&path, zip(&[Entry::new("a/data.pkl", pickle)])).unwrap();
        check_refused(&path, named);
    };
    check(b"", &["byte 0", "the pickle is cut"]);
    check(b"\x80\x02}", &["byte 3", "the pickle is cut"]);
    check(b"\x80\x02.", &["expected a value on the stack"]);
    check(b"\x80\x02(.", &["expected a value on the stack"]);
    check(b"\x80\x02u.", &["expected a mark on the stack"]);
    check(b"\x80\x02}(u.", &["an empty dictionary"]);
    check(b"\x80\x02}(Nu.", &["a key alone"]);
    check(b"\x80\x02h\x07.", &["memo 7"]);
    check(b"\x80\x02X\xff\xff\xff\xffabc", &["4294967295 bytes, found 3"]);
    check(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", &["18446744073709551615 bytes, found 3"]);
    check(b"\x80\x02\x8a\xffabc", &["255 bytes, found 3"]);
    check(b"\x80\x02ccollections\nOrderedDict\n", &["cut"]);
    check(b"\x80\x02ccollections", &["cut"]);
    check(b"\x80\x02ccollections\nOrderedDict\n)\x81.", &["NEWOBJ"]);
    check(b"\x80\x02(ios\nsystem\n.", &["INST"]);
    check(b"\x80\x02}}}b.", &["an empty dictionary"]);
    check(b"\x80\x02NRNR.", &["expected a value on the stack"]);
    check(b"\x80\x02N)R.", &["expected a call that rebuilds a tensor"]);
    check(b"\x80\x02\xff", &["0xff"]);
    // A tuple in a tuple, a million deep: nothing of ours may recurse over it.
    check(&[b"\x80\x02)", &b"\x85".repeat(1_000_000)[..], b"."].concat(), &["dictionary of tensors", "a tuple"]);
    // Twice itself, sixty times over: 2^60 values to whoever copies.
    check(&[b"\x80\x02)", &b"2\x86".repeat(60)[..], b"."].concat(), &["a tuple"]);
    // A dictionary in itself.
    check(b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.", &["model"]);
    check(&[b"\x80\x02", &b"]".repeat(2_000_000)[..], b"."].concat(), &["at most 1048576 values"]);
    check(&[b"\x80\x02", &b"(".repeat(2_000_000)[..], b"."].concat(), &["at most 1048576 marks"]);
    check(&[b"\x80\x02N", &b"2".repeat(2_000_000)[..], b"."].concat(), &["on the stack"]);
    check(&b"\x80\x02".repeat(10 << 20), &["at most 16777216 bytes"]);
}

// --- Mutants.

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

const MUTANTS: u64 = 2_000;
const MAX_GROWTH_BYTES: u64 = 256 * MIB;
const WORKER: &str = "DEEPSWEEP_TEST_MUTANTS";

/// Several small changes, some anywhere, some where the pickle or the directory stands.
fn mutant(good: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut bytes = good.to_vec();
    let directory = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let pickle = good.windows(2).position(|window| matches!(window, [0x80, 2 | 4])).unwrap();
    for _ in 0..=numbers.below(4) {
        let at = match numbers.below(3) {
            0 => numbers.below(bytes.len()),
            1 => (pickle + numbers.below(300)).min(bytes.len() - 1),
            _ => (directory + numbers.below(good.len() - directory)).min(bytes.len() - 1),
        };
        match numbers.below(8) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.below(256) as u8,
            2 => bytes[at] = 0xff,
            3 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            4 => bytes.truncate(at.max(1)),
            5 if bytes.len() > 2 => drop(bytes.remove(at)),
            6 => bytes.insert(at, numbers.below(256) as u8),
            _ => {
                let from = numbers.below(bytes.len());
                let piece = bytes[from..(from + 16).min(bytes.len())].to_vec();
                drop(bytes.splice(at..(at + piece.len()).min(bytes.len()), piece));
            }
        }
    }
    bytes
}

/// Address space, now (VmSize) or at its most (VmPeak): memory that was asked for and never touched counts too.
fn address_space_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// What the test below starts in a process of its own, so that no other test's memory counts.
fn read_mutants() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("mutant.pth");
    let good = ["heads/protocol2.pth", "heads/protocol4.pth", "heads/trainer.pth", "kinds.pth"]
        .map(|name| std::fs::read(folder().join(name)).unwrap());
    for bytes in &good {
        std::fs::write(&path, bytes).unwrap();
        assert!(read_all(&Weights::open(&path, &Device::Cpu).unwrap()).unwrap() >= 4 * 17);
    }
    let before = address_space_bytes("VmSize:");
    let (mut read, mut refused) = (0, 0);
    for seed in 0..MUTANTS {
        std::fs::write(&path, mutant(&good[seed as usize % good.len()], seed)).unwrap();
        match Weights::open(&path, &Device::Cpu).and_then(|weights| read_all(&weights)) {
            Ok(_) => read += 1,
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("mutant.pth"), "mutant {seed}: {error}");
            }
        }
    }
    let growth = address_space_bytes("VmPeak:") - before;
    assert!(growth <= MAX_GROWTH_BYTES, "{growth} bytes");
    // Were all refused at the door, nothing behind it would have been tried.
    assert!(read > MUTANTS / 20 && refused > MUTANTS / 4, "{read} read, {refused} refused");
    println!("{read} read, {refused} refused, {} MiB", growth / MIB);
}

#[test]
fn two_thousand_mutants_neither_panic_nor_hang_nor_swell() {
    if std::env::var_os(WORKER).is_some() {
        return read_mutants();
    }
    let name = "checkpoints_bad::two_thousand_mutants_neither_panic_nor_hang_nor_swell";
    let mut worker = Command::new(std::env::current_exe().unwrap());
    let output = worker.args(["--exact", name, "--nocapture"]).env(WORKER, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("refused"), "{out}\n{err}");
    println!("{out}");
}
