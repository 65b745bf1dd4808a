//! `deepsweep models …` as it is typed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::cli::{LogFlags, S3Flags, StoreFlags};

pub const MODELS_EXAMPLES: &str = "\
Examples:
  deepsweep models list
  deepsweep models pull clip-b32
  deepsweep models pull --all --models s3://ours/models
  deepsweep models verify
  deepsweep models import fc_weights.pth --out head.safetensors

A bucket serves machines without an internet route: give them the same --models. Gated models: set HF_TOKEN.
Another hub: HF_ENDPOINT. Pulls that were broken off go on where they ended.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  deepsweep models import fc_weights.pth --out my-probe/head.safetensors
  deepsweep models import epoch_9.pth --key model.fc --out my-probe/head.safetensors
  deepsweep models import open_clip_pytorch_model.bin --out clip-b32 --activation gelu
  deepsweep models import tuned.pth --base clip-l14 --out my-probe

No file's code is ever run: a pickle that calls anything but the rebuilding of tensors is refused.";

#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// What there is, what each is for, and whether it is here
    List {
        /// As JSON, with every file and its pin
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: ModelsFlags,
    },
    /// Fetch models and check every byte; what is here is only checked
    #[command(group(ArgGroup::new("chosen").required(true).args(["names", "all"])))]
    Pull {
        /// Names of `models list`
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Everything that `models list` lists
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        flags: ModelsFlags,
    },
    /// Compare every byte with its pin and open the scorer as a run would; exit code 3 where something is wrong
    Verify {
        /// Names of `models list`, or scorer folders [default: whatever is here]
        #[arg(value_name = "NAME|FOLDER")]
        names: Vec<String>,
        #[command(flatten)]
        flags: ModelsFlags,
    },
    /// Turn a checkpoint (PyTorch or safetensors; a head, a tower, an overlay) into files that a scorer can name
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What was published: .safetensors, .bin, .pt or .pth, or a folder with one of them or its shards
    pub file: PathBuf,
    /// NAME.safetensors for a head; a folder for a tower, or for an overlay and its head
    #[arg(long, short, value_name = "FILE|FOLDER")]
    pub out: PathBuf,
    /// What stands before the wanted tensors' names, where that is not plain: `fc`, `model.linear`
    #[arg(long, value_name = "PREFIX")]
    pub key: Option<String>,
    /// A tower's activation, which no checkpoint says: OpenAI's have quick_gelu, LAION's gelu
    #[arg(long)]
    pub activation: Option<ActivationChoice>,
    /// A tower's attention heads [default: by its width, as in every published CLIP]
    #[arg(long, value_name = "N")]
    pub heads: Option<usize>,
    /// The tower whose tensors FILE replaces: only these and the head are written
    #[arg(long, value_name = "FOLDER")]
    pub base: Option<PathBuf>,
    /// With --base: what stands before the names of the head
    #[arg(long, value_name = "PREFIX")]
    pub head_key: Option<String>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ActivationChoice {
    QuickGelu,
    Gelu,
}

impl ActivationChoice {
    /// As `hidden_act` of config.json has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct ModelsFlags {
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub log: LogFlags,
    #[command(flatten)]
    pub s3: S3Flags,
}
