package verify

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var askForTLS = []string{"45 CFR 164.312(e)(1)", "45 CFR 164.312(e)(2)(ii)", "NIST SP 800-52r2", "NIST SP 800-53r5 SC-8", "NIST SP 800-53r5 SC-13"}

var nothingInTheClear = Check{
	ID: "RD-301", Goal: evidence.InFlight, From: Anywhere,
	Title:      "The tunnel's port answers nobody who speaks without TLS",
	Why:        "What is answered in the clear is read by everybody on the way.",
	Mend:       restartTheGateway,
	References: askForTLS,
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, door := range t.Doors {
			for _, in := range []struct{ what, request string }{{"a Redis command", respCommand([]string{"PING"})}, {"an inline command", "PING\r\n"}, {"an HTTP request", "GET / HTTP/1.0\r\n\r\n"}} {
				what := in.what
				answer, err := plainly(ctx, door.Address, in.request)
				if errors.Is(err, errUnreachable) {
					return n.Skip("%v", err)
				}
				n.Saw("%s, %s: %s, %v", door.Address, what, describeBytes(answer), err)
				if answer != "" && !isAlert(answer) {
					return n.Fail("%s answers %s in the clear: %s", door.Address, what, describeBytes(answer))
				}
			}
		}
		return n.Pass("no answer but an alert of TLS")
	},
}

// isAlert knows a record of TLS that carries an alert (RFC 8446 §5.1, §6).
func isAlert(answer string) bool { return len(answer) == 7 && answer[0] == 21 && answer[1] == 3 }

func describeBytes(answer string) string {
	switch {
	case answer == "":
		return "nothing"
	case isAlert(answer):
		return fmt.Sprintf("an alert of TLS (%d)", answer[6])
	}
	word, _, _ := strings.Cut(answer, " ")
	return fmt.Sprintf("%d bytes that begin with %q", len(answer), word[:min(len(word), 12)])
}

var nothingOlderThanTLS13 = Check{
	ID: "RD-302", Goal: evidence.InFlight, From: Anywhere,
	Title:      "Nothing older than TLS 1.3 is agreed on",
	Why:        "Older versions have what was broken in them: renegotiation, CBC, static RSA, certificates in the clear.",
	Mend:       restartTheGateway,
	References: askForTLS,
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, door := range t.Doors {
			for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
				answer, err := plainly(ctx, door.Address, oldHello(version))
				if errors.Is(err, errUnreachable) {
					return n.Skip("%v", err)
				}
				n.Saw("%s, %s only: %s, %v", door.Address, tls.VersionName(version), describeBytes(answer), err)
				// A server that wants a certificate may end it only after it has agreed
				// on the version: that is told by what it complains of.
				if !isAlert(answer) || answer[6] != protocolVersion {
					return n.Fail("%s doesn't refuse %s for its version", door.Address, tls.VersionName(version))
				}
			}
		}
		return n.Pass("TLS 1.0, 1.1 and 1.2 are refused")
	},
}

// protocolVersion is the alert that refuses a version (RFC 8446 §6).
const protocolVersion = 70

// oldHello is the ClientHello of a client that knows no version above this one,
// and every cipher suite (RFC 5246 §7.4.1.2). It is written by hand because
// crypto/tls offers no version before 1.2 in FIPS 140-3 mode.
func oldHello(version uint16) string {
	suites := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	var hello []byte
	hello = binary.BigEndian.AppendUint16(hello, version)
	hello = append(hello, make([]byte, 32)...) // random
	hello = append(hello, 0)                   // no session
	hello = binary.BigEndian.AppendUint16(hello, uint16(2*len(suites)))
	for _, s := range suites {
		hello = binary.BigEndian.AppendUint16(hello, s.ID)
	}
	hello = append(hello, 1, 0) // no compression
	message := append([]byte{1, 0}, binary.BigEndian.AppendUint16(nil, uint16(len(hello)))...)
	message = append(message, hello...)
	record := binary.BigEndian.AppendUint16([]byte{22, 3, 1}, uint16(len(message)))
	return string(append(record, message...))
}

