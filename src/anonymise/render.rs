use super::chain::{Chain, ChainBuilder, ChainKey};
use super::conversation::{Conversation, Opening};
use super::sessions::Turns;
use super::token_cutter::TokenCutter;
use crate::shape::{
    CacheLife, CacheMark, CachePlace, Dimensions, MediaKind, MediaPart, MessageShape, PictureHead,
    Role, TensorShape, TensorType, ToolsShape,
};

/// Renders a prompt in the order in which engines' chat templates do (tools, then messages), and keeps of it the lengths
/// and the block chain. The text itself is hashed as it is fed and never stored.
///
/// The rendered stream, which a trace's byte blocks cut and which a replay rebuilds with other words:
/// * each tool: one marker byte, then its definition as sent;
/// * each message: one marker byte for its role, then its text parts one after another, then for each media part one
///   marker byte and an 8-byte keyed digest.
///
/// With a tokenizer the stream is one of tokens: a text is cut on its own, as the special tokens around it part it from others
/// in an engine's template, and each marker stands for one such token.
pub struct PromptRender {
    chain: ChainBuilder,
    opening: Option<Opening>,
    /// The conversation by its server's name for it.
    named: Option<Conversation>,
    turns: Turns,
    tokens: Option<TokenCutter>,
    tools: ToolsShape,
    messages: Vec<MessageShape>,
    media: Vec<MediaPart>,
    tensors: Vec<TensorShape>,
    cache_marks: Vec<CacheMark>,
    /// Digests of the open message's media, rendered when it closes.
    pending: Vec<[u8; 8]>,
    overfull: bool,
}

/// What is left of a prompt after rendering.
#[derive(Clone, Default)]
pub struct RenderedPrompt {
    /// Keyed hashes of the full blocks.
    pub chain: Chain,
    /// Which conversation this is a turn of.
    pub conversation: Option<Conversation>,
    /// Which prompts this one may go on from.
    pub turns: Turns,
    /// Tokens of the rendered stream, where there is a tokenizer and it did not give up.
    pub tokens: Option<u32>,
    /// Tools offered.
    pub tools: ToolsShape,
    /// Messages in order.
    pub messages: Vec<MessageShape>,
    /// Media parts in order.
    pub media: Vec<MediaPart>,
    /// Messages that are tensors, in order.
    pub tensors: Vec<TensorShape>,
    /// Where the client marked what to keep, in order.
    pub cache_marks: Vec<CacheMark>,
    /// There were more than [`MAX_PARTS`] tools, messages, media parts or marks, and the others are not in here.
    pub overfull: bool,
}

impl RenderedPrompt {
    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.chain.held_bytes()
            + self.turns.held_bytes()
            + self.messages.capacity() * size_of::<MessageShape>()
            + self.media.capacity() * size_of::<MediaPart>()
            + self.tensors.capacity() * size_of::<TensorShape>()
            + self.cache_marks.capacity() * size_of::<CacheMark>()
    }
}

/// Tools, messages, and media parts that a prompt may have of each: what a few bytes each can ask for is bounded.
pub const MAX_PARTS: usize = 1 << 16;

/// Bytes that a tool or message marker takes in the rendered stream.
pub const MARKER_BYTES: u64 = 1;
/// Bytes that a media part takes in the rendered stream.
pub const MEDIA_BYTES: u64 = 9;

impl PromptRender {
    /// An empty prompt, hashed with `key`.
    pub fn new(key: &ChainKey) -> Self {
        Self {
            chain: ChainBuilder::new(key),
            opening: Opening::new(key),
            named: None,
            turns: Turns::default(),
            tokens: key.tokenizer().map(TokenCutter::new),
            tools: ToolsShape::default(),
            messages: Vec::new(),
            media: Vec::new(),
            tensors: Vec::new(),
            cache_marks: Vec::new(),
            pending: Vec::new(),
            overfull: false,
        }
    }

    /// Adds a tool's definition. Tools come before messages.
    pub fn tool(&mut self, definition: &[u8]) {
        self.mark(TOOL_MARKER);
        self.push(definition);
        self.end_text();
        self.tools.count = self.tools.count.saturating_add(1);
        self.tools.bytes = self.tools.bytes.saturating_add(clamp(definition.len()));
    }

    /// Opens the next message.
    pub fn message(&mut self, role: Role) {
        self.close_message();
        if self.is_full(self.messages.len()) {
            return;
        }
        if let Some(opening) = &mut self.opening {
            opening.message(role);
        }
        if role == Role::Assistant && !self.messages.is_empty() {
            self.turns
                .answered(self.messages.len(), self.chain.so_far());
        }
        self.mark(role_marker(role));
        self.messages.push(MessageShape {
            role,
            bytes: 0,
            tokens: None,
        });
    }

