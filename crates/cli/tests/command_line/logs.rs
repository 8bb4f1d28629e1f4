//! What is logged, and that a sweep hands it on to its runs.

use serde_json::Value;

use crate::smoke::{Smoke, succeeded};

const SWEEP: &str = "sweep --config smoke.toml --seeds 1 --prompt-loss-weight 0 --output-dir";

#[test]
fn json_logs_have_fields_in_the_runs_of_a_sweep_too() {
    let smoke = Smoke::new();
    let output = smoke.run(&format!("--log-format json {SWEEP} json"));
    succeeded(&output);
    let log = String::from_utf8_lossy(&output.stderr);
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect();
    let last = events
        .iter()
        .rev()
        .map(|event| &event["fields"])
        .find(|fields| fields.get("grad_norm").is_some())
        .expect("a step is logged");
    assert_eq!(
        (&last["step"], &last["steps"]),
        (&Value::from(6), &Value::from(6))
    );
    assert_eq!(last["run"], "seed-1_plw-0");
    for name in ["loss", "grad_norm", "learning_rate", "tokens_per_second"] {
        assert!(
            last[name].as_f64().is_some_and(|value| value > 0.0),
            "{name}: {last}"
        );
    }
    let with = |name: &str| {
        let fields = events.iter().map(|event| &event["fields"]);
        fields.filter(|fields| fields.get(name).is_some()).count()
    };
    assert!(with("accuracy") >= 2 && with("examples") >= 2, "{log}");
}

#[test]
fn people_read_each_thing_once() {
    let smoke = Smoke::new();
    let output = smoke.run(&format!("{SWEEP} words"));
    succeeded(&output);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("step 6/6: loss "), "{log}");
    for field in ["grad_norm=", "step=", "source="] {
        assert!(!log.contains(field), "{field} is in {log}");
    }
    let output = smoke.run(&format!("-q {SWEEP} quiet"));
    succeeded(&output);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