var strongTLS = Check{
	ID: "RD-303", Goal: evidence.InFlight, From: OnBoth,
	Title:      "What is agreed on is TLS 1.3 with a key exchange that a quantum computer doesn't break",
	Why:        "Traffic that is recorded today can be read when such computers exist; patient data is sensitive for a lifetime.",
	Mend:       "Look whether something older than redoubt answers there. X25519 or P-256 alone are agreed on where one end's Go or FIPS module doesn't have ML-KEM: build both with the current toolchain.",
	References: append([]string{"FIPS 140-3"}, askForTLS...),
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, door := range t.Doors {
			conn, state, err := shakeHands(ctx, door.Address, attacker(nil))
			if errors.Is(err, errUnreachable) {
				return n.Skip("%v", err)
			}
			if err != nil {
				return n.Fail("%s: no handshake: %v", door.Address, err)
			}
			conn.Close()
			n.Fact("version", tls.VersionName(state.Version))
			n.Fact("cipher suite", tls.CipherSuiteName(state.CipherSuite))
			n.Fact("key exchange", state.CurveID.String())
			if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
				return n.Fail("%s agrees on %s with %s", door.Address, tls.VersionName(state.Version), state.CurveID)
			}
		}
		n.Fact("FIPS 140-3 mode of this redoubt", map[bool]string{true: "on, module " + fips140.Version(), false: "off"}[fips140.Enabled()])
		return n.Pass("TLS 1.3 with X25519MLKEM768")
	},
}

var nothingIsResumed = Check{
	ID: "RD-304", Goal: evidence.InFlight, From: OnApp,
	Title:      "No TLS session is resumed",
	Why:        "A resumed session skips the look at the certificate: who was revoked meanwhile would be let in.",
	Mend:       restartTheGateway,
	References: append([]string{"NIST SP 800-53r5 SC-23"}, askForTLS...),
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		own, err := ownCertificate(t.App.Certificates)
		if err != nil {
			return n.Skip("this host's certificate can't be read: %v", err)
		}
		for _, door := range t.Doors {
			cfg := attacker(own)
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 2 {
				// A ticket would come with the answer.
				answer, state, err := knock(ctx, door.Address, cfg)
				if errors.Is(err, errUnreachable) {
					return n.Skip("%v", err)
				}
				if err != nil {
					return n.Skip("%s refuses this host's own certificate: %v", door.Address, err)
				}
				n.Saw("%s, connection %d: PING is answered with %s, resumed: %v", door.Address, i+1, code(answer), state.DidResume)
				if state.DidResume {
					return n.Fail("%s resumes a session", door.Address)
				}
			}
		}
		return n.Pass("the second connection made its handshake anew")
	},
}

var nothingElseIsSpoken = Check{
	ID: "RD-305", Goal: evidence.InFlight, From: Anywhere,
	Title:      "In the tunnel nothing is spoken but its own protocol",
	Why:        "A port that agrees to speak what it doesn't serve can be used to confuse one service with another (ALPACA).",
	Mend:       restartTheGateway,
	References: append([]string{"NIST SP 800-53r5 CM-7"}, askForTLS...),
	Needs:      []Need{needDoor},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		for _, door := range t.Doors {
			cfg := attacker(nil)
			cfg.NextProtos = []string{"h2", "http/1.1", "smtp"}
			conn, state, err := shakeHands(ctx, door.Address, cfg)
			if errors.Is(err, errUnreachable) {
				return n.Skip("%v", err)
			}
			if err == nil {
				conn.Close()
				n.Saw("%s: agrees on %q", door.Address, state.NegotiatedProtocol)
				return n.Fail("%s goes on with who offers other protocols only", door.Address)
			}
			n.Saw("%s, h2, http/1.1 and smtp only: %v", door.Address, err)
			if !strings.Contains(err.Error(), "no application protocol") { // RFC 7301 §3.2
				return n.Fail("%s doesn't refuse other protocols for what they are", door.Address)
			}
		}
		return n.Pass("other protocols are refused (ALPN)")
	},
}
