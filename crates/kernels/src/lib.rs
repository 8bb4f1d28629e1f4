//! Differentiable Burn operations of a Llama: attention, linear cross-entropy, RMSNorm, RoPE, SwiGLU, AdamW.
