//! Objects in the order of their keys → slices: about a minute of work, and no more than a part should hold.

use crate::limits;
use crate::storage::ObjectMeta;

/// One slice, without its objects.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SliceFacts {
    pub objects: u32,
    pub bytes: u64,
    /// Expected work on one core.
    pub core_seconds: f64,
}

/// Gathers objects until they are a slice.
#[derive(Debug, Default)]
pub struct Cutter {
    facts: SliceFacts,
    objects: Vec<ObjectMeta>,
}

impl Cutter {
    /// Adds an object; returns the slice that it completes.
    pub fn add(&mut self, object: ObjectMeta, core_seconds: f64) -> Option<(SliceFacts, Vec<ObjectMeta>)> {
        self.facts.objects += 1;
        self.facts.bytes += object.size_bytes;
        self.facts.core_seconds += core_seconds;
        self.objects.push(object);
        let is_whole = u64::from(self.facts.objects) == limits::SLICE_OBJECTS
            || self.facts.core_seconds >= limits::SLICE_CORE_SECONDS;
        is_whole.then(|| self.take())
    }

    /// The short end; None where nothing is left.
    pub fn end(mut self) -> Option<(SliceFacts, Vec<ObjectMeta>)> {
        (!self.objects.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> (SliceFacts, Vec<ObjectMeta>) {
        (std::mem::take(&mut self.facts), std::mem::take(&mut self.objects))
    }
}

#[cfg(test)]
mod tests {
    use super::Cutter;
    use crate::limits;
    use crate::storage::ObjectMeta;

    fn cut(work: impl Iterator<Item = f64>) -> Vec<u32> {
        let object = ObjectMeta { key: "k".into(), size_bytes: 1, etag: None, version_id: None, modified: None };
        let mut cutter = Cutter::default();
        let mut slices: Vec<u32> =
            work.filter_map(|work| cutter.add(object.clone(), work)).map(|s| s.0.objects).collect();
        slices.extend(cutter.end().map(|s| s.0.objects));
        slices
    }

    #[test]
    fn a_slice_ends_with_its_objects_or_with_its_minute() {
        let most = limits::SLICE_OBJECTS as usize;
        assert_eq!(cut(std::iter::repeat_n(0.0, 2 * most + 1)), [most as u32, most as u32, 1]);
        assert_eq!(cut([limits::SLICE_CORE_SECONDS / 2.0; 5].into_iter()), [2, 2, 1]);
        assert_eq!(cut([1e9, 0.0].into_iter()), [1, 1]);
        assert_eq!(cut(std::iter::empty()), [] as [u32; 0]);
    }
}
