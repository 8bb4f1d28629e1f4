//! Prints the first passage of a level with its questions, the right options marked:
//! `cargo run --release --example synthetic_questions -- [middle|high] [SEED]`.

use std::error::Error;

use plw_data::Split;
use plw_synthetic::{Level, SyntheticConfig, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let level = match arguments.next().as_deref() {
        None | Some("middle") => Level::Middle,
        Some("high") => Level::High,
        Some(other) => return Err(format!("`{other}` is not a level; use middle or high").into()),
    };
    let mut config = SyntheticConfig::default();
    if let Some(seed) = arguments.next() {
        config.seed = seed.parse()?;
    }
    let mut passage = None;
    for question in generate(&config, Split::Train, level)? {
        if passage.is_none() {
            println!("{}", question.article.as_deref().unwrap_or_default());
            passage.clone_from(&question.article);
        } else if question.article != passage {
            break;
        }
        println!("\n{}", question.question);
        for (index, option) in question.options.iter().enumerate() {
            let mark = if index == question.answer { '*' } else { ' ' };
            println!("  {mark} {option}");
        }
    }
    Ok(())
}
