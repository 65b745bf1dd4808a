//! Where networks run: `cpu`, `cuda:N`, or `auto`. The only file that says CUDA.
//!
//! Without the cargo feature `cuda` nothing of CUDA is in the program. With it, a device is opened only when
//! it was asked for by name, or by `auto` on a machine that has one.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::error::Error;

/// What a person asks for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    Auto,
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("expected auto, cpu, cuda or cuda:N, found {text:?}")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device and says which one it became. `auto` takes a CUDA device if this program has the feature
    /// and the machine has one that computes, else the CPU; both are logged, neither is an error.
    ///
    /// # Errors
    /// `cuda` was asked for and cannot be had: nothing falls back in silence.
    pub fn open(self) -> Result<(Device, String), Error> {
        match self {
            Self::Cpu => Ok((Device::Cpu, "cpu".to_owned())),
            Self::Cuda(n) => match open_cuda(n) {
                Ok(device) => Ok((device, format!("cuda:{n}"))),
                Err(why) => Err(Error::Usage(format!("--device cuda:{n}: {why}; use --device cpu to run without"))),
            },
            Self::Auto => match open_cuda(0) {
                Ok(device) => Ok((device, "cuda:0".to_owned())),
                Err(why) => {
                    tracing::debug!("device: cpu ({why})");
                    Ok((Device::Cpu, "cpu".to_owned()))
                }
            },
        }
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(n: usize) -> Result<Device, String> {
    let device = Device::new_cuda(n).map_err(|e| format!("the device cannot be opened: {e}"))?;
    // A context that opens and cannot run a kernel (an old driver) is no device.
    let sum = candle_core::Tensor::ones(16, candle_core::DType::F32, &device)
        .and_then(|ones| ones.sum_all()?.to_scalar::<f32>())
        .map_err(|e| format!("the device opens and cannot compute: {e}"))?;
    if sum == 16.0 { Ok(device) } else { Err(format!("the device computes 16 × 1 = {sum}")) }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize) -> Result<Device, String> {
    Err("this program was built without CUDA (cargo build --release --features cuda)".to_owned())
}
