//! AI chats on a board: their configuration and what they see. Conversations come with their own file.

use async_graphql::{Enum, Result};

use super::{
    node::{BoardNodeConnection, PageArguments, node_object},
    scalar::Url,
    text::Text,
};
use crate::domain::{self, Chat, Error, LinkDirection, NodeKind, NodeOrder, NodeScope};

impl ChatNode {
    fn chat(&self) -> domain::Result<&Chat> {
        match &self.0.node.kind {
            NodeKind::Chat(chat) => Ok(chat),
            _ => Err(Error::internal(format!("{} is no chat", self.0.node.id))),
        }
    }

    async fn context_page(&self, page: PageArguments) -> domain::Result<BoardNodeConnection> {
        let scope = NodeScope::LinkedWith(self.0.node.id, LinkDirection::In);
        self.0.list(scope, Vec::new(), None, NodeOrder::OLDEST, page).await
    }
}

fn system_prompt(node: &domain::Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Chat(chat) => chat.system_prompt.as_deref(),
        _ => None,
    }
}

node_object!(
    /// An AI chat. What is linked into it is its context.
    ChatNode
    lists {
        /// What is linked into the chat: its context, the oldest first.
        context() by context_page;
    }
    fields {
        /// Name of the model that answers.
        async fn model(&self) -> Result<&str> {
            Ok(&self.chat()?.model)
        }

        /// Address of the model, when it is a custom one.
        async fn custom_model_endpoint(&self) -> Result<Option<Url>> {
            Ok(self.chat()?.custom_model_endpoint.clone().map(Url))
        }

        /// Instruction that precedes each conversation.
        async fn system_prompt(&self) -> Result<Option<Text>> {
            self.chat()?;
            Ok(Text::of(&self.0.node, system_prompt))
        }

        /// How freely it answers, 0 to 2.
        async fn temperature(&self) -> Result<f32> {
            Ok(self.chat()?.temperature)
        }

        /// Longest answer, in tokens.
        async fn max_tokens(&self) -> Result<i32> {
            Ok(self.chat()?.max_tokens)
        }

        /// Share of likely words it chooses from, 0 to 1.
        async fn top_p(&self) -> Result<f32> {
            Ok(self.chat()?.top_p)
        }

        /// How much repetition is avoided, -2 to 2.
        async fn frequency_penalty(&self) -> Result<f32> {
            Ok(self.chat()?.frequency_penalty)
        }

        /// How much new subjects are sought, -2 to 2.
        async fn presence_penalty(&self) -> Result<f32> {
            Ok(self.chat()?.presence_penalty)
        }

        /// Texts that end an answer.
        async fn stop_sequences(&self) -> Result<&[String]> {
            Ok(&self.chat()?.stop_sequences)
        }

        /// What form answers have.
        async fn response_format(&self) -> Result<ChatResponseFormat> {
            Ok(self.chat()?.response_format.into())
        }

        /// Whether the model may call tools.
        async fn tools_enabled(&self) -> Result<bool> {
            Ok(self.chat()?.tools_enabled)
        }

        /// Whether earlier messages are sent along.
        async fn memory_enabled(&self) -> Result<bool> {
            Ok(self.chat()?.memory_enabled)
        }

        /// How many earlier messages are sent along.
        async fn context_window_size(&self) -> Result<i32> {
            Ok(self.chat()?.context_window_size)
        }
    }
);

/// What form the answers of a chat have.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::ChatResponseFormat")]
pub(super) enum ChatResponseFormat {
    /// Plain text.
    Text,
    /// JSON.
    Json,
    /// Markdown.
    Markdown,
}
