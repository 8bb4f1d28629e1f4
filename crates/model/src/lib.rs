//! Llama-family models on Burn, LoRA, and Hugging Face and PEFT checkpoints in and out.
