//! Sorting entries with little memory, against a plain sort of all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use deepsweep::plan::listed::Listed;
use deepsweep::plan::sorted::Sorter;
use futures::TryStreamExt;

/// Numbers without order, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn entry(number: u64, kinds: u64) -> Listed {
    let chosen = number % kinds;
    Listed {
        key: ["", "a/", "a-", "ä", "a/b/c/d/e/f/g/"][chosen as usize % 5].to_owned() + &(chosen / 5).to_string(),
        version_id: (!chosen.is_multiple_of(3)).then(|| format!("v{}", number >> 40 & 1)),
        size_bytes: Some(number),
        etag: (number & 64 > 0).then(|| "etag".to_owned()),
        modified: None,
    }
}

/// What is handed out, and how many were dropped.
fn sorted(entries: &[Listed], chunk_bytes: usize, scratch: &Path) -> (Vec<Listed>, u64) {
    let mut sorter = Sorter::with_chunks(scratch, chunk_bytes);
    entries.iter().for_each(|entry| sorter.push(entry).unwrap());
    let mut sorted = sorter.finish().unwrap();
    let mut out = vec![];
    while let Some(entry) = sorted.next_entry().unwrap() {
        out.push(entry);
    }
    (out, sorted.duplicates())
}

#[test]
fn entries_come_out_in_order_each_once_however_little_fits_in_memory() {
    let mut numbers = Numbers(1);
    let scratch = tempfile::tempdir().unwrap();
    for count in [0, 1, 2, 100, 5_000] {
        for kinds in [1, 10, 3_000] {
            let entries: Vec<Listed> = (0..count).map(|_| entry(numbers.next(), kinds)).collect();
            let mut expected = BTreeMap::new();
            for entry in &entries {
                let place = (entry.key.clone().into_bytes(), entry.version_id.clone());
                expected.entry(place).or_insert_with(|| entry.clone());
            }
            let expected: Vec<Listed> = expected.into_values().collect();
            let dropped = (entries.len() - expected.len()) as u64;
            for chunk_bytes in [1, 300, 10_000, 64 << 20] {
                let (found, duplicates) = sorted(&entries, chunk_bytes, scratch.path());
                assert_eq!((&found, duplicates), (&expected, dropped), "{count} {kinds} {chunk_bytes}");
            }
            let (again, _) = sorted(&expected, 300, scratch.path());
            assert_eq!(again, expected, "what is in order stays so");
        }
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "files have no names");
}

#[test]
fn disorder_that_shows_late_is_put_in_order() {
    let scratch = tempfile::tempdir().unwrap();
    let named = |key: String| Listed { key, ..Listed::default() };
    let mut entries: Vec<Listed> = (0..10_000).map(|at| named(format!("k{at:05}"))).collect();
    entries.push(named("a".to_owned()));
    entries.push(named("k00000".to_owned()));
    let (found, duplicates) = sorted(&entries, 20_000, scratch.path());
    assert_eq!((found.len(), duplicates, found[0].key.as_str()), (10_001, 1, "a"));
    assert!(found.is_sorted_by(|one, other| one.key < other.key));
}

#[test]
fn a_scratch_folder_is_asked_for_only_where_memory_does_not_do() {
    let nowhere = Path::new("/nonexistent/scratch");
    assert_eq!(sorted(&[entry(1, 1)], 1 << 20, nowhere).0.len(), 1);
    let error = Sorter::with_chunks(nowhere, 1).push(&entry(1, 1)).unwrap_err().to_string();
    assert!(
        error.starts_with("scratch folder /nonexistent/scratch: expected room to sort a list of objects"),
        "{error}"
    );
}

/// Peak memory of this process.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[tokio::test]
#[ignore = "ten million entries: a bound on time and memory, to be run alone"]
async fn ten_million_entries_take_a_minute_and_400_mib() {
    let scratch = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let sorter = tokio::task::spawn_blocking({
        let folder = scratch.path().to_owned();
        move || {
            let (mut sorter, mut numbers) = (Sorter::new(&folder), Numbers(1));
            for _ in 0..10_000_000 {
                let number = numbers.next();
                let key = format!("photos/2026/{:02}/{:02}/{number:016x}.jpg", number % 12, number % 28);
                let etag = Some(format!("{number:032x}"));
                let modified = chrono::DateTime::from_timestamp(1_700_000_000, 0);
                sorter.push(&Listed { key, etag, modified, size_bytes: Some(number), version_id: None }).unwrap();
            }
            sorter
        }
    });
    let sorter = sorter.await.unwrap();
    let pushed = start.elapsed();
    let mut stream = sorter.finish().unwrap().into_stream(|_| {});
    let (mut count, mut last) = (0, String::new());
    while let Some(entry) = stream.try_next().await.unwrap() {
        assert!(entry.key >= last);
        last = entry.key;
        count += 1;
    }
    assert_eq!(count, 10_000_000);
    println!("pushed in {pushed:?}, all in {:?}, peak {} MiB", start.elapsed(), peak_mib());
    // Unoptimised it takes three minutes.
    let most_secs = if cfg!(debug_assertions) { 600 } else { 60 };
    assert!(start.elapsed().as_secs() < most_secs && peak_mib() < 400);
}
