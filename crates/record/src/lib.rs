//! What a run leaves on disk: configuration, metrics, predictions, summary; written atomically.
