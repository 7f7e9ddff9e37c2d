//! Which natural language a text is written in, and how PostgreSQL should read its words.
//!
//! Nothing here is about the languages of programs.

use whatlang::{Lang, detect as guess};

/// A guess needs no more than this, and its time grows with the text.
const SAMPLE_CHARS: usize = 4_000;
/// Shorter texts are names and numbers rather than sentences.
const MIN_LETTERS: usize = 24;

/// The BCP 47 tag, or `None` where it is not certain.
#[must_use]
pub fn detect(text: &str) -> Option<&'static str> {
    let sample: String = text.chars().take(SAMPLE_CHARS).collect();
    if sample.chars().filter(|c| c.is_alphabetic()).count() < MIN_LETTERS {
        return None;
    }
    guess(&sample).filter(whatlang::Info::is_reliable).map(|info| tag(info.lang()))
}

/// The text-search configuration of PostgreSQL for a BCP 47 tag, `simple` where there is none. Regions and scripts (`pt-BR`,
/// `zh_Hant`) and capitals do not matter.
///
/// All of them are in PostgreSQL 15 to 18. Estonian is in 18 only and is read as `simple`, so that the words of a text do not depend
/// on the server.
#[must_use]
pub fn text_search_config(language: Option<&str>) -> &'static str {
    let tag = language.unwrap_or_default().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    CONFIGS.iter().find(|(known, _)| *known == tag).map_or(SIMPLE, |(_, config)| config)
}

/// The configuration that cuts no endings and leaves nothing out.
const SIMPLE: &str = "simple";

const CONFIGS: [(&str, &str); 30] = [
    ("ar", "arabic"),
    ("hy", "armenian"),
    ("eu", "basque"),
    ("ca", "catalan"),
    ("da", "danish"),
    ("nl", "dutch"),
    ("en", "english"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("de", "german"),
    ("el", "greek"),
    ("hi", "hindi"),
    ("hu", "hungarian"),
    ("id", "indonesian"),
    ("ga", "irish"),
    ("it", "italian"),
    ("lt", "lithuanian"),
    ("ne", "nepali"),
    ("no", "norwegian"),
    ("nb", "norwegian"),
    ("nn", "norwegian"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("ru", "russian"),
    ("sr", "serbian"),
    ("es", "spanish"),
    ("sv", "swedish"),
    ("ta", "tamil"),
    ("tr", "turkish"),
    ("yi", "yiddish"),
];

/// BCP 47 wants the two-letter code where a language has one.
fn tag(language: Lang) -> &'static str {
    match language {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "nb",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        Lang::Cym => "cy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_recognised_and_scraps_are_not() {
        for (text, language) in [
            ("All human beings are born free and equal in dignity and rights.", Some("en")),
            ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", Some("de")),
            ("Все люди рождаются свободными и равными в своём достоинстве и правах.", Some("ru")),
            ("v1.2.3 (x86_64) 2024-01-01", None),
            ("", None),
        ] {
            assert_eq!(detect(text), language, "{text}");
        }
    }

    #[test]
    fn tags_become_configurations() {
        for (tag, config) in [
            ("en", "english"),
            ("EN-us", "english"),
            ("pt_BR", "portuguese"),
            ("nb", "norwegian"),
            ("et", "simple"),
            ("zh-Hant", "simple"),
            ("e", "simple"),
            ("", "simple"),
        ] {
            assert_eq!(text_search_config(Some(tag)), config, "{tag}");
        }
        assert_eq!(text_search_config(None), "simple");
        let configs: std::collections::HashSet<&str> = CONFIGS.iter().map(|(_, config)| *config).collect();
        assert_eq!(configs.len(), 28);
    }
}
