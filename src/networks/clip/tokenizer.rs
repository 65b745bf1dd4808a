//! A text → the tokens of CLIP's text tower: start, byte pairs, end.
//!
//! Source: transformers' `CLIPTokenizer`. The text is composed (NFC), its white space made single spaces, lowered,
//! split into words, numerals and runs of signs; each piece becomes bytes and pairs of them. Never cuts a text short.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::vocabulary::{END, END_OF_WORD, START, Vocabulary};
use crate::networks::NetworkError;

/// Words with the endings of English contractions apart, single numerals, runs of what is neither.
const PIECES: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

#[derive(Debug)]
pub struct ClipTokenizer {
    inner: Tokenizer,
    start: u32,
    end: u32,
}

impl ClipTokenizer {
    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt`, of a transformers CLIP folder.
    ///
    /// # Errors
    /// Files that are missing, too large, malformed, or no tokenizer of CLIP.
    pub fn open(folder: &Path) -> Result<Self, NetworkError> {
        let vocabulary = Vocabulary::read(folder)?;
        let origin = folder.display().to_string();
        Self::new(vocabulary).map_err(|e| NetworkError::Weights(format!("tokenizer {origin:?}: {e}")))
    }

    fn new(vocabulary: Vocabulary) -> tokenizers::Result<Self> {
        let (start, end) = (vocabulary.ids[START], vocabulary.ids[END]);
        let model = BPE::builder()
            .vocab_and_merges(vocabulary.ids.into_iter().collect::<Vocab>(), vocabulary.merges)
            .unk_token(END.to_owned())
            .end_of_word_suffix(END_OF_WORD.to_owned())
            .cache_capacity(0) // a text is encoded once
            .build()?;
        let mut inner = Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?;
        inner.with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])))?;
        // `Removed` and inverted: what lies between the pieces is dropped.
        let split = Split::new(SplitPattern::Regex(PIECES.to_owned()), SplitDelimiterBehavior::Removed, true)?;
        let bytes = ByteLevel::default().add_prefix_space(false);
        inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![split.into(), bytes.into()])));
        inner.add_special_tokens([START, END].map(|mark| AddedToken::from(mark, true)))?;
        Ok(Self { inner, start, end })
    }

    /// All tokens of `text` between the two marks.
    ///
    /// # Errors
    /// A text that the splitting pattern gives up on.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, NetworkError> {
        let pieces = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| NetworkError::Weights(format!("tokenizer: text {text:?}: {e}")))?;
        let mut ids = vec![self.start];
        ids.extend_from_slice(pieces.get_ids());
        ids.push(self.end);
        Ok(ids)
    }

    /// The tokens that open and close a text; the second also stands for what the vocabulary has no token for.
    #[must_use]
    pub fn marks(&self) -> [u32; 2] {
        [self.start, self.end]
    }
}
