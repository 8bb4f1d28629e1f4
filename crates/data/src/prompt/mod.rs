//! Examples become text: prompt templates, options as Python prints them, chat templates. Knows
//! Jinja as transformers uses it; knows no token id.

mod bounds;
mod chat_choice;
mod chat_environment;
mod chat_template;
mod chat_template_error;
mod generation_marks;
mod model_template;
mod nesting;
mod python_json;
mod python_list;
mod python_methods;
mod settings;
mod template;
mod template_source;

pub use chat_choice::{
    BUILT_IN_CHAT_TEMPLATES, BuiltInChatTemplate, ChatTemplateChoice, UnknownChatTemplate,
};
pub use chat_template::ChatTemplate;
pub(crate) use chat_template::Rendered;
pub use chat_template_error::ChatTemplateError;
pub use python_list::python_list;
pub use settings::{LossTurns, OptionsStyle, PromptSettings};
pub use template::{Fields, PromptTemplate, TemplateError};
