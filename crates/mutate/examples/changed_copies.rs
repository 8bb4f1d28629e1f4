//! Some changed copies of a document, as JSON and as TOML:
//! `cargo run --release --example changed_copies`.

use plw_mutate::{mutated, mutations, toml_of, try_all};
use serde_json::json;

fn main() {
    let good = json!({"model": "assets", "seed": 1, "sweep": {"prompt_loss_weight": [0.0, 0.1]}});
    println!("{good}");
    try_all(8, mutations(), |mutations| {
        let copy = mutated(&good, &mutations);
        let shown: String = copy.to_string().chars().take(90).collect();
        println!("{shown}");
        if let Some(line) = toml_of(&copy).lines().next() {
            println!("    {}", line.chars().take(86).collect::<String>());
        }
        true
    });
}
