//! Prints a few conversations: `cargo run --release --example synthetic_conversations -- [SEED]`.

use std::error::Error;

use plw_data::Split;
use plw_synthetic::{ConversationConfig, SyntheticConfig, TurnRole, conversations};

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = SyntheticConfig {
        conversations: Some(ConversationConfig::default()),
        ..SyntheticConfig::default()
    };
    if let Some(seed) = std::env::args().nth(1) {
        config.seed = seed.parse()?;
    }
    for conversation in conversations(&config, Split::Train)?.take(8) {
        println!("{}", conversation.id);
        for turn in conversation.messages {
            let role = match turn.role {
                TurnRole::System => "system",
                TurnRole::User => "user",
                TurnRole::Assistant => "assistant",
            };
            println!("  {role}: {}", turn.content.replace('\n', "\n    "));
        }
        println!();
    }
    Ok(())
}