    /// Adds text to the open message (opens a user message where none is).
    pub fn text(&mut self, text: &[u8]) {
        if self.messages.is_empty() {
            self.message(Role::User);
        }
        self.push(text);
        if let Some(message) = self.messages.last_mut() {
            message.bytes = message.bytes.saturating_add(clamp(text.len()));
        }
    }

    /// Adds a media part to the open message. `data` is what identifies it (its bytes, its base64, its URL); `bytes` is its
    /// decoded size, 0 where it is only referred to.
    pub fn media(
        &mut self,
        kind: MediaKind,
        data: &[u8],
        bytes: u64,
        picture: Option<PictureHead>,
    ) {
        if self.messages.is_empty() {
            self.message(Role::User);
        }
        if self.is_full(self.media.len()) {
            return;
        }
        self.pending.push(self.chain.digest(data));
        if let Some(opening) = &mut self.opening {
            opening.refer_to(data);
        }
        self.media.push(MediaPart {
            message: self.open_message(),
            kind,
            format: picture.map(|it| it.format).unwrap_or_default(),
            bytes,
            pixels: picture.map(|it| it.pixels),
        });
    }

    /// Opens the next message, which is a tensor of this type and shape: the text to come is its data.
    pub fn tensor(&mut self, datatype: TensorType, dimensions: Option<Dimensions>) {
        self.message(Role::Other);
        if self.is_full(self.tensors.len()) {
            return;
        }
        self.tensors.push(TensorShape {
            message: self.open_message(),
            datatype,
            dimensions,
        });
    }

    /// The client marks what has been added so far, up to the last tool or the last piece of the open message.
    pub fn cache_mark(&mut self, life: CacheLife) {
        let place = match (self.messages.last(), self.tools.count.checked_sub(1)) {
            (Some(message), _) => CachePlace::Message {
                index: self.open_message(),
                bytes: message.bytes,
            },
            (None, Some(index)) => CachePlace::Tool { index },
            (None, None) => CachePlace::Request,
        };
        self.add_mark(CacheMark { place, life });
    }

    /// The client leaves it to the server where to mark the request.
    pub fn cache_request(&mut self, life: CacheLife) {
        let place = CachePlace::Request;
        self.add_mark(CacheMark { place, life });
    }

    fn add_mark(&mut self, mark: CacheMark) {
        if !self.is_full(self.cache_marks.len()) {
            self.cache_marks.push(mark);
        }
    }

    /// It goes on from an answer, or a conversation, that the server has and knows by this name.
    pub fn follows(&mut self, name: &str) {
        self.turns
            .follows(u64::from_le_bytes(self.chain.digest(name.as_bytes())));
    }

    /// Its server keeps the conversation by this name, which every turn repeats.
    pub fn belongs_to(&mut self, name: &str) {
        self.named = self.opening.as_ref().map(|it| it.named(name.as_bytes()));
    }

    /// Closes the prompt.
    pub fn finish(mut self) -> RenderedPrompt {
        self.close_message();
        if !self.messages.is_empty() {
            self.turns.asked(self.chain.so_far());
        }
        let tokens = self.tokens.map(|cutter| cutter.total());
        RenderedPrompt {
            // Where tokens are missing, so is what their blocks would be.
            chain: match tokens {
                Some(None) => Chain::default(),
                _ => self.chain.finish(),
            },
            tokens: tokens.flatten(),
            conversation: self.named.or(self.opening.and_then(Opening::finish)),
            turns: self.turns,
            tools: self.tools,
            messages: self.messages,
            media: self.media,
            tensors: self.tensors,
            cache_marks: self.cache_marks,
            overfull: self.overfull,
        }
    }

    fn is_full(&mut self, parts: usize) -> bool {
        self.overfull |= parts >= MAX_PARTS;
        self.overfull
    }

