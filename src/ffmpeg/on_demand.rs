//! ffmpeg, looked for when the first object needs it: an archive without such objects needs none.

use tokio::sync::OnceCell;

use super::{Ffmpeg, FfmpegChoice};

#[derive(Debug)]
pub struct OnDemand {
    choice: FfmpegChoice,
    /// Or why there is none, in one line.
    found: OnceCell<Result<Ffmpeg, String>>,
}

impl OnDemand {
    #[must_use]
    pub fn new(choice: FfmpegChoice) -> Self {
        Self { choice, found: OnceCell::new() }
    }

    /// The same ffmpeg every time, or the same reason why there is none.
    pub async fn get(&self) -> Result<&Ffmpeg, &str> {
        let find = async || Ffmpeg::find(&self.choice).await.map_err(|error| error.to_string());
        self.found.get_or_init(find).await.as_ref().map_err(String::as_str)
    }
}
