use crate::replay::BaseUrl;

/// A server's host and port, where its URL tells.
pub(super) type Server = Option<(String, u16)>;

/// Those of a target's URL. A target that stands for production has none.
pub(super) fn server(url: &str) -> Server {
    if url.is_empty() {
        return None;
    }
    let url = BaseUrl::parse(url).ok()?;
    Some((url.host().to_owned(), url.port()))
}
