//! Sitting between two neighbours that know nothing of it: three network namespaces, the middle one with the recorder and a
//! redirect rule.
//!
//! ```text
//! client 10.77.0.1 ── 10.77.0.2 recorder 10.78.0.1 ── 10.78.0.2 server
//! ```
//!
//! Needs root and `ip`, `iptables`, `nft`; where namespaces cannot be made, the tests say so on standard error and do nothing.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::echo::{self, CLOSE, ask, ask_again};
use super::support::{self, Server, skipped};
use super::tls::{self, Authority};
use super::{FORWARDER, GET, LISTEN};

/// Starts a command as `nobody`, which needs no right but to be root here.
const USER_WITHOUT_RIGHTS: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// Three namespaces, gone when dropped.
struct Net {
    name: String,
}

impl Net {
    /// `None`, loudly, where this machine allows none.
    fn new(test: &str) -> Option<Self> {
        let net = Self {
            name: format!("reenact-{}-{test}", std::process::id()),
        };
        for command in ["iptables", "nft"] {
            if Command::new(command).arg("-V").output().is_err() {
                skipped(&format!("there is no {command} on this machine"));
                return None;
            }
        }
        let probe = Command::new("ip")
            .args(["netns", "add", &net.space("c")])
            .output();
        if !probe.as_ref().is_ok_and(|output| output.status.success()) {
            skipped(&format!("`ip netns add` is not permitted here: {probe:?}"));
            return None;
        }
        let (c, s, u) = (net.space("c"), net.space("s"), net.space("u"));
        for command in [
            format!("netns add {s}"),
            format!("netns add {u}"),
            format!("-n {s} link add c type veth peer name e netns {c}"),
            format!("-n {s} link add u type veth peer name e netns {u}"),
            format!("-n {c} addr add 10.77.0.1/24 dev e"),
            format!("-n {c} addr add fd77::1/64 dev e nodad"),
            format!("-n {s} addr add 10.77.0.2/24 dev c"),
            format!("-n {s} addr add fd77::2/64 dev c nodad"),
            format!("-n {s} addr add 10.78.0.1/24 dev u"),
            format!("-n {s} addr add fd78::1/64 dev u nodad"),
            format!("-n {u} addr add 10.78.0.2/24 dev e"),
            format!("-n {u} addr add fd78::2/64 dev e nodad"),
        ] {
            run(&format!("ip {command}"));
        }
        for space in [&c, &s, &u] {
            run(&format!("ip -n {space} link set lo up"));
        }
        for (space, link) in [(&c, "e"), (&s, "c"), (&s, "u"), (&u, "e")] {
            run(&format!("ip -n {space} link set {link} up"));
        }
        run(&format!("ip -n {c} route add default via 10.77.0.2"));
        run(&format!("ip -n {c} route add default via fd77::2"));
        run(&format!("ip -n {u} route add default via 10.78.0.1"));
        run(&format!("ip -n {u} route add default via fd78::1"));
        net.inside("s", || {
            for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{file}"), "1").unwrap();
            }
        });
        Some(net)
    }

    fn space(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    fn in_middle(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.space("s")));
    }

    /// Runs something in a namespace, on a thread of its own; the sockets it makes stay there.
    fn inside<T: Send>(&self, which: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.space(which));
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let space = std::fs::File::open(path).unwrap();
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            worker.join().unwrap()
        })
    }

    fn connect(&self, from: &str, to: &str) -> TcpStream {
        let stream = self.inside(from, || TcpStream::connect(to).unwrap());
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream
    }

    /// The recorder in the middle.
    fn recorder(&self, args: &[&str]) -> Server {
        self.recorder_as(&[], args)
    }

    /// The same, started by another command.
    fn recorder_as(&self, by: &[&str], args: &[&str]) -> Server {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space("s")])
            .args(by)
            .arg(env!("CARGO_BIN_EXE_reenact"))
            .args(FORWARDER)
            .args(args)
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1");
        Server::launch(&mut command)
    }

    /// An echo in a namespace.
    fn echo(&self, which: &str, at: &str) {
        echo::serve(self.listen(which, at), None);
    }

    fn listen(&self, which: &str, at: &str) -> TcpListener {
        self.inside(which, || TcpListener::bind(at).unwrap())
    }

    fn metric(&self, recorder: &mut Server, name: &str) -> u64 {
        let admin = recorder.wait_for_url("admin on ");
        self.inside("s", || support::wire::metric(&admin, name))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for which in ["c", "s", "u"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &self.space(which)])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
}

