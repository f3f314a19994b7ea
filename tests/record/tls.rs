//! TLS towards clients and towards upstreams, with rustls, curl and openssl on the other side.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::echo::{self, CLOSE, ask, ask_again, connect};
use super::support::wire::{metric, metric_reaches};
use super::support::{self, Server};
use super::{FORWARDER, GET, LISTEN};

/// An authority of the test's own, and the files it has made.
pub(super) struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "the authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    pub(super) fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }

    pub(super) fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// Writes `NAME.pem` and `NAME.key`, for these hosts.
    pub(super) fn issue(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(hosts).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // As certbot and kubelet do: the old file is whole until the new one is.
        for (kind, text) in [("pem", certificate.pem()), ("key", key.serialize_pem())] {
            let fresh = self.path("fresh");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, self.path(&format!("{name}.{kind}"))).unwrap();
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    fn chain(&self, name: &str) -> Chain {
        let pem = PathBuf::from(self.path(&format!("{name}.pem")));
        let key = PathBuf::from(self.path(&format!("{name}.key")));
        (
            vec![CertificateDer::from_pem_file(pem).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
    }

    /// A client that trusts this authority, and shows a certificate or none.
    pub(super) fn client(&self, shows: Option<Chain>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        match shows {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        }
    }
}

pub(super) type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);
pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects to `https://ADDR` and asks it for a host; the handshake is done when the first request is.
fn tls(url: &str, host: &str, config: ClientConfig) -> Tls {
    over(connect(url.strip_prefix("https://").unwrap()), host, config)
}

/// The same over a connection that is there.
pub(super) fn over(stream: TcpStream, host: &str, config: ClientConfig) -> Tls {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, stream)
}

/// The certificate that the other side showed.
fn shown(stream: &Tls) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone()
}

