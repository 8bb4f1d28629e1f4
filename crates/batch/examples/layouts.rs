//! Two questions about one passage in each layout: the tokens, and how far each is seen.

use plw_batch::{Layout, Segment, Sequence};

fn main() {
    let question = |example, question, answer| Sequence {
        example,
        group: 0,
        token_ids: vec![1, 2, 3, question, answer],
        segments: Segment::prompt_and_completion(4, 5),
        answer: None,
    };
    let sequences = [question(0, 40, 50), question(1, 41, 51)];
    let pack = [&sequences[0], &sequences[1]];
    for layout in [
        Layout::Concatenated,
        Layout::SharedPrefixes,
        Layout::CrossDocument,
    ] {
        let batch = layout.lay_out(&[pack]);
        println!("{layout:?}: {} positions", batch.positions());
        println!("  token_ids     {:?}", batch.token_ids);
        println!("  position_ids  {:?}", batch.position_ids);
        println!("  visible_until {:?}", batch.visible_until);
        println!("  targets       {}", batch.targets.len());
    }
}
