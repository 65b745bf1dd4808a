//! What a decoder's complaints mean for the frames.
//!
//! ffmpeg says what it stumbled over, not what that does to the picture. Its messages are told apart by their words; one
//! that is not known here counts as damage.

/// How bad a complaint is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Severity {
    /// Nothing was said.
    #[default]
    None,
    /// About something that no picture depends on.
    Harmless,
    /// A picture that others refer to is not there. Where decoding starts at an open group of pictures, this is said of
    /// those that are shown before its key.
    MissingReference,
    /// The pictures from there on may show it.
    Damage,
}

/// About sound, subtitles, comments, times, or what only some players use.
const HARMLESS: [&str; 10] = [
    "SEI",
    "Could not find codec parameters for stream",
    "deprecated pixel format",
    "not on whitelist",
    "timescale not set",
    "unable to decode APP fields",
    "VPS 0 does not exist",
    "Overread VUI",
    "DTS discontinuity",
    "Failed to parse extradata",
];

const MISSING_REFERENCE: [&str; 8] = [
    "co located POCs unavailable",
    "reference picture missing",
    "Missing reference picture",
    "Could not find ref with POC",
    "mmco: unref short failure",
    "illegal short term buffer state",
    "first frame is no keyframe",
    "Missing key frame",
];

/// Of one line of a decoder.
#[must_use]
pub fn severity(line: &str) -> Severity {
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if says(&MISSING_REFERENCE) {
        Severity::MissingReference
    } else if says(&HARMLESS) {
        Severity::Harmless
    } else {
        Severity::Damage
    }
}

/// For the row: what the worst of the complaints means, and its words. None where there is none.
#[must_use]
pub fn in_words(complaints: &[&str]) -> Option<String> {
    let worst = complaints.iter().max_by_key(|line| (severity(line), std::cmp::Reverse(line.len())))?;
    let worst = complaints.iter().find(|line| severity(line) == severity(worst)).unwrap_or(worst);
    let meaning = match severity(worst) {
        Severity::None | Severity::Harmless => "the file has a flaw that its frames do not depend on",
        Severity::MissingReference => {
            "pictures are missing that others are built from, so frames near them may be damaged"
        }
        Severity::Damage => "the file is damaged, so frames near the damage may be missing or show it",
    };
    Some(format!("{meaning}; the decoder said: {worst}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_apart_by_what_they_do_to_a_picture() {
        for (line, expected) in [
            ("[h264] SEI type 112 size 2000 truncated at 8", Severity::Harmless),
            ("[h264] co located POCs unavailable", Severity::MissingReference),
            ("[hevc] Could not find ref with POC 12", Severity::MissingReference),
            ("[h264] error while decoding MB 6 0, bytestream 7901", Severity::Damage),
            ("[h264] non-existing PPS 1 referenced", Severity::Damage),
            ("what nobody has heard before", Severity::Damage),
        ] {
            assert_eq!(severity(line), expected, "{line}");
        }
    }

    #[test]
    fn the_row_says_what_the_worst_means() {
        let said = in_words(&["[h264] SEI type 1", "[h264] error while decoding MB 6 0"]).unwrap();
        assert!(said.contains("damaged") && said.ends_with("error while decoding MB 6 0"), "{said}");
        assert!(in_words(&["SEI type 1"]).unwrap().contains("do not depend"));
        assert_eq!(in_words(&[]), None);
    }
}