    fn open_message(&self) -> u16 {
        u16::try_from(self.messages.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    fn close_message(&mut self) {
        let tokens = self.end_text();
        if let Some(message) = self.messages.last_mut() {
            message.tokens = tokens;
        }
        for digest in std::mem::take(&mut self.pending) {
            match &mut self.tokens {
                None => {
                    self.chain.push(&[MEDIA_MARKER]);
                    self.chain.push(&digest);
                }
                Some(cutter) => {
                    cutter.mark(MEDIA_MARKER, &mut self.chain);
                    cutter.foreign(&digest, &mut self.chain);
                }
            }
        }
    }

    /// A marker, which no text is cut together with.
    fn mark(&mut self, marker: u8) {
        match &mut self.tokens {
            None => self.chain.push(&[marker]),
            Some(cutter) => cutter.mark(marker, &mut self.chain),
        }
        if let Some(opening) = &mut self.opening {
            opening.push(&[marker]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match &mut self.tokens {
            None => self.chain.push(bytes),
            Some(cutter) => cutter.text(bytes),
        }
        if let Some(opening) = &mut self.opening {
            opening.push(bytes);
        }
    }

    /// Cuts the text so far; gives its tokens.
    fn end_text(&mut self) -> Option<u32> {
        self.tokens.as_mut()?.cut(&mut self.chain)
    }
}

fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Control bytes that JSON text can only hold escaped, so a marker is never confused with what a prompt usually says.
const TOOL_MARKER: u8 = 0x01;
const MEDIA_MARKER: u8 = 0x07;

const fn role_marker(role: Role) -> u8 {
    match role {
        Role::System => 0x02,
        Role::User => 0x03,
        Role::Assistant => 0x04,
        Role::Tool => 0x05,
        Role::Other => 0x06,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(feed: impl FnOnce(&mut PromptRender)) -> RenderedPrompt {
        let mut render = PromptRender::new(&ChainKey::from_bytes([7; 16]));
        feed(&mut render);
        render.finish()
    }

    #[test]
    fn lengths_are_kept_and_parts_add_up() {
        let prompt = render(|r| {
            r.tool(b"{\"name\":\"t\"}");
            r.message(Role::System);
            r.text(b"be brief");
            r.message(Role::User);
            r.text(b"one ");
            r.media(
                MediaKind::Image,
                b"data",
                4,
                Some(PictureHead {
                    format: crate::shape::PictureFormat::Gif,
                    pixels: (2, 3),
                }),
            );
            r.text(b"two");
        });
        assert_eq!(
            prompt.tools,
            ToolsShape {
                count: 1,
                bytes: 12
            }
        );
        assert_eq!(
            prompt.messages.iter().map(|m| m.bytes).collect::<Vec<_>>(),
            [8, 7]
        );
        assert_eq!(prompt.media[0].message, 1);
    }

    #[test]
    fn a_flood_of_parts_is_cut_off_and_said() {
        let prompt = render(|r| {
            for _ in 0..MAX_PARTS + 5 {
                r.message(Role::User);
                r.media(MediaKind::Image, b"", 0, None);
            }
        });
        assert_eq!(
            (prompt.messages.len(), prompt.media.len(), prompt.overfull),
            (MAX_PARTS, MAX_PARTS, true)
        );
    }

    #[test]
    fn a_different_role_or_image_is_a_different_chain() {
        use crate::anonymise::{Anonymiser, Policy};
        let mut gate = Anonymiser::with_key(Policy::default(), ChainKey::from_bytes([7; 16]));
        let mut ids = |role: Role, image: &[u8]| {
            let prompt = render(|r| {
                r.message(role);
                r.media(MediaKind::Image, image, 0, None);
                r.message(Role::User);
                r.text(&[b'x'; 200]);
            });
            gate.number(&prompt.chain)
        };
        let base = ids(Role::System, b"a");
        assert_eq!(ids(Role::System, b"a"), base);
        assert_ne!(ids(Role::User, b"a")[0], base[0]);
        assert_ne!(ids(Role::System, b"b")[0], base[0]);
    }

    fn tokenizer() -> crate::anonymise::PromptTokenizer {
        let json = include_bytes!("../../fixtures/tokenizer/small.json");
        crate::anonymise::PromptTokenizer::from_json(json).unwrap()
    }

    #[test]
    fn with_a_tokenizer_blocks_are_of_its_tokens() {
        let key = ChainKey::from_bytes([7; 16]).cutting_tokens(Some(tokenizer()));
        let prompt = |texts: &[&str]| {
            let mut render = PromptRender::new(&key);
            for text in texts {
                render.message(Role::User);
                // How a text arrives does not matter.
                let (a, b) = text.as_bytes().split_at(text.len() / 2);
                render.text(a);
                render.text(b);
            }
            render.finish()
        };
        let long = "the quiet harbour in the morning and a search for bread ".repeat(8);
        let tokens = |text: &str| u32::try_from(tokenizer().tokens(text).unwrap().len()).unwrap();
        let one = prompt(&[&long, "over the bridge"]);
        let expected = [tokens(&long), tokens("over the bridge")];
        assert_eq!(
            one.messages.iter().map(|it| it.tokens).collect::<Vec<_>>(),
            expected.map(Some)
        );
        assert_eq!(one.tokens, Some(expected.iter().sum::<u32>() + 2));
        let mut gate = crate::anonymise::Anonymiser::with_key(Default::default(), key.clone());
        let (a, b) = (
            gate.number(&one.chain),
            gate.number(&prompt(&[&long, "over the river"]).chain),
        );
        assert_eq!(a.len() as u32, (expected[0] + expected[1] + 2) / 16);
        let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count() as u32;
        assert_eq!(shared, (expected[0] + 1) / 16);
    }
}
