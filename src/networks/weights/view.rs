//! A tensor that is not read yet: where its numbers lie, and how to lay them out.
//!
//! In: places and strides, checked when a view is made. Out: the bytes of a tensor in row-major order. Splitting a
//! tensor by rows and transposing it change the view alone, never the file.

use safetensors::tensor::Dtype;

/// Every place it names lies inside its source: what makes a view has checked that.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Which of the checkpoint's sources.
    pub(super) source: usize,
    pub(super) dtype: Dtype,
    /// Byte of the source at which the first of the elements lies.
    pub(super) start: u64,
    pub(super) shape: Vec<usize>,
    /// In elements, one for each axis.
    strides: Vec<usize>,
}

impl View {
    /// Elements one after the other, as safetensors has them.
    pub(super) fn contiguous(source: usize, dtype: Dtype, start: u64, shape: Vec<usize>) -> Self {
        let strides = row_major(&shape);
        Self { source, dtype, start, shape, strides }
    }

    /// Elements as PyTorch strides over them: `offset` elements after `start`, of which `held` are there.
    ///
    /// # Errors
    /// One line that says what does not fit.
    pub(super) fn strided(
        (source, dtype, start, held): (usize, Dtype, u64, u64),
        offset: u64,
        (shape, strides): (Vec<u64>, Vec<u64>),
    ) -> Result<Self, String> {
        let too_large = || format!("expected at most {held} elements, found shape {shape:?} with strides {strides:?}");
        if shape.len() != strides.len() {
            return Err(format!("expected a stride for each axis, found shape {shape:?} with strides {strides:?}"));
        }
        let elements = shape.iter().try_fold(1_u64, |product, extent| product.checked_mul(*extent));
        // More elements than are held means that some are repeated: no checkpoint needs that, and it would let a
        // small file ask for any amount of memory.
        let elements = elements.filter(|elements| *elements <= held).ok_or_else(too_large)?;
        if elements > 0 {
            let last = shape.iter().zip(&strides).try_fold(offset, |last, (extent, stride)| {
                last.checked_add(stride.checked_mul(extent - 1)?) // no extent is 0 here
            });
            let last = last.ok_or_else(too_large)?;
            if last >= held {
                return Err(format!(
                    "expected at least {} elements for shape {shape:?} with strides {strides:?} from element {offset} \
                     on, found {held}",
                    last.saturating_add(1)
                ));
            }
        }
        // An empty tensor reads nothing, wherever it claims to lie.
        let start = if elements > 0 { start + offset * width_bytes(dtype) as u64 } else { start };
        let in_memory = |numbers: &[u64]| -> Vec<usize> { numbers.iter().map(|number| *number as usize).collect() };
        let (shape, strides) = (in_memory(&shape), in_memory(&strides));
        let strides = if elements > 0 { strides } else { row_major(&shape) };
        Ok(Self { source, dtype, start, shape, strides })
    }

    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.elements() * width_bytes(self.dtype)
    }

    /// Bytes from the first element to the end of the last, whatever lies between.
    pub(super) fn span_bytes(&self) -> usize {
        if self.elements() == 0 {
            return 0;
        }
        let last: usize = self.shape.iter().zip(&self.strides).map(|(extent, stride)| (extent - 1) * stride).sum();
        (last + 1) * width_bytes(self.dtype)
    }

    /// `count` rows of the first axis, from `first` on; both lie inside it.
    pub(super) fn rows(&self, first: usize, count: usize) -> Self {
        let mut rows = self.clone();
        rows.start += (first * self.strides[0] * width_bytes(self.dtype)) as u64;
        rows.shape[0] = count;
        rows
    }

    /// [a, b] → [b, a]
    pub(super) fn transposed(&self) -> Self {
        let mut transposed = self.clone();
        transposed.shape.reverse();
        transposed.strides.reverse();
        transposed
    }

    /// The bytes of the span in row-major order.
    pub(super) fn gather(&self, span: Vec<u8>) -> Vec<u8> {
        if self.is_row_major() {
            return span;
        }
        let width = width_bytes(self.dtype);
        let mut gathered = Vec::with_capacity(self.size_bytes());
        let mut index = vec![0; self.shape.len()];
        for _ in 0..self.elements() {
            let at: usize = index.iter().zip(&self.strides).map(|(place, stride)| place * stride).sum();
            gathered.extend_from_slice(&span[at * width..(at + 1) * width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        gathered
    }

    pub(super) fn is_row_major(&self) -> bool {
        // The stride of an axis with one place is never walked.
        let walked = |strides: &[usize]| -> Vec<usize> {
            self.shape.iter().zip(strides).filter(|(extent, _)| **extent != 1).map(|(_, stride)| *stride).collect()
        };
        self.elements() == 0 || walked(&self.strides) == walked(&row_major(&self.shape))
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Beside an extent of 0 any other may be huge.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// Types below a byte exist in the format and in no checkpoint that is read here: they count as one.
pub(super) fn width_bytes(dtype: Dtype) -> usize {
    dtype.bitsize().div_ceil(8)
}