/// A recorder in front of an echo that speaks TLS with the certificates of these names.
fn terminator(authority: &Authority, names: &[&str], args: &[&str]) -> Server {
    let upstream = format!("http://{}", echo::on_tcp());
    let fixed = [FORWARDER, LISTEN].concat();
    let mut all: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    all.extend(["--upstream".to_owned(), upstream]);
    for name in names {
        all.extend([
            "--tls-cert".to_owned(),
            authority.path(&format!("{name}.pem")),
        ]);
        all.extend([
            "--tls-key".to_owned(),
            authority.path(&format!("{name}.key")),
        ]);
    }
    all.extend(args.iter().map(ToString::to_string));
    Server::start(all)
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_was_asked_for() {
    let authority = Authority::new();
    authority.issue("first", &["one.test"]);
    authority.issue("second", &["two.test", "*.three.test"]);
    let recorder = terminator(&authority, &["first", "second"], &[]);
    assert!(recorder.url.starts_with("https://"), "{}", recorder.url);
    let asked = |host: &str| {
        let mut stream = tls(&recorder.url, host, authority.client(None));
        let answer = ask_again(&mut stream, GET);
        assert!(answer.contains("GET /v1/models HTTP/1.1\r\n"), "{answer}");
        shown(&stream)
    };
    let certificate = |name: &str| authority.chain(name).0[0].clone();
    assert_eq!(asked("one.test"), certificate("first"));
    assert_eq!(asked("two.test"), certificate("second"));
    assert_eq!(asked("any.three.test"), certificate("second"));
    // Whoever asks for something else sees the first, and can tell that it is not for it.
    let mut stranger = tls(&recorder.url, "four.test", authority.client(None));
    let error = std::io::Write::write_all(&mut stranger, b"x").unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[test]
fn a_listener_can_stay_plain_beside_one_that_is_not() {
    let authority = Authority::new();
    authority.issue("a", &["localhost"]);
    let mut recorder = terminator(&authority, &["a"], &["--listen", "http://127.0.0.1:0"]);
    let plain = recorder.wait_for_url("listening on http://");
    let answer = ask(connect(&plain), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn curl_and_openssl_speak_tls_with_it() {
    let authority = Authority::new();
    authority.issue("a", &["localhost"]);
    let recorder = terminator(&authority, &["a"], &["--tls-min-version", "1.3"]);
    let url = recorder.url.replace("127.0.0.1", "localhost");
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert", &authority.ca()]);
        let output = command.args(args).arg(&url).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (ok, text) = curl(&["--http1.1"]);
    assert!(ok && text.contains("GET / HTTP/1.1"), "{text}");
    let (ok, text) = curl(&["--tls-max", "1.2"]);
    assert!(!ok && text.contains("protocol version"), "{text}");
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &url[8..],
            "-servername",
            "localhost",
        ])
        .args(["-alpn", "http/1.1", "-CAfile", &authority.ca(), "-brief"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("TLSv1.3") && text.contains("Verification: OK"),
        "{text}"
    );
}

#[test]
fn a_new_certificate_is_shown_without_a_connection_lost() {
    let authority = Authority::new();
    authority.issue("a", &["localhost"]);
    let mut recorder = terminator(&authority, &["a"], &[]);
    let admin = recorder.wait_for_url("admin on ");
    let mut old = tls(&recorder.url, "localhost", authority.client(None));
    ask_again(&mut old, GET);
    let before = shown(&old);

    authority.issue("a", &["localhost"]);
    let after = authority.chain("a").0[0].clone();
    assert_ne!(before, after);
    recorder.wait_for("the certificates for clients were read again");
    // The one that was written between the two files may have been seen, too.
    loop {
        let mut new = tls(&recorder.url, "localhost", authority.client(None));
        ask_again(&mut new, GET);
        if shown(&new) == after {
            break;
        }
        std::thread::yield_now();
    }
    ask_again(&mut old, GET);

    // A broken file keeps the old one and is told; SIGHUP reads at once, also where nothing has changed.
    let failed = "reenact_tls_reloads_total{result=\"failed\"}";
    let failures = metric(&admin, failed);
    std::fs::write(authority.path("a.pem"), "no certificate").unwrap();
    metric_reaches(&admin, failed, failures + 1);
    let line = recorder.wait_for("could not be read again: the old ones stay");
    assert!(line.contains("a.pem"), "{line}");
    let mut same = tls(&recorder.url, "localhost", authority.client(None));
    ask_again(&mut same, GET);
    assert_eq!(shown(&same), after);
    recorder.signal(Signal::HUP);
    metric_reaches(&admin, failed, failures + 2);
    ask_again(&mut old, GET);
    drop((old, same));
    assert!(recorder.terminate().0.success());
}

#[test]
fn clients_show_certificates_where_they_must() {
    let authority = Authority::new();
    let stranger = Authority::new();
    authority.issue("a", &["localhost"]);
    authority.issue("client", &["client.test"]);
    stranger.issue("client", &["client.test"]);
    let ca = authority.ca();
    let answers = |recorder: &Server, shows: Option<&Authority>| {
        let config = authority.client(shows.map(|owner| owner.chain("client")));
        let mut stream = tls(&recorder.url, "localhost", config);
        let written = std::io::Write::write_all(&mut stream, CLOSE.as_bytes());
        written.is_ok() && echo::read_all(stream).starts_with("HTTP/1.1 200 ")
    };
    let mut strict = terminator(&authority, &["a"], &["--tls-client-ca", &ca]);
    assert!(answers(&strict, Some(&authority)));
    assert!(!answers(&strict, Some(&stranger)));
    assert!(!answers(&strict, None));
    let admin = strict.wait_for_url("admin on ");
    metric_reaches(
        &admin,
        "reenact_connections_refused_total{reason=\"tls\"}",
        2,
    );
    let lax = terminator(
        &authority,
        &["a"],
        &["--tls-client-ca", &ca, "--tls-client-auth", "optional"],
    );
    assert!(answers(&lax, Some(&authority)));
    assert!(!answers(&lax, Some(&stranger)));
    assert!(answers(&lax, None));
}

#[test]
fn a_handshake_that_does_not_come_has_an_end() {
    let authority = Authority::new();
    authority.issue("a", &["localhost"]);
    let mut recorder = terminator(&authority, &["a"], &["--handshake-timeout", "100ms"]);
    let admin = recorder.wait_for_url("admin on ");
    let silent = connect(&recorder.url[8..]);
    assert_eq!(echo::read_all(silent), "");
    metric_reaches(
        &admin,
        "reenact_connections_refused_total{reason=\"slow_handshake\"}",
        1,
    );
    // Plain HTTP where TLS is expected is no handshake either.
    ask(connect(&recorder.url[8..]), CLOSE);
    metric_reaches(
        &admin,
        "reenact_connections_refused_total{reason=\"tls\"}",
        1,
    );
}

#[test]
fn wrong_certificates_are_said_by_option_and_file() {
    let authority = Authority::new();
    authority.issue("a", &["localhost"]);
    authority.issue("b", &["localhost"]);
    let (a, a_key, b_key) = (
        authority.path("a.pem"),
        authority.path("a.key"),
        authority.path("b.key"),
    );
    std::fs::write(authority.path("empty"), "").unwrap();
    let empty = authority.path("empty");
    for (args, code, says) in [
        (
            &["--tls-cert", &a, "--tls-key", &b_key][..],
            1,
            "does not belong to the certificate",
        ),
        (&["--tls-cert", &a, "--tls-key", &a], 1, "no private key"),
        (
            &["--tls-cert", &empty, "--tls-key", &a_key],
            1,
            "no certificate",
        ),
        (
            &["--tls-cert", "/nonexistent", "--tls-key", &a_key],
            1,
            "--tls-cert /nonexistent: No such file",
        ),
        (&["--tls-cert", &a], 2, "1 --tls-cert and 0 --tls-key"),
        (&["--tls-client-ca", &a], 2, "there is no --tls-cert"),
        (&["--upstream-cert", &a], 2, "belong together"),
        (
            &[
                "--tls-cert",
                &a,
                "--tls-key",
                &a_key,
                "--tls-client-ca",
                &empty,
            ],
            1,
            "--tls-client-ca",
        ),
        (&["--upstream-ca", &empty], 1, "--upstream-ca"),
        (&["--upstream-sni", "a b"], 1, "a b is no name"),
    ] {
        let args = [
            FORWARDER,
            LISTEN,
            &["--upstream", "https://localhost"],
            args,
        ]
        .concat();
        let output = support::run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says) && error.contains("hint: "), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}

/// How a server speaks TLS with the certificate `server`; it asks its clients for theirs where told to.
pub(super) fn server(authority: &Authority, asks: bool) -> ServerConfig {
    let (chain, key) = authority.chain("server");
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let roots = Arc::new(authority.roots());
    let builder = match asks {
        false => builder.with_no_client_auth(),
        true => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .unwrap(),
        ),
    };
    builder.with_single_cert(chain, key).unwrap()
}

fn through(port: u16, host: &str, args: &[&str]) -> String {
    let url = format!("https://{host}:{port}");
    let recorder = Server::start([FORWARDER, LISTEN, &["--upstream", &url], args].concat());
    ask(connect(&recorder.url[7..]), CLOSE)
}

#[test]
fn an_upstreams_certificate_must_be_for_its_name_and_lead_to_a_root() {
    let authority = Authority::new();
    authority.issue("server", &["model.test"]);
    let port = echo::on_tls(server(&authority, false)).port();
    let ca = authority.ca();
    let answer = through(port, "localhost", &["--upstream-ca", &ca]);
    assert!(
        answer.contains("x-reenact-error: upstream_tls\r\n"),
        "{answer}"
    );
    let named = ["--upstream-sni", "model.test"];
    let answer = through(
        port,
        "127.0.0.1",
        &[&named[..], &["--upstream-ca", &ca]].concat(),
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let stranger = Authority::new();
    let answer = through(
        port,
        "127.0.0.1",
        &[&named[..], &["--upstream-ca", &stranger.ca()]].concat(),
    );
    assert!(answer.contains("upstream_tls"), "{answer}");
}

#[test]
fn an_upstream_that_asks_for_a_certificate_is_shown_one_and_the_next_after_a_change() {
    let authority = Authority::new();
    let stranger = Authority::new();
    authority.issue("server", &["localhost"]);
    stranger.issue("client", &["client.test"]);
    let port = echo::on_tls(server(&authority, true)).port();
    let ca = authority.ca();
    let answer = through(port, "localhost", &["--upstream-ca", &ca]);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    for kind in ["pem", "key"] {
        std::fs::copy(
            stranger.path(&format!("client.{kind}")),
            authority.path(&format!("own.{kind}")),
        )
        .unwrap();
    }
    let url = format!("https://localhost:{port}");
    let (certificate, key) = (authority.path("own.pem"), authority.path("own.key"));
    let mut recorder = Server::start(
        [
            FORWARDER,
            LISTEN,
            &["--upstream", &url, "--upstream-ca", &ca],
            &["--upstream-cert", &certificate, "--upstream-key", &key],
        ]
        .concat(),
    );
    let admin = recorder.wait_for_url("admin on ");
    let answer = ask(connect(&recorder.url[7..]), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    authority.issue("own", &["client.test"]);
    recorder.signal(Signal::HUP);
    metric_reaches(&admin, "reenact_tls_reloads_total{result=\"ok\"}", 1);
    let answer = ask(connect(&recorder.url[7..]), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