#[test]
fn redirected_clients_reach_where_they_wanted_to_go() {
    let Some(net) = Net::new("nat") else { return };
    net.echo("u", "10.78.0.2:8000");
    net.echo("u", "[fd78::2]:8000");
    let recorder = net.recorder(&[
        "--listen",
        "[::]:15001",
        "--transparent",
        "--forwarded",
        "append",
    ]);
    net.in_middle(
        "iptables -t nat -A PREROUTING -i c -p tcp --dport 8000 -j REDIRECT --to-ports 15001",
    );
    net.in_middle("nft add table ip6 t");
    net.in_middle("nft add chain ip6 t p { type nat hook prerouting priority dstnat ; }");
    net.in_middle("nft add rule ip6 t p iif c tcp dport 8000 redirect to :15001");
    for (server, client) in [
        ("10.78.0.2:8000", "10.77.0.1"),
        ("[fd78::2]:8000", "fd77::1"),
    ] {
        let mut stream = net.connect("c", server);
        for _ in 0..2 {
            let answer = ask_again(&mut stream, GET);
            assert!(answer.contains("Host: model.test\r\n"), "{answer}");
            // It did go through the recorder, and neither end was told to.
            let told = format!("x-forwarded-for: {client}\r\n");
            assert!(answer.contains(&told), "{answer}");
        }
    }
    // Nobody serves there: the recorder finds that out for its client.
    net.in_middle(
        "iptables -t nat -A PREROUTING -i c -p tcp --dport 8001 -j REDIRECT --to-ports 15001",
    );
    let answer = ask(net.connect("c", "10.78.0.2:8001"), CLOSE);
    assert!(
        answer.contains("x-reenact-error: upstream_refused\r\n"),
        "{answer}"
    );
    assert!(recorder.terminate().0.success());
}

#[test]
fn a_client_that_was_redirected_with_tls_goes_on_with_tls_to_the_name_it_asked_for() {
    let Some(net) = Net::new("tls") else { return };
    let authority = Authority::new();
    authority.issue("server", &["model.test"]);
    let ours = Authority::new();
    ours.issue("a", &["model.test"]);
    let config = Arc::new(tls::server(&authority, false));
    echo::serve(net.listen("u", "10.78.0.2:8443"), Some(config));
    let _recorder = net.recorder(&[
        "--listen",
        "0.0.0.0:15001",
        "--transparent",
        "--tls-cert",
        &ours.path("a.pem"),
        "--tls-key",
        &ours.path("a.key"),
        "--upstream-ca",
        &authority.ca(),
    ]);
    net.in_middle(
        "iptables -t nat -A PREROUTING -i c -p tcp --dport 8443 -j REDIRECT --to-ports 15001",
    );
    let stream = net.connect("c", "10.78.0.2:8443");
    let mut stream = tls::over(stream, "model.test", ours.client(None));
    let answer = ask_again(&mut stream, GET);
    assert!(answer.contains("Host: model.test\r\n"), "{answer}");
}

#[test]
fn an_upstream_that_moves_is_found_by_its_name_without_a_restart() {
    let Some(net) = Net::new("names") else { return };
    // What `ip netns exec` shows its command as /etc/hosts.
    let etc = PathBuf::from(format!("/etc/netns/{}", net.space("s")));
    std::fs::create_dir_all(&etc).unwrap();
    let _etc = Etc(etc.clone());
    let hosts = etc.join("hosts");
    std::fs::write(&hosts, "").unwrap();
    net.echo("u", "10.78.0.2:8000");
    let _recorder = net.recorder(&[
        "--listen",
        "10.77.0.2:8000",
        "--upstream",
        "http://model.test:8000",
        "--pool-idle",
        "0",
    ]);
    // Nobody serves at the second address, which is how it is told from the first.
    for (moves_to, status) in [
        ("10.78.0.2", "200"),
        ("10.78.0.1", "502"),
        ("10.78.0.2", "200"),
    ] {
        std::fs::write(&hosts, format!("{moves_to} model.test\n")).unwrap();
        let deadline = Instant::now() + support::PATIENCE;
        let found = format!("HTTP/1.1 {status} ");
        while !ask(net.connect("c", "10.77.0.2:8000"), CLOSE).starts_with(&found) {
            assert!(Instant::now() < deadline, "{moves_to} is not found");
        }
    }
}

