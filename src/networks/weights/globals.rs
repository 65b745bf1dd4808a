//! The names that a checkpoint's pickle may say, and what each stands for. There are no others.

use safetensors::tensor::Dtype;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, …)`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter(tensor, …)`, with or without state.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2(function, class, arguments, state)`
    RebuildFromType,
    /// `torch.Size((…))`
    Size,
    Device,
    /// A class or a dtype that stands as an argument and is never called.
    Named,
    /// The class of a storage, which says of what type its numbers are.
    Storage(Dtype),
}

impl Global {
    /// What `module.name` stands for, if a checkpoint may say it.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Size") => Self::Size,
            ("torch", "device") => Self::Device,
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter") => Self::Named,
            (
                "torch",
                "float16" | "float32" | "float64" | "bfloat16" | "int8" | "int16" | "int32" | "int64" | "uint8"
                | "bool",
            ) => Self::Named,
            ("torch", storage) => Self::Storage(match storage {
                "FloatStorage" => Dtype::F32,
                "DoubleStorage" => Dtype::F64,
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::BF16,
                "LongStorage" => Dtype::I64,
                "IntStorage" => Dtype::I32,
                "ShortStorage" => Dtype::I16,
                "CharStorage" => Dtype::I8,
                "ByteStorage" => Dtype::U8,
                "BoolStorage" => Dtype::BOOL,
                _ => return None,
            }),
            _ => return None,
        })
    }

    /// Says that a known name was called as it never is.
    pub(super) fn misused(self) -> String {
        format!("expected a call as torch.save writes it, found {self:?} with other arguments")
    }
}

/// What a name is answered with that no checkpoint needs.
pub(super) fn refused(module: &str, name: &str) -> String {
    const SHOWN_CHARACTERS: usize = 120; // a name may be as long as the pickle
    let full: String = format!("{module}.{name}").chars().take(SHOWN_CHARACTERS).collect();
    let way_out = if module.starts_with("torch.nn.modules") {
        "this is a whole model with its code; save its state_dict() instead"
    } else {
        "if you trust where the file comes from, load it with Python and save the state_dict alone"
    };
    format!(
        "expected only names that rebuild tensors, found {full:?}; nothing of the file was run, and deepsweep never \
         will: {way_out}"
    )
}