struct Etc(PathBuf);

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tproxied_clients_reach_where_they_wanted_to_go() {
    let Some(net) = Net::new("tproxy") else {
        return;
    };
    net.echo("u", "10.78.0.2:8000");
    let recorder = net.recorder(&[
        "--listen",
        "0.0.0.0:15001",
        "--transparent=tproxy",
        "--proxy-protocol-out",
        "v1",
    ]);
    net.in_middle(
        "iptables -t mangle -A PREROUTING -i c -p tcp --dport 8000 -j TPROXY --on-port 15001 --tproxy-mark 1",
    );
    net.in_middle("ip rule add fwmark 1 lookup 100");
    net.in_middle("ip route add local 0.0.0.0/0 dev lo table 100");
    let answer = ask(net.connect("c", "10.78.0.2:8000"), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("PROXY TCP4 10.77.0.1 10.78.0.2 "),
        "{answer}"
    );
    assert!(answer.contains(" 8000\r\n"), "{answer}");
    assert!(recorder.terminate().0.success());
}

#[test]
fn tproxy_without_the_capability_is_said_with_a_hint() {
    let Some(net) = Net::new("cap") else { return };
    let output = Command::new("ip")
        .args(["netns", "exec", &net.space("s")])
        .args(USER_WITHOUT_RIGHTS)
        .arg(env!("CARGO_BIN_EXE_reenact"))
        .args([FORWARDER, LISTEN, &["--transparent", "tproxy"]].concat())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("--transparent tproxy is not permitted"),
        "{error}"
    );
    assert!(error.contains("hint: it needs CAP_NET_ADMIN"), "{error}");
}

#[test]
fn a_rule_that_catches_our_own_connections_makes_no_loop() {
    let Some(net) = Net::new("loop") else { return };
    net.echo("s", "10.77.0.2:8000");
    let mut recorder = net.recorder(&["--listen", "127.0.0.1:15001", "--transparent"]);
    // What is missing is `-m owner ! --uid-owner`: the recorder's own connections are redirected, too.
    net.in_middle("iptables -t nat -A OUTPUT -p tcp --dport 8000 -j REDIRECT --to-ports 15001");
    let answer = ask(net.connect("s", "10.77.0.2:8000"), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
    assert!(answer.contains("x-reenact-error: loop\r\n"), "{answer}");
    let seen = net.metric(&mut recorder, "reenact_seen_total");
    assert_eq!(seen, 2, "the client's request, and the one that came back");
}

#[test]
fn local_clients_are_redirected_by_a_rule_that_excepts_the_recorders_user() {
    let Some(net) = Net::new("owner") else { return };
    net.echo("s", "10.77.0.2:8000");
    let _recorder = net.recorder_as(
        USER_WITHOUT_RIGHTS,
        &[
            "--listen",
            "127.0.0.1:15001",
            "--transparent",
            "--forwarded",
            "append",
        ],
    );
    net.in_middle(
        "iptables -t nat -A OUTPUT -p tcp --dport 8000 -m owner ! --uid-owner 65534 -j REDIRECT --to-ports 15001",
    );
    let answer = ask(net.connect("s", "10.77.0.2:8000"), CLOSE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("x-forwarded-for: 10.77.0.2\r\n"),
        "{answer}"
    );
}

#[test]
fn whoever_is_not_redirected_is_turned_away() {
    let Some(net) = Net::new("direct") else {
        return;
    };
    let mut recorder = net.recorder(&["--listen", "10.77.0.2:15001", "--transparent"]);
    // A rule of any kind has the kernel keep track of connections, as it does where there are redirects.
    net.in_middle("iptables -t nat -A PREROUTING -p tcp --dport 1 -j REDIRECT --to-ports 15001");
    let answer = ask(net.connect("c", "10.77.0.2:15001"), CLOSE);
    assert_eq!(answer, "");
    let refused = |recorder: &mut Server, reason: &str| {
        let name = format!("reenact_connections_refused_total{{reason=\"{reason}\"}}");
        net.metric(recorder, &name)
    };
    let deadline = Instant::now() + support::PATIENCE;
    while refused(&mut recorder, "loop") + refused(&mut recorder, "not_redirected") != 1 {
        assert!(Instant::now() < deadline, "it was not counted");
    }
}
